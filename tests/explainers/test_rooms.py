"""Which room may import which, read from the sources."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from explainers.classifiers import Classifier, import_torchvision, load_classifier

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


_FOLDERS = sorted(path.parent.name for path in (_ROOT / "explainers").glob("*/__init__.py"))


@pytest.mark.parametrize("folder", _FOLDERS)
def test_public_names_exist(folder: str) -> None:
    """And none of them is hidden by a module of the same name."""
    package = importlib.import_module(f"explainers.{folder}")
    assert package.__all__
    assert [n for n in package.__all__ if isinstance(getattr(package, n), ModuleType)] == []


def test_modules_of_a_folder_are_private_to_it() -> None:
    for room in _ROOMS:
        for path in _modules(room):
            own = path.relative_to(_ROOT).parts[:2]
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom):
                    parts = (node.module or "").split(".")
                    inside = parts[0] == "explainers" and parts[1:2] and parts[1] in _FOLDERS
                    assert not inside or len(parts) == 2 or tuple(parts[:2]) == own, (
                        f"{path} imports {node.module}: import from the folder"
                    )


def test_light_names_need_no_heavy_libraries() -> None:
    light = (
        "from explainers.errors import InvalidInput\n"
        "from explainers.lime import LimeParameters\n"
        "from explainers.masks import stored_coverage\n"
        "from explainers.metrics import Faithfulness\n"
        "import sys\nassert not {'torch', 'sklearn', 'cv2', 'torchvision'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", light], check=True, cwd=_ROOT)


def test_users_factories_find_what_has_moved() -> None:
    assert importlib.import_module("explainers.classifier").Classifier is Classifier
    assert importlib.import_module("explainers.zoo").load_classifier is load_classifier
