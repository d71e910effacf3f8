"""The user's own modules and factories: what is imported, and what is said where that fails."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from explainers.classifiers import load_classifier
from explainers.classifiers.user_code import import_user_object
from explainers.errors import InvalidInput, LimeTunerError

_NET = """
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.c = torch.nn.Conv2d(3, 4, 3)
        self.f = torch.nn.Linear(4, 5)
    def forward(self, x):
        return self.f(self.c(x).relu().mean([2, 3]))
kept = Net()
def needs(classes, *, size, depth=3): return Net()
def pair(): return Net(), len
async def later(): return Net()
def forgotten(): Net()
def raw(): return Net
def leaves(): raise SystemExit(3)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with modules of the user's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    (tmp_path / "own_net.py").write_text(_NET)
    (tmp_path / "own_folder").mkdir()
    (tmp_path / "own_folder" / "deep_net.py").write_text(_NET)
    yield tmp_path  # type: ignore[misc]
    for name in set(sys.modules) - before:
        if name.startswith("own_"):
            del sys.modules[name]


@pytest.mark.usefixtures("folder")
def test_torchvision_is_left_to_those_that_need_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing it takes seconds, in every process that a search starts."""
    for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    import_user_object("own_net:Net", "it")
    assert "torchvision" not in sys.modules


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def make(:", "own_broken.py line 1: SyntaxError: invalid syntax"),
        (
            "\nraise RuntimeError('no CUDA\\nhere')",
            "own_broken.py line 2: RuntimeError: no CUDA here",
        ),
        ("import sys\nsys.exit(4)", "own_broken.py line 2: SystemExit: 4"),
        ("import no_such_thing", "line 1: ModuleNotFoundError: No module named 'no_such_thing'"),
        ("import own_helper", "own_helper.py line 2: ZeroDivisionError: division by zero"),
    ],
)
def test_a_module_that_fails_on_import_is_one_line(folder: Path, source: str, said: str) -> None:
    (folder / "own_helper.py").write_text("x = 1\n1 / 0")
    (folder / "own_broken.py").write_text(source)
    for model in ("own_broken:make", "function:own_broken:make"):
        with pytest.raises(InvalidInput) as caught:
            load_classifier(model, device="cpu")
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


def test_an_interrupt_passes(folder: Path) -> None:
    (folder / "own_broken.py").write_text("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        import_user_object("own_broken:make", "it")


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("needs", InvalidInput, r"takes arguments \(classes, size\)"),
        ("pair", InvalidInput, "returned tuple of Net, builtin_function_or_method"),
        ("later", InvalidInput, "returned a coroutine"),
        ("forgotten", InvalidInput, "returned NoneType .*return"),
        ("raw", InvalidInput, "returned the class Net"),
        ("leaves", LimeTunerError, "failed .*own_net.py line 16: SystemExit: 3"),
        ("need", InvalidInput, "give own_net:needs"),
        ("kept()", InvalidInput, "give own_net:kept"),
    ],
)
def test_what_a_factory_must_be(
    folder: Path, name: str, error: type[LimeTunerError], said: str
) -> None:
    with pytest.raises(error, match=said):
        load_classifier(f"own_net:{name}", device="cpu")


def test_a_class_a_module_and_a_file_are_accepted(folder: Path) -> None:
    by_class = load_classifier("own_net:Net", device="cpu")
    kept = load_classifier("own_net:kept", device="cpu")
    assert {by_class.cam_layer, kept.cam_layer} == {"c"}
    assert kept.module is not sys.modules["own_net"].kept  # and that one stays as it is
    by_file = load_classifier("own_folder/deep_net.py:Net", device="cpu")
    assert by_file.name == "own_folder.deep_net:Net"
    with pytest.raises(InvalidInput, match=r"not below the working folder.*other:Net"):
        load_classifier("../other.py:Net", device="cpu")


def test_a_file_that_an_installed_package_hides(folder: Path) -> None:
    (folder / "torch.py").write_text("def make(): pass")
    with pytest.raises(InvalidInput, match=r"'torch' is .*torch/__init__\.py, not torch\.py of"):
        load_classifier("torch:make", device="cpu")
