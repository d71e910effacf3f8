"""Which room may import which, read from the sources."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

from explainers.classifiers import import_torchvision

_ROOT = Path(__file__).resolve().parents[2]
_ROOMS = ("explainers", "studies", "tuner", "dissection")
_FORBIDDEN = {
    "explainers": {"studies", "tuner", "dissection", "optuna", "sqlalchemy", "requests", "tests"},
    "studies": {"tuner", "dissection", "tests"},
    "tuner": {"tests"},
    "dissection": {"tuner", "tests"},
}


def _modules(room: str) -> list[Path]:
    return sorted((_ROOT / room).rglob("*.py"))


def _imported(path: Path) -> set[str]:
    """Top-level packages imported anywhere in a file, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add((node.module or "").partition(".")[0])
    return found


@pytest.mark.parametrize("room", _ROOMS)
def test_import_directions(room: str) -> None:
    assert _modules(room)
    wrong = {
        str(path.relative_to(_ROOT)): sorted(_imported(path) & _FORBIDDEN[room])
        for path in _modules(room)
        if _imported(path) & _FORBIDDEN[room]
    }
    assert wrong == {}


def test_only_one_module_imports_torchvision() -> None:
    """Elsewhere a build without its operators would fail."""
    importers = {
        path.name
        for path in _modules("explainers")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.Import, ast.ImportFrom)) and "torchvision" in _names(node)
    }
    assert importers == set()
    assert import_torchvision().__name__ == "torchvision"


def _names(node: ast.Import | ast.ImportFrom) -> set[str]:
    if isinstance(node, ast.ImportFrom):
        return {(node.module or "").partition(".")[0]}
    return {alias.name.partition(".")[0] for alias in node.names}


@pytest.mark.parametrize("path", _modules("explainers"), ids=lambda path: path.stem)
def test_public_names_exist(path: Path) -> None:
    name = ".".join(path.relative_to(_ROOT).with_suffix("").parts).removesuffix(".__init__")
    module = importlib.import_module(name)
    if path.name != "__init__.py":
        assert module.__all__
    names = getattr(module, "__all__", [])
    assert [n for n in names if not hasattr(module, n)] == []
    assert len(set(names)) == len(names)
