"""The wheel: what is in it, what it says about itself, and that it does without the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from email.message import Message
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.documents import ROOT

PACKAGES = ("explainers", "studies", "dissection", "tuner")
NOT_INSTALLED = {".md"}
_RUN = """
import sys
import explainers, tuner
from tuner.cli import main
for package in (explainers, tuner):
    assert package.__file__.startswith(sys.argv[1]), package.__file__
sys.argv[:] = ["lime-tuner", *sys.argv[2:]]
main()
"""


def tracked(*folders: str) -> set[str]:
    """Paths of the files in the repository, from the top."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *folders],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return {name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the tracked files alone, as from a fresh clone."""
    clone = tmp_path_factory.mktemp("clone")
    for name in tracked():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, clone / name)
    built = tmp_path_factory.mktemp("built")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation",
         "--no-index", "-w", str(built), str(clone)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (file,) = built.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode("utf-8"))


def test_everything_but_the_guides_is_in_the_wheel(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = {name for name in tracked(*PACKAGES) if Path(name).suffix not in NOT_INSTALLED}
    assert packed == wanted


def test_what_the_package_says_about_itself(metadata: Message) -> None:
    assert metadata["Name"] == "lime-tuner"
    assert metadata["Author"] == "lime-tuner developers"
    assert metadata["Summary"]
    assert metadata["Keywords"]
    assert metadata["License-File"] == "LICENSE"
    assert metadata["Description-Content-Type"].startswith("text/markdown")
    assert metadata["Requires-Python"] == ">=3.10"
    classifiers = metadata.get_all("Classifier", [])
    for minor in (10, 11, 12, 13):
        assert f"Programming Language :: Python :: 3.{minor}" in classifiers
    assert "Typing :: Typed" in classifiers
    text = metadata.get_payload()
    assert isinstance(text, str)
    assert text.strip() == (ROOT / "README.md").read_text("utf-8").strip()


def test_it_runs_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """Only our own packages come from the wheel; what they need is installed here."""
    installed = tmp_path / "installed"
    with ZipFile(wheel) as archive:
        archive.extractall(installed)
    here = tmp_path / "here"
    here.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", _RUN, str(installed), "cam", "--catalog", "demo", "--model", "demo",
         "--images", "house", "-o", "maps"],
        cwd=here, env={**os.environ, "PYTHONPATH": str(installed)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (here / "maps" / "gradcam" / "house.png").is_file()
