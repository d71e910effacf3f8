"""README and guides: every block of code runs, and every link leads somewhere."""

from __future__ import annotations

import configparser
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image

from explainers.classifiers import Classifier
from studies.catalog import load_catalog
from tests.documents import DOCUMENTS, ROOT, Block, blocks
from tests.tuner import tiny
from tests.tuner.command_line import Cli
from tuner.cli import app
from tuner.cli.commands import COMMANDS, CommandGroup
from tuner.runtime.calibration import runtime_model_for

GROUP = typer.main.get_command(app)
assert isinstance(GROUP, CommandGroup)
LOADED = {name: GROUP.get_command(None, name) for name in COMMANDS}
SHELL = ("sh", "bash")
FEW = {
    "CATALOG": "course.toml", "MODEL": "my_package.models:make", "TRIALS": "2", "SEEDS": "2",
    "SAMPLER": "random", "ENGINE": "torch", "THREADS": "1", "LOG": "none",
}  # fmt: skip
"""The settings of a reader who wants to be done soon; a command's own options count first."""


@pytest.fixture
def reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Reader:
    """A reader with a folder, photographs, masks and a model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    for name in ("STORAGE", "ASSETS", "NOTIFY", "TOKEN", "IMAGES", "REFERENCE", "STUDY"):
        monkeypatch.delenv(f"LIME_TUNER_{name}", raising=False)
    for name, value in FEW.items():
        monkeypatch.setenv(f"LIME_TUNER_{name}", value)
    for folder in ("photos", "others", "masks", "my_package"):
        (tmp_path / folder).mkdir()
    (tmp_path / "course.toml").write_text(
        'reference = "masks"\n[[image]]\nkey = "cat"\n'
        'file = "photos/cat.jpg"\nmask = "masks/cat.png"\n'
    )
    for key in ("cat", "dog"):
        pixels, mask = tiny.tiny_picture(key)
        for folder in ("photos", "others"):
            Image.fromarray(pixels).save(tmp_path / folder / f"{key}.jpg", quality=95)
        Image.fromarray(mask).save(tmp_path / "masks" / f"{key}.png")
    (tmp_path / "my_package" / "__init__.py").touch()
    (tmp_path / "my_package" / "models.py").write_text("from tests.tuner.tiny import make\n")
    (tmp_path / "my_package" / "endpoint.py").write_text(
        "from tests.tuner.tiny import make\n\n\ndef classify(images):\n"
        "    return make().predict_proba(images)\n\n\nclassify.resize = classify.crop = 64\n"
    )
    for name in [each for each in sys.modules if each.partition(".")[0] == "my_package"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("tuner.problem.search_space._DEFAULT_MAPS", tiny.SMALL_MAPS)
    network = tiny.make()
    runtime_model_for(network, tiny.tiny_picture("cat")[0])
    return Reader(tmp_path, Cli(monkeypatch, capsys), monkeypatch, network)


class Reader:
    """Does what a document says, in one folder."""

    def __init__(
        self, folder: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, network: Classifier
    ) -> None:
        self._folder, self._cli, self._monkeypatch = folder, cli, monkeypatch
        self._names: dict[str, Any] = {
            "image": tiny.tiny_picture("cat")[0], "classifier_fn": network.predict_proba,
        }  # fmt: skip

    def do(self, block: Block) -> None:
        if block.file:
            (self._folder / block.file).parent.mkdir(exist_ok=True)
            (self._folder / block.file).write_text(block.code)
        elif block.language in SHELL:
            self._run(block)
        elif block.language == "python":
            # Lines count as in the document.
            exec(compile("\n" * (block.line - 1) + block.code, block.document, "exec"), self._names)
        else:
            pytest.fail(f"{block.place}: say which file it is, or why it is not run")

    def _run(self, block: Block) -> None:
        for command in block.commands():
            if command.program != "lime-tuner":
                pytest.fail(f"{block.place}: say why {command.program} is not run")
            with self._monkeypatch.context() as here:
                for name, value in command.environment.items():
                    here.setenv(name, value)
                code, _, err = self._cli(*command.arguments)
            assert code == 0, f"{block.place}: {' '.join(command.arguments)}\n{err}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_block_runs(document: str, request: pytest.FixtureRequest) -> None:
    run = [block for block in blocks(document) if not block.not_run]
    if run:
        reader = request.getfixturevalue("reader")
        for block in run:
            reader.do(block)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_exist_with_their_options(document: str) -> None:
    for block in blocks(document):
        for command in block.commands() if block.language in SHELL else ():
            if command.program == "lime-tuner":
                name, *rest = command.arguments
                assert name in LOADED, block.place
                known = {o for p in LOADED[name].params for o in (*p.opts, *p.secondary_opts)}
                given = {each.partition("=")[0] for each in rest if each.startswith("-")}
                assert given <= known, f"{block.place}: {name}"


def test_what_is_installed_can_be() -> None:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", "utf-8")
    known = set(settings["options.extras_require"])
    for document in DOCUMENTS:
        text = (ROOT / document).read_text("utf-8")
        for extras in re.findall(r"'\.\[([\w,]+)\]'", text):
            assert set(extras.split(",")) <= known, f"{document}: {extras}"
        for block in blocks(document):
            for command in block.commands() if block.language in SHELL else ():
                if command.program == "pip":
                    assert {"-c", "constraints.txt"} <= set(command.arguments), block.place


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_comment_belongs_to_a_block(document: str) -> None:
    """One that does not would let a block run that cannot, or say something to nobody."""
    text = (ROOT / document).read_text("utf-8")
    noted = sum(bool(block.not_run or block.file) for block in blocks(document))
    assert text.count("<!--") == noted
    assert text.count("\n```") == 2 * len(blocks(document))


def test_files_are_what_they_are_called(reader: Reader, tmp_path: Path) -> None:
    files = [block for document in DOCUMENTS for block in blocks(document) if block.file]
    assert {block.file for block in files} >= {"pets.toml", "lime-tuner.toml", "answers.json"}
    for block in files:
        reader.do(block)
    assert load_catalog("pets.toml").keys == ("my cat",)
    assert len(json.loads((tmp_path / "answers.json").read_text())["submissions"]) > 1


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    text = re.sub(r"```.*?```", "", (ROOT / document).read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (ROOT / document).parent / name
        assert file.is_file(), f"{document}: {target}"
        headings = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE) if anchor else ()
        anchors = {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}
        assert not anchor or anchor in anchors, f"{document}: {target}"


def test_every_guide_is_linked_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert {each for each in DOCUMENTS[1:] if f"]({each}" not in text} == set()


def test_the_readme_is_short_and_its_pictures_small() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= 200
    for picture in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text):
        assert (ROOT / picture).stat().st_size < 150_000
