"""Python objects of the user's own, named ``package.module:name`` and imported from the working
folder."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.util
import sys
import traceback
from functools import reduce
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, FileFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from explainers.errors import InvalidInput

_LONGEST = 200  # characters of an exception's text


def module_spec(spec: str) -> str:
    """``sub/net.py:make`` as ``sub.net:make``; anything else as it is.

    Raises:
        InvalidInput: a path that is not below the working folder.
    """
    path, _, attribute = spec.rpartition(":")
    if not path.endswith(".py"):
        return spec
    file = Path(path)
    try:
        parts = file.resolve().relative_to(Path.cwd().resolve()).with_suffix("").parts
    except ValueError:
        parts = ()
    if not parts or not all(part.isidentifier() for part in parts):
        raise InvalidInput(
            f"'{spec}' names a file that is not below the working folder, or whose name is no "
            f"Python name: go to its folder and give {file.stem}:{attribute or 'NAME'}"
        )
    return f"{'.'.join(parts)}:{attribute}"


def import_user_object(spec: str, what: str) -> tuple[ModuleType, Any]:
    """The module and the object of ``package.module:name``; ``name`` may have dots.

    Args:
        what: what the messages call it, with the name that the user gave.

    Raises:
        InvalidInput: the module or the name does not exist, or importing it failed.
    """
    name, _, path = spec.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:  # a module beside the user's notebook
        sys.path.insert(0, here)
    # First, so that modules that need torchvision, such as timm, find one that can be imported.
    let_torchvision_import()
    importlib.invalidate_caches()  # else a file written a moment ago is not found
    if not all(part.isidentifier() for part in name.split(".")):
        raise InvalidInput(
            f"{what} cannot be imported ('{name}' is no module's name): give package.module:name, "
            "importable from the working folder"
        )
    try:
        module = importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: the user's own code may raise anything
        raise InvalidInput(
            f"{what} cannot be imported ({failure(error)}): give package.module:name, importable "
            "from the working folder"
        ) from error
    _refuse_a_namesake(module, name, what)
    try:
        return module, reduce(getattr, path.split("."), module)
    except AttributeError as error:
        raise InvalidInput(
            f"{what} cannot be imported ({error}): {_names_of(module, name, path)}"
        ) from error


def failure(error: BaseException) -> str:
    """Where and how the user's code failed: ``net.py line 3: RuntimeError: no CUDA``."""
    text = " ".join(str(error).split())[:_LONGEST]
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    where = _place_of(error)
    return f"{where}: {said}" if where else said


def _place_of(error: BaseException) -> str:
    """File and line of the innermost frame in the working folder, else in any other folder."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        # Its own text ends in "(net.py, line 1)", without the folder.
        return f"{_shown(error.filename)} line {error.lineno}"
    here = Path.cwd().resolve()
    ours = Path(__file__).resolve().parents[1]
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and Path(frame.filename).name != "__init__.py"
    ]
    foreign = [
        f
        for f in frames
        if ours not in Path(f.filename).resolve().parents
        and "importlib" not in Path(f.filename).parts
    ]
    own = [
        f
        for f in foreign
        if here in Path(f.filename).resolve().parents and "site-packages" not in f.filename
    ]
    if not (own or foreign):
        return ""
    frame = (own or foreign)[-1]
    return f"{_shown(frame.filename)} line {frame.lineno}"


def _shown(filename: str) -> str:
    path = Path(filename)
    try:
        return str(path.resolve().relative_to(Path.cwd().resolve()))
    except ValueError:
        return str(path)


def _refuse_a_namesake(module: ModuleType, name: str, what: str) -> None:
    """Raise if an installed package hides the user's file of the same name."""
    top = name.partition(".")[0]
    own = [p for p in (Path.cwd() / f"{top}.py", Path.cwd() / top / "__init__.py") if p.is_file()]
    found = getattr(sys.modules.get(top, module), "__file__", None)
    if own and (found is None or Path(found).resolve() not in {p.resolve() for p in own}):
        raise InvalidInput(
            f"{what}: '{top}' is {found or 'built into Python'}, not {own[0].name} of the working "
            "folder, which it hides: give your file another name"
        )


def _names_of(module: ModuleType, name: str, path: str) -> str:
    own = [n for n, v in vars(module).items() if not n.startswith("_") and callable(v)]
    wanted = path.removesuffix("()")
    close = [wanted] if wanted in own else difflib.get_close_matches(wanted, own, 3)
    close = close or [n for n in own if getattr(module, n).__module__ == name][:5]
    if not close:
        return "give package.module:name"
    return f"give {' or '.join(f'{name}:{each}' for each in close)}"


# A torch.library.Library unregisters its schemas when it is garbage collected.
_kept_alive: list[Any] = []


def import_torchvision() -> ModuleType:
    """Import torchvision, with stand-in operator schemas when its own cannot be loaded."""
    let_torchvision_import()
    return importlib.import_module("torchvision")


def let_torchvision_import() -> None:
    """Make torchvision importable without importing it, which takes seconds."""
    if _kept_alive or "torchvision" in sys.modules:
        return
    found = importlib.util.find_spec("torchvision")
    if found is None or not found.submodule_search_locations:
        return
    # As torchvision itself finds and loads its operators, and goes on without where it cannot.
    finder = FileFinder(
        found.submodule_search_locations[0], (ExtensionFileLoader, EXTENSION_SUFFIXES)
    )
    operators = finder.find_spec("_C")
    if operators is not None and operators.origin is not None:
        with contextlib.suppress(OSError):
            torch.ops.load_library(operators.origin)  # type: ignore[no-untyped-call]
            return
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        schema = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        library.define(schema)  # type: ignore[no-untyped-call]
    _kept_alive.append(library)
