"""Weights files: what training scripts write, read without running any code of theirs."""

from __future__ import annotations

import argparse
import logging
import pathlib
import re
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from explainers.errors import InvalidInput, MissingAsset
from explainers.messages import warn_once

__all__ = ["read_state"]

_logger = logging.getLogger(__name__)

# Where training scripts keep the state dict, the likeliest first; PyTorch's own examples,
# torchvision's references, Lightning, timm, mmcv, Hugging Face's trainers, YOLO.
_WRAPPERS = (
    "state_dict", "model_state_dict", "model_state", "model", "net", "network", "module",
    "net_state_dict", "weights", "params", "model_ema", "state_dict_ema", "ema_state_dict", "ema",
    "params_ema", "state",
)  # fmt: skip
_DEEPEST = 3
_SAVE = "save it with torch.save(model.state_dict(), FILE)"

# What checkpoints hold beside tensors, and what no code is run for when it is read.
_HARMLESS: list[Any] = [
    argparse.Namespace, pathlib.PosixPath, pathlib.PurePosixPath, Counter, defaultdict, int, list,
    dict, np.dtype, np.ndarray, *(getattr(np.dtypes, name) for name in np.dtypes.__all__),
    *(
        (made.__reduce__()[0], f"{module}.multiarray.{name}")  # as NumPy 1 and 2 call them
        for made, name in ((np.float64(0), "scalar"), (np.zeros(1), "_reconstruct"))
        for module in ("numpy.core", "numpy._core")
    ),
]  # fmt: skip


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a state dict file, plain or inside a checkpoint, on the CPU.

    Raises:
        MissingAsset: there is no such file.
        InvalidInput: it is none, holds more than tensors and plain values, or several networks.
    """
    if not path.is_file():
        raise MissingAsset(f"weights file {path} does not exist: check the path after --weights")
    _refuse_other_formats(path)
    loaded = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    return {name: _plain(tensor, name, path) for name, tensor in _state_in(loaded, path).items()}


def _refuse_other_formats(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(200)
    known = {
        b"": "is empty",
        b"\x89HDF": "is an HDF5 file (Keras)",
        b"version https://git-lfs": "is a pointer of Git LFS: run git lfs pull",
        b"<": "is a web page, not what should have been downloaded",
    }
    said = next(
        (text for magic, text in known.items() if magic and start.lstrip().startswith(magic)), None
    )
    if not start:
        said = known[b""]
    if path.suffix.lower() in (".onnx", ".tflite", ".pb", ".engine", ".keras", ".xml", ".npz"):
        said = said or f"is a {path.suffix[1:]} file"
    if said is None and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any(name.endswith("constants.pkl") for name in names):
            said = "is a TorchScript file (torch.jit.save), of which only a program can be loaded"
    if said is not None:
        raise InvalidInput(
            f"{path} {said}, and no PyTorch state dict: {_SAVE}, or wrap the model in a function "
            "and give --model function:package.module:name"
        )


def _read_safetensors(path: Path) -> Any:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise InvalidInput(
            f"{path} needs the package safetensors to be read: install it, or {_SAVE}"
        ) from error
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise InvalidInput(f"{path} is no safetensors file ({error}): {_SAVE}") from error


def _read_torch(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen types here
        unknown = re.search(
            r"(?:Unsupported global: GLOBAL|Unsupported class) ([\w.]+)", str(error)
        )
        if unknown is not None:
            raise InvalidInput(
                f"{path} is not a PyTorch state dict that can be loaded safely: it holds more than "
                f"tensors ({unknown.group(1)}), as a whole module does. Load it where "
                "it was trained and save its weights: torch.save(model.state_dict(), FILE)"
            ) from error
        said = " ".join(str(error).partition("WeightsUnpickler error: ")[2].split())[:120]
        said = said or " ".join(str(error).split())[:120]
        raise InvalidInput(
            f"{path} is not a PyTorch state dict that can be loaded safely "
            f"({type(error).__name__}: {said}): {_SAVE}"
        ) from error


def _state_in(loaded: Any, path: Path) -> dict[str, torch.Tensor]:
    """The tensors by name, of the network that a checkpoint holds."""
    if not isinstance(loaded, Mapping):
        raise InvalidInput(f"{path} holds {type(loaded).__name__}, not a state dict: {_SAVE}")
    inside = dict(_states(loaded))
    for wrapper in _WRAPPERS:
        found = [key for key in inside if key.rpartition("/")[2] == wrapper]
        if found:
            chosen = found[0]
            break
    else:
        if len([key for key in inside if key]) > 1 and "" not in inside:
            raise InvalidInput(
                f"{path} holds several state dicts ({', '.join(sorted(inside))}): save the one "
                "that is meant with torch.save(..., FILE)"
            )
        chosen = next(iter(inside), "")
    if not inside:
        keys = ", ".join(str(key) for key in list(loaded)[:5]) or "nothing"
        raise InvalidInput(f"{path} holds no tensors ({keys}), not a state dict: {_SAVE}")
    others = [key for key in inside if key not in (chosen, "")]
    if others:
        warn_once(
            _logger,
            f"{path} holds several state dicts: '{chosen}' is taken, {', '.join(others)} not",
        )
    return inside[chosen]


def _states(loaded: Mapping[Any, Any], at: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping from names to tensors, by its path; entries that are no tensors left out."""
    tensors = {k: v for k, v in loaded.items() if isinstance(k, str) and torch.is_tensor(v)}
    if any(tensor.ndim for tensor in tensors.values()):  # not only counts and losses
        yield at, tensors
    if at.count("/") < _DEEPEST:
        for key, value in loaded.items():
            if isinstance(key, str) and isinstance(value, Mapping) and "optim" not in key.lower():
                yield from _states(value, f"{at}/{key}" if at else key)


def _plain(tensor: torch.Tensor, name: str, path: Path) -> torch.Tensor:
    if tensor.is_meta:
        raise InvalidInput(f"{path}: '{name}' is on the device meta, without values: {_SAVE}")
    if tensor.is_quantized:
        raise InvalidInput(
            f"{path}: '{name}' is quantised: give the weights from before the quantisation"
        )
    return (tensor.to_dense() if tensor.layout != torch.strided else tensor).detach()
