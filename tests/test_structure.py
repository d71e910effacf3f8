"""What may import what, and how large a folder or a module may be."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("explainers", "studies", "dissection", "tuner")
MAY_IMPORT = {
    "explainers": {"explainers"},
    "studies": {"studies", "explainers"},
    "dissection": {"dissection", "studies", "explainers"},
    "tuner": set(PACKAGES),
}
# Data, and what Python or mypy ask for, are no entries of their own.
UNCOUNTED = {"__init__.py", "__main__.py", "py.typed", "data", "__pycache__", "README.md"}
MOST_ENTRIES, MOST_LINES, MOST_LOCAL_IMPORTS = 14, 400, 40


@cache
def modules() -> dict[str, Path]:
    """Every product module's file by dotted name."""
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(modules()[name].read_text("utf-8"))


def imports(name: str) -> Iterator[tuple[str, ast.stmt]]:
    """Our modules that a module imports anywhere in it, with the statement."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            named = [
                full if (full := f"{node.module}.{alias.name}") in modules() else node.module
                for alias in node.names
            ]
        else:
            continue
        for each in named:
            if each.partition(".")[0] in PACKAGES:
                yield each, node


def at_run_time(name: str) -> Iterator[str]:
    """What importing a module imports: not what stands in functions, or is for types only."""
    skipped = {
        id(inner)
        for node in ast.walk(tree(name))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        for inner in ast.walk(node)
    }
    for target, node in imports(name):
        if id(node) not in skipped and not name.startswith(f"{target}."):
            yield target


def test_data_flows_down() -> None:
    wrong = [
        f"{name} imports {target}"
        for name in modules()
        for target, _ in imports(name)
        if target.partition(".")[0] not in MAY_IMPORT[name.partition(".")[0]]
    ]
    assert wrong == []


def test_no_import_goes_in_a_circle() -> None:
    graph = {name: set(at_run_time(name)) for name in modules()}
    done: set[str] = set()

    def follow(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " imports ".join((*path[path.index(name) :], name))
        if name not in done:
            for target in sorted(graph[name]):
                # A folder's public list is loaded before what it lists.
                if not target.startswith(f"{name}.") or name not in graph.get(target, ()):
                    follow(target, (*path, name))
            done.add(name)

    for name in graph:
        follow(name, ())


def test_imports_stand_at_the_top() -> None:
    inside = {
        (name, node.lineno)
        for name in modules()
        for function in ast.walk(tree(name))
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(function)
        if isinstance(node, (ast.Import, ast.ImportFrom))
    }
    assert len(inside) < MOST_LOCAL_IMPORTS, sorted(inside)


@pytest.mark.parametrize("name", sorted(modules()))
def test_what_a_module_offers_exists(name: str) -> None:
    for node in tree(name).body:
        if isinstance(node, ast.Assign) and "__all__" in map(ast.unparse, node.targets):
            offered = ast.literal_eval(node.value)
            assert len(set(offered)) == len(offered)
            module = import_module(name)
            assert [each for each in offered if not hasattr(module, each)] == []


def test_folders_and_modules_can_be_held_in_the_head() -> None:
    folders = defaultdict(set)
    for path in modules().values():
        folders[path.parent].add(path.name)
        if path.parent.name not in PACKAGES:
            folders[path.parent.parent].add(path.parent.name)
    wide = {
        str(folder.relative_to(ROOT)): len(entries - UNCOUNTED)
        for folder, entries in folders.items()
        if len(entries - UNCOUNTED) > MOST_ENTRIES
    }
    long = {
        name: lines
        for name, path in modules().items()
        if (lines := len(path.read_text("utf-8").splitlines())) > MOST_LINES
    }
    assert (wide, long) == ({}, {})
