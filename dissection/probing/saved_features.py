"""The tables that labels are computed from, and the ``.npz`` file that holds them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from explainers.errors import InvalidInput

__all__ = ["SavedFeatures", "chosen_layers", "read_features", "write_features"]

_TABLES = ("image_features", "text_features", "concepts")
_FILES = "image_files"


@dataclass(frozen=True, eq=False)
class SavedFeatures:
    """The tables that labels are computed from, and their origin.

    Attributes:
        image_features: (N, D) floating point.
        text_features: (C, D) floating point.
        concepts: C words.
        activations: (N, U) floating point by (model, layer).
        probe, concept_list: names of the set of images and of the list of concepts.
        settings: further facts on how the tables were made, for the record.
    """

    image_features: torch.Tensor
    text_features: torch.Tensor
    concepts: tuple[str, ...]
    activations: Mapping[tuple[str, str], torch.Tensor]
    probe: str = ""
    concept_list: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


def chosen_layers(
    path: Path, layers: Sequence[str], tables: Iterable[tuple[str, str]]
) -> list[tuple[str, str]]:
    """(model, layer) of the tables of some layers; of all layers if none is named.

    Raises:
        InvalidInput: no network has such a layer.
    """
    tables = list(tables)
    known = sorted({layer for _, layer in tables})
    for layer in layers:
        if layer not in known:
            raise InvalidInput(f"{path} has no layer '{layer}'; it has {', '.join(known)}")
    return [(model, layer) for model, layer in tables if layer in (layers or known)]


def read_features(path: Path, layers: Sequence[str] = ()) -> SavedFeatures:
    """Read the tables from an ``.npz`` file.

    It has ``image_features`` (N, D), ``text_features`` (C, D), ``concepts`` (C,) text, and for
    every layer a table (N, U) named ``MODEL_LAYER``.

    Args:
        layers: read only these, of every network; all if empty.

    Raises:
        InvalidInput: it is no ``.npz`` file of plain arrays, or a table or layer is missing.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            tables = {name: file[name] for name in file.files}
    except (
        OSError, ValueError, EOFError, KeyError, AttributeError, TypeError, zipfile.BadZipFile,
    ) as error:  # fmt: skip
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise InvalidInput(
            f"features {path} cannot be read ({reason.splitlines()[0]}): give an .npz file of "
            "plain arrays"
        ) from error
    missing = [name for name in _TABLES if name not in tables]
    of_layers = [name for name in tables if name not in (*_TABLES, _FILES)]
    if missing or not of_layers:
        what = ", ".join(missing) or "activations (MODEL_LAYER)"
        raise InvalidInput(f"features {path} have no {what}; they have {', '.join(tables)}")
    activations = {}
    for name in of_layers:
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
        {key: activations[key] for key in chosen_layers(path, layers, activations)},
        probe=path.name,
        concept_list=path.name,
    )


def write_features(path: Path, features: SavedFeatures) -> None:
    """Write an ``.npz`` file for :func:`read_features`."""
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
