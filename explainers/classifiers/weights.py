"""Reading weights files without running code in them, and loading them into a module.

Prefixes of names, leftovers of training and other precisions are adapted where there is only one
way to do so.
"""

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
from torch import nn

from explainers.errors import InvalidInput, MissingAsset
from explainers.messages import warn_once

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

# Types that checkpoints hold beside tensors, and that run no code when they are read.
_HARMLESS: list[Any] = [
    argparse.Namespace, pathlib.PosixPath, pathlib.PurePosixPath, Counter, defaultdict, int, list,
    dict, np.dtype, np.ndarray, *(getattr(np.dtypes, name) for name in np.dtypes.__all__),
    *(
        (made.__reduce__()[0], f"{module}.multiarray.{name}")  # as NumPy 1 and 2 call them
        for made, name in ((np.float64(0), "scalar"), (np.zeros(1), "_reconstruct"))
        for module in ("numpy.core", "numpy._core")
    ),
]  # fmt: skip
# No weights: counts of batches, of thop's operations, of averaged models; indices that the
# module makes itself. A file may lack them, or have them in excess.
_NO_WEIGHTS = (
    "num_batches_tracked", "total_ops", "total_params", "n_averaged", "position_ids",
    "relative_position_index", "relative_coords_table", "attn_mask",
)  # fmt: skip
# Parts of names that DataParallel and torch.compile insert anywhere.
_WRAPPING = ("module", "_orig_mod")
State = Mapping[str, torch.Tensor]


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a state dict file, plain or inside a checkpoint, on the CPU.

    Raises:
        MissingAsset: there is no such file.
        InvalidInput: it is no state dict, or holds several, or more than tensors and plain values.
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
        b"\x89HDF": "is an HDF5 file (Keras)",
        b"version https://git-lfs": "is a pointer of Git LFS: run git lfs pull",
        b"<": "is a web page, not what should have been downloaded",
    }
    said = None if start else "is empty"
    said = next((t for magic, t in known.items() if start.lstrip().startswith(magic)), said)
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


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
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
    """The tensors, by name, of the network in a checkpoint."""
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


def load_state(module: nn.Module, path: Path, name: str) -> None:
    """Load a weights file into a module; every tensor must fit.

    Args:
        name: what messages call the module.

    Raises:
        MissingAsset: there is no such file.
        InvalidInput: it holds no weights, or those of something else.
    """
    fill(module, fitted_keys(module, read_state(path), path), path, name)


def fitted_keys(module: nn.Module, state: State, path: Path) -> dict[str, torch.Tensor]:
    """The state dict with its tensors named as in the module.

    A state dict that has every name is taken as it is. Otherwise one prefix (``module.`` of
    DataParallel, ``_orig_mod.`` of torch.compile, ``model.`` of Lightning, any other) is dropped
    from the names, or put before them, where nothing else makes them fit. Tensors that are no
    weights are left out. Every change is logged.

    Raises:
        InvalidInput: several prefixes fit.
    """
    own = _weights_of(_tensors(module))
    if own <= set(state) or not own:
        return _without_leftovers(module, dict(state), path)
    fits: dict[str, dict[str, torch.Tensor]] = {}
    for prefix in _prefixes(own, set(state)):
        inside = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        if own <= set(inside):
            fits[prefix] = inside
    if len(fits) > 1:
        raise InvalidInput(
            f"{path} holds several networks that fit ({', '.join(sorted(fits))}): save the one "
            "that is meant with torch.save(model.state_dict(), FILE)"
        )
    for prefix, inside in fits.items():
        left = [key for key in state if not key.startswith(prefix)]
        others = f"; {_counted(left, 'other key')} left out" if left else ""
        warn_once(_logger, f"{path}: dropped the prefix '{prefix}' of {len(inside)} keys{others}")
        return _without_leftovers(module, inside, path)
    for prefix in _prefixes(_weights_of(state), own):
        longer = {f"{prefix}{key}": value for key, value in state.items()}
        if own <= set(longer):
            warn_once(_logger, f"{path}: put the prefix '{prefix}' before {len(longer)} keys")
            return _without_leftovers(module, longer, path)
    unwrapped = _as_wrapped(_tensors(module), state)
    if own <= set(unwrapped):
        warn_once(_logger, f"{path}: names differ in {' and '.join(_WRAPPING)} only, and fit")
        return _without_leftovers(module, unwrapped, path)
    return _most_alike(own, state)


def other_class_count(module: nn.Module, state: State) -> int | None:
    """Number of classes of the weights, if they differ from the module in that alone."""
    own = _tensors(module)
    other = {
        key: len(state[key])
        for key, value in own.items()
        if key in state
        and value.ndim
        and value.shape != state[key].shape
        and value.shape[1:] == state[key].shape[1:]
    }
    head = list(own)[-1]
    missing = _weights_of(own) - set(state)
    unknown = [key for key in state if key not in own]
    heads_only = len(set(other.values())) == 1 and head in other
    return other[head] if heads_only and not missing and not unknown else None


