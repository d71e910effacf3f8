"""Features and activations that were computed elsewhere, or before: tables in one ``.npz`` file."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dissection.similarity import Probing
from explainers.errors import InvalidInput

__all__ = ["SavedFeatures", "read_features", "write_features"]

_TABLES = ("image_features", "text_features", "concepts")
_FILES = "image_files"


@dataclass(frozen=True, eq=False)
class SavedFeatures:
    """Everything that labels are computed from.

    Attributes:
        image_features: (N, D).
        text_features: (C, D).
        concepts: C words.
        activations: (N, U) by (model, layer).
    """

    image_features: torch.Tensor
    text_features: torch.Tensor
    concepts: tuple[str, ...]
    activations: Mapping[tuple[str, str], torch.Tensor]

    def probing(self, model: str, layer: str) -> Probing:
        """The tables of one layer.

        Raises:
            InvalidInput: tables that do not belong together.
        """
        return Probing.of(self.image_features, self.text_features, self.activations[model, layer])


def read_features(path: Path) -> SavedFeatures:
    """From an ``.npz`` file.

    It has ``image_features`` (N, D), ``text_features`` (C, D), ``concepts`` (C,) text, and for
    every layer a table (N, U) named ``MODEL_LAYER``.

    Raises:
        InvalidInput: no such file, no ``.npz`` file of plain arrays, or a table is missing.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            tables = {name: file[name] for name in file.files}
    except (
        OSError, ValueError, EOFError, KeyError, AttributeError, TypeError, zipfile.BadZipFile,
    ) as error:  # fmt: skip
        raise InvalidInput(
            f"features {path} cannot be read ({_reason(error)}): give an .npz file of plain arrays"
        ) from error
    missing = [name for name in _TABLES if name not in tables]
    layers = [name for name in tables if name not in (*_TABLES, _FILES)]
    if missing or not layers:
        what = ", ".join(missing) or "activations (MODEL_LAYER)"
        raise InvalidInput(f"features {path} have no {what}; they have {', '.join(tables)}")
    activations = {}
    for name in layers:
        model, _, layer = name.rpartition("_")
        if not model:
            raise InvalidInput(
                f"features {path}: table '{name}' must be named MODEL_LAYER, as in resnet18_layer4"
            )
        activations[model, layer] = _tensor(path, name, tables[name])
    return SavedFeatures(
        _tensor(path, "image_features", tables["image_features"]),
        _tensor(path, "text_features", tables["text_features"]),
        tuple(str(word) for word in tables["concepts"]),
        activations,
    )


def write_features(path: Path, features: SavedFeatures) -> None:
    """Write what :func:`read_features` reads."""
    tables = {"image_features": features.image_features, "text_features": features.text_features}
    tables |= {f"{model}_{layer}": table for (model, layer), table in features.activations.items()}
    arrays = {name: table.cpu().numpy() for name, table in tables.items()}
    np.savez(path, allow_pickle=False, concepts=np.array(features.concepts), **arrays)


def _tensor(path: Path, name: str, table: NDArray[np.generic]) -> torch.Tensor:
    if not np.issubdtype(table.dtype, np.floating):
        raise InvalidInput(
            f"features {path}: table '{name}' holds {table.dtype}; floating-point numbers are "
            "needed"
        )
    return torch.from_numpy(table)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).splitlines()[0] if str(error) else type(error).__name__
