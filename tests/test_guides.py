"""The guide of each package names files and registries that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("explainers", "studies", "dissection", "tuner")


@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_recipe_names_is_there(package: str) -> None:
    text = (ROOT / package / "README.md").read_text("utf-8")
    recipes = text.partition("To add")[2]
    named = re.findall(r"`([\w/]+(?:\.py|\.toml|/)|[\w/]+/[\w/]+)`", recipes)
    assert len(named) >= 4
    missing = [
        each
        for each in named
        if not any(
            (base / each).exists() for base in (ROOT, ROOT / package, ROOT / "tests" / package)
        )
    ]
    assert missing == []
    files = "".join(path.read_text("utf-8") for path in (ROOT / package).rglob("*.py"))
    registries = re.findall(r"`(_?[A-Z_]{4,})`", recipes)
    assert [each for each in registries if not re.search(rf"\b{each}\b", files)] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_is_named(package: str) -> None:
    text = (ROOT / package / "README.md").read_text("utf-8")
    folders = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
    assert {each for each in folders if f"| `{each}/`" not in text} == set()