def fill(module: nn.Module, state: State, path: Path, name: str) -> None:
    """Put tensors into the module; other precisions are cast, with a warning.

    Raises:
        InvalidInput: a tensor is missing, unknown or of another shape.
    """
    own = _tensors(module)
    shapes = {key: _shape(tensor) for key, tensor in own.items()}
    other = [k for k in state if k in own and shapes[k] not in (None, tuple(state[k].shape))]
    unknown = [key for key in state if key not in own]
    missing = sorted(_weights_of(own) - set(state))
    if unknown or missing:
        example = (unknown or missing)[0]
        raise InvalidInput(
            f"{path} does not hold weights of {name} ({len(missing)} tensors missing, "
            f"{len(unknown) + len(other)} unknown or of another shape, e.g. '{example}'): "
            "give the file of the same architecture"
        )
    if other:
        key = other[0]
        raise InvalidInput(
            f"{path} does not hold weights of {name} ({len(other)} tensors of another shape): "
            f"'{key}' is {_sides(state[key].shape)} in the file and {_sides(own[key].shape)} in "
            "the network; give the file of the same architecture and number of classes"
        )
    _warn_casts(own, state, path)
    # Counts that the file lacks keep the module's own values.
    kept = {key: each for key, each in module.state_dict().items() if key not in state}
    try:
        module.load_state_dict({**kept, **state})
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise InvalidInput(
            f"{path} does not hold weights of {name} ({reason}): give the file of the same "
            "architecture"
        ) from error


def _tensors(module: nn.Module) -> State:
    """The tensors of its state dict, which may hold anything else (``get_extra_state``)."""
    return {key: each for key, each in module.state_dict().items() if torch.is_tensor(each)}


def _weights_of(keys: Mapping[str, object] | list[str]) -> set[str]:
    return {key for key in keys if not key.endswith(_NO_WEIGHTS)}


def _prefixes(short: set[str], long: set[str]) -> list[str]:
    """Prefixes that may stand before the short names in the long ones, shortest first."""
    if not short:
        return []
    probe = max(short, key=len)
    found = {key[: -len(probe)] for key in long if key.endswith(f".{probe}")}
    return sorted(found, key=len)


def _as_wrapped(own: State, state: State) -> dict[str, torch.Tensor]:
    """Rename where parts are wrapped in the module or the file (``features.module.0.weight``)."""
    by_plain_name = {_bare(key): key for key in own}
    return {by_plain_name.get(_bare(key), _bare(key)): value for key, value in state.items()}


def _bare(key: str) -> str:
    return ".".join(part for part in key.split(".") if part not in _WRAPPING)


def _most_alike(own: set[str], state: State) -> dict[str, torch.Tensor]:
    """The state for a message, without its commonest prefix where more names match without it."""
    first = Counter(key.partition(".")[0] for key in state).most_common(1)
    prefix = f"{first[0][0]}." if first else ""
    shorter = {key.removeprefix(prefix): value for key, value in state.items()}
    return shorter if len(own & set(shorter)) > len(own & set(state)) else dict(state)


def _without_leftovers(
    module: nn.Module, state: dict[str, torch.Tensor], path: Path
) -> dict[str, torch.Tensor]:
    own = module.state_dict()
    left = [key for key in state if key not in own and key.endswith(_NO_WEIGHTS)]
    if left:
        warn_once(_logger, f"{path}: left out {_counted(left, 'key')}, no weights")
    return {key: value for key, value in state.items() if key not in left}


def _warn_casts(own: State, state: State, path: Path) -> None:
    casts = Counter(
        (value.dtype, own[key].dtype)
        for key, value in state.items()
        if _shape(own[key]) is not None
        and own[key].is_floating_point()
        and value.dtype != own[key].dtype
    )
    for (given, wanted), count in casts.items():
        if not given.is_floating_point:
            raise InvalidInput(
                f"{path} holds {count} tensors of type {given} for weights of type {wanted}: give "
                "the weights from before the quantisation"
            )
        warn_once(_logger, f"{path}: cast {count} tensors from {given} to {wanted}")


def _counted(keys: list[str], what: str) -> str:
    return f"{len(keys)} {what}{'s' if len(keys) > 1 else ''} (e.g. '{keys[0]}')"


def _shape(tensor: torch.Tensor) -> tuple[int, ...] | None:
    """The shape; ``None`` for a lazy module's tensor, which has none yet."""
    return None if nn.parameter.is_lazy(tensor) else tuple(tensor.shape)


def _sides(shape: torch.Size) -> str:
    return " × ".join(map(str, shape)) or "a single number"
