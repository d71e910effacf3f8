"""Tables as the reference implementation of CLIP-Dissect saves them.

``{probe}_{model}_{layer}[_max].pt``  (N, U) pooled activations
``{probe}_{clip}.pt``                 (N, D) image features; the name without "/"
``{concepts}_{clip}.pt``              (C, D) text features; the concept file up to the first dot
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from dissection.probing.concepts import ConceptList
from dissection.probing.saved_features import SavedFeatures, chosen_layers
from explainers.errors import InvalidInput, StorageError

__all__ = ["read_saved", "write_saved"]


def read_saved(
    folder: Path,
    concepts: ConceptList,
    *,
    clip: str | None = None,
    pooling: str = "mean",
    layers: Sequence[str] = (),
) -> SavedFeatures:
    """Read the reference's tables for a list of concepts from a folder.

    The part of a file's name after the last underscore is taken for the layer.

    Args:
        concepts: named like the file of the text features, in their order.
        clip: name of the vision-language model, needed if there are several.
        pooling: of the activations, ``mean`` or ``max``.
        layers: read only these, of every network; all if empty.

    Raises:
        InvalidInput: features of concepts or images are missing or ambiguous, a layer is missing,
            or a file is no table of numbers.
    """
    files = sorted(path.name for path in folder.glob("*.pt"))
    prefix = f"{concepts.name}_"
    clips = [name[len(prefix) : -3] for name in files if name.startswith(prefix)]
    if clip is not None:
        clips = [name for name in clips if name == clip.replace("/", "")]
    if len(clips) != 1:
        raise InvalidInput(
            f"{folder} has text features {prefix}CLIP.pt of {', '.join(clips) or 'no model'}"
            f"{'' if not clips else ': choose with --clip'}"
        )
    # Lists of concepts have features of the same model, too; but only images have activations.
    ending = f"_{clips[0]}.pt"
    others = [name for name in files if not name.endswith(ending)]
    probes = [name.removesuffix(ending) for name in files if name.endswith(ending)]
    probes = [
        probe
        for probe in probes
        if probe != concepts.name and any(name.startswith(f"{probe}_") for name in others)
    ]
    if len(probes) != 1:
        raise InvalidInput(
            f"{folder} has image features PROBE_{clips[0]}.pt with activations of "
            f"{', '.join(probes) or 'no set of images'}: keep one set in a folder"
        )
    probe, suffix = probes[0], _suffix(pooling)
    paths = {}
    for name in others:
        if name.startswith(f"{probe}_") and name.endswith("_max.pt") == (pooling == "max"):
            model, _, layer = name[len(probe) + 1 : -len(suffix)].rpartition("_")
            if model:
                paths[model, layer] = folder / name
    if not paths:
        raise InvalidInput(
            f"{folder} has no activations {probe}_MODEL_LAYER{suffix}: check --pooling"
        )
    wanted = chosen_layers(folder, layers, paths)
    return SavedFeatures(
        image_features=_tensor(folder / f"{probe}{ending}"),
        text_features=_tensor(folder / f"{concepts.name}{ending}"),
        concepts=concepts.words,
        activations={key: _tensor(paths[key]) for key in wanted},
        probe=probe,
        concept_list=concepts.name,
        settings={
            "clip_model": clips[0],
            "pooling": pooling,
            "concepts_sha256": concepts.sha256,
        },
    )


def write_saved(
    folder: Path, features: SavedFeatures, *, clip: str, pooling: str = "mean"
) -> list[Path]:
    """Write the tables as the reference names them, and the concepts as a text file.

    Args:
        clip: name of the vision-language model.

    Returns:
        Paths of the files.

    Raises:
        StorageError: they cannot be written.
    """
    clip = clip.replace("/", "")
    tables = {
        f"{features.probe}_{clip}.pt": features.image_features,
        f"{features.concept_list}_{clip}.pt": features.text_features,
    } | {
        f"{features.probe}_{model}_{layer}{_suffix(pooling)}": table
        for (model, layer), table in features.activations.items()
    }
    words = folder / f"{features.concept_list}.txt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in tables.items():
            torch.save(table.cpu().contiguous(), folder / name)
        words.write_text("".join(f"{word}\n" for word in features.concepts), encoding="utf-8")
    except (OSError, RuntimeError) as error:
        raise StorageError(
            f"features cannot be written to {folder} ({error}): give another folder"
        ) from error
    return [*(folder / name for name in tables), words]


def _suffix(pooling: str) -> str:
    return "_max.pt" if pooling == "max" else ".pt"


def _tensor(path: Path) -> torch.Tensor:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that are refused below
            table = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise InvalidInput(
            f"saved activations {path} hold something other than a tensor, or are damaged: save "
            "the plain tensor with torch.save"
        ) from error
    if not isinstance(table, torch.Tensor):
        raise InvalidInput(
            f"saved activations {path} hold a {type(table).__name__}: a tensor is needed"
        )
    return table
