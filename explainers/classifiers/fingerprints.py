"""Hashing everything that decides a network's predictions: structure, weights, code, attributes."""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
import sysconfig
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
# Their code is not hashed: a study may go on with newer versions.
_PACKAGES = ("torch", "torchvision", "explainers", "studies", "tuner", "dissection")
_OF_ANY_MODULE = frozenset(vars(torch.nn.Module()))


def update_with_state(digest: hashlib._Hash, module: torch.nn.Module) -> None:
    """Hash the printed structure, and everything in the state dict, by name.

    The structure tells apart networks with equal weights (a stride, a pooling).
    """
    digest.update(_without_addresses(str(module)).encode())
    for name, value in sorted(module.state_dict().items()):
        _update(digest, name, value)


def update_with_code(digest: hashlib._Hash, module: torch.nn.Module) -> None:
    """Hash code and attributes of the user's own classes, not of torch's and installed packages'.

    These are the source files of the classes and of the user's modules that they import, and each
    instance's plain attributes: numbers, texts, arrays, tensors that are no buffers.
    """
    for each in module.modules():
        if isinstance(each, (torch.jit.ScriptModule, torch.fx.GraphModule)):
            digest.update(str(getattr(each, "code", "")).encode())
    own = [(name, each) for name, each in module.named_modules() if _is_own(type(each))]
    called = [
        function
        for _, each in module.named_modules()
        if isinstance(function := vars(each).get("forward"), (types.FunctionType, types.MethodType))
    ]
    sources = {_source(kind) for _, each in own for kind in type(each).__mro__ if _is_own(kind)}
    sources |= {_source(each) for each in called if _is_own(each)}
    for source in sorted(sources):
        digest.update(source)
    for kind in sorted({type(each) for _, each in own}, key=lambda kind: kind.__qualname__):
        digest.update(kind.__qualname__.encode())
        for name, function in sorted(vars(kind).items()):
            _update_with_closure(digest, name, function)
    for path, each in own:
        for name, value in sorted(vars(each).items()):
            if name in _OF_ANY_MODULE:
                continue
            if isinstance(value, types.FunctionType):
                digest.update(f"{path}.{name}{_text(value)}".encode())
                _update_with_closure(digest, f"{path}.{name}", value)
            elif _is_plain(value):
                _update(digest, f"{path}.{name}", value)
        kept = each.state_dict().keys()
        for name, buffer in each.named_buffers(recurse=False):
            if name not in kept:
                _update(digest, f"{path}.{name}", buffer)


def _update_with_closure(digest: hashlib._Hash, name: str, function: Any) -> None:
    """Hash the values in a function's closure, which its source file does not show."""
    for number, cell in enumerate(getattr(function, "__closure__", None) or ()):
        try:
            value = cell.cell_contents
        except ValueError:  # an empty cell
            continue
        if isinstance(value, types.FunctionType):
            digest.update(f"{name}<{number}>{_text(value)}".encode())
        elif _is_plain(value):
            _update(digest, f"{name}<{number}>", value)


def _is_own(thing: Any) -> bool:
    """Whether a class or function is the user's own code."""
    name = getattr(thing, "__module__", None) or ""
    return name.partition(".")[0] not in _PACKAGES and _is_own_module(sys.modules.get(name))


def _is_own_module(module: types.ModuleType | None) -> bool:
    if module is None or module.__name__.partition(".")[0] in sys.stdlib_module_names:
        return False
    file = getattr(module, "__file__", None)
    if file is None:  # e.g. a notebook
        return module.__name__ == "__main__"
    installed = (sysconfig.get_path(each) for each in ("purelib", "platlib", "stdlib"))
    return not any(Path(file).is_relative_to(folder) for folder in installed) and not (
        {"site-packages", "dist-packages"} & set(Path(file).parts)
    )


def _source(thing: Any) -> bytes:
    """Sha256 of the source files a class or function may depend on; its own text in a notebook."""
    digest = hashlib.sha256()
    module = sys.modules.get(thing.__module__)
    contents = set() if module is None else {*_contents(module, set())}
    if getattr(module, "__file__", None) is None:
        contents.add(_text(thing).encode())
    for content in sorted(contents):
        digest.update(hashlib.sha256(content).digest())
    return digest.digest()


def _text(thing: Any) -> str:
    """Source text of a class or function; its repr where there is none."""
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):  # e.g. typed into an interpreter
        return _without_addresses(repr(thing))


def _contents(module: types.ModuleType, seen: set[str]) -> Iterator[bytes]:
    """The module's file and, in turn, those of the user's modules that it took names from."""
    seen.add(module.__name__)
    file = getattr(module, "__file__", None)
    if file is not None and Path(file).is_file():
        yield Path(file).read_bytes()
    for value in list(vars(module).values()):
        name = value.__name__ if isinstance(value, types.ModuleType) else None
        name = name or getattr(value, "__module__", None)
        if not isinstance(name, str) or name in seen or name.partition(".")[0] in _PACKAGES:
            continue
        found = sys.modules.get(name)
        if found is not None and _is_own_module(found):
            yield from _contents(found, seen)


_PLAIN = (
    bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.Size, np.ndarray,
    np.generic, slice, range,
)  # fmt: skip


def _is_plain(value: Any) -> bool:
    if isinstance(value, torch.Tensor):  # results of a forward pass decide nothing
        return value.is_leaf and not value.is_inference()
    if isinstance(value, (tuple, list)):
        return all(_is_plain(each) for each in value)
    if isinstance(value, Mapping):
        return all(_is_plain(each) for each in (*value.keys(), *value.values()))
    return isinstance(value, _PLAIN)


def _update(digest: hashlib._Hash, name: str, value: Any) -> None:
    """Hash a named value: a tensor, or what else state dicts hold (tuples and types where layers
    are quantised)."""
    if isinstance(value, torch.Tensor):
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        data = value.detach().to("cpu")
        if data.is_quantized:
            digest.update(_scales(data).encode())
            data = data.int_repr()
        if data.layout != torch.strided:
            data = data.to_dense()
        data = data.contiguous()
        digest.update(data.view(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, np.ndarray):
        digest.update(f"{name}{value.shape}{value.dtype}".encode())
        digest.update(value.tobytes() if value.dtype.kind != "O" else repr(value).encode())
    elif isinstance(value, (tuple, list)):
        digest.update(f"{name}[{len(value)}]".encode())
        for number, each in enumerate(value):
            _update(digest, f"{name}.{number}", each)
    elif isinstance(value, Mapping):
        digest.update(f"{name}{{{len(value)}}}".encode())
        for key, each in value.items():
            _update(digest, f"{name}.{key}", each)
    elif isinstance(value, torch.ScriptObject):  # packed weights
        _update(digest, name, value.__getstate__())
    else:
        digest.update(f"{name}={_without_addresses(repr(value))}".encode())


def _scales(data: torch.Tensor) -> str:
    if data.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return f"{data.q_scale()} {data.q_zero_point()}"
    scales, zeros = data.q_per_channel_scales(), data.q_per_channel_zero_points()
    return f"{scales.tolist()} {zeros.tolist()} {data.q_per_channel_axis()}"


def _without_addresses(text: str) -> str:
    return _ADDRESS.sub("", text)
