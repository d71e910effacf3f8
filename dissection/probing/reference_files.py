"""Tables as the reference implementation of CLIP-Dissect saves them.

``{probe}_{model}_{layer}[_max].pt``  (N, U) pooled activations
``{probe}_{clip}.pt``                 (N, D) image features; the name without "/"
``{concepts}_{clip}.pt``              (C, D) text features; the concept file up to the first dot
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from dissection.probing.saved_features import SavedFeatures
from explainers.errors import InvalidInput, StorageError

__all__ = ["SavedNames", "find_saved", "read_saved", "write_saved"]


@dataclass(frozen=True)
class SavedNames:
    """What the files of the reference are called by.

    Attributes:
        probe: the probing images.
        clip: the vision-language model, without "/".
        concepts: the list, its file's name up to the first dot.
        pooling: ``mean`` or ``max``.
    """

    probe: str
    clip: str
    concepts: str
    pooling: str = "mean"

    @property
    def image_file(self) -> str:
        """Of the image features."""
        return f"{self.probe}_{self.clip}.pt"

    @property
    def text_file(self) -> str:
        """Of the text features."""
        return f"{self.concepts}_{self.clip}.pt"

    def layer_file(self, model: str, layer: str) -> str:
        """Of a layer's activations."""
        return f"{self.probe}_{model}_{layer}{self.suffix}"

    @property
    def suffix(self) -> str:
        """How such a file's name ends."""
        return "_max.pt" if self.pooling == "max" else ".pt"


def find_saved(
    folder: Path, concepts: str, *, clip: str | None = None, pooling: str = "mean"
) -> tuple[SavedNames, list[tuple[str, str]]]:
    """What a folder of the reference holds for a list of concepts.

    A layer's name is taken to be what follows the last underscore.

    Args:
        concepts: name of the list.
        clip: which vision-language model, where there are several.

    Returns:
        The names, and (model, layer) of every table of activations.

    Raises:
        InvalidInput: features of concepts or images are missing, or there are several.
    """
    files = {path.name for path in folder.glob("*.pt")}
    clips = sorted(
        name[len(concepts) + 1 : -3] for name in files if name.startswith(f"{concepts}_")
    )
    if clip is not None:
        clips = [name for name in clips if name == clip.replace("/", "")]
    if len(clips) != 1:
        raise InvalidInput(
            f"{folder} has text features {concepts}_CLIP.pt of {', '.join(clips) or 'no model'}"
            f"{'' if not clips else ': choose with --clip'}"
        )
    probes = [
        name.removesuffix(f"_{clips[0]}.pt")
        for name in sorted(files)
        if name.endswith(f"_{clips[0]}.pt") and name != f"{concepts}_{clips[0]}.pt"
    ]
    # Another list of concepts has features of the same model; pictures have activations too.
    others = {name for name in files if not name.endswith(f"_{clips[0]}.pt")}
    probes = [probe for probe in probes if any(name.startswith(f"{probe}_") for name in others)]
    if len(probes) != 1:
        raise InvalidInput(
            f"{folder} has image features PROBE_{clips[0]}.pt with activations of "
            f"{', '.join(probes) or 'no set of images'}: keep one set in a folder"
        )
    names = SavedNames(probes[0], clips[0], concepts, pooling)
    found = []
    for name in sorted(files - {names.image_file, names.text_file}):
        is_max = name.endswith("_max.pt")
        if name.startswith(f"{names.probe}_") and is_max == (pooling == "max"):
            model, _, layer = name[len(names.probe) + 1 : -len(names.suffix)].rpartition("_")
            if model:
                found.append((model, layer))
    if not found:
        raise InvalidInput(
            f"{folder} has no activations {names.layer_file('MODEL', 'LAYER')}: check --pooling"
        )
    return names, found


def read_saved(
    folder: Path, names: SavedNames, concepts: Sequence[str], layers: Sequence[tuple[str, str]]
) -> SavedFeatures:
    """The tables of a folder that the reference has saved.

    Args:
        concepts: words in the order of the text features.
        layers: (model, layer).

    Raises:
        InvalidInput: a file is missing or is no table of numbers.
    """
    return SavedFeatures(
        image_features=_tensor(folder / names.image_file),
        text_features=_tensor(folder / names.text_file),
        concepts=tuple(concepts),
        activations={
            (model, layer): _tensor(folder / names.layer_file(model, layer))
            for model, layer in layers
        },
    )


def write_saved(folder: Path, names: SavedNames, features: SavedFeatures) -> list[Path]:
    """Write the tables as the reference names them, and the concepts as a text file.

    Returns:
        The files.

    Raises:
        StorageError: they cannot be written.
    """
    tables = {
        names.image_file: features.image_features,
        names.text_file: features.text_features,
    } | {
        names.layer_file(model, layer): table
        for (model, layer), table in features.activations.items()
    }
    words = folder / f"{names.concepts}.txt"
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


def _tensor(path: Path) -> torch.Tensor:
    if not path.is_file():
        raise InvalidInput(f"saved activations {path}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that are refused below
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise InvalidInput(
            f"saved activations {path} hold something other than a tensor, or are damaged: save "
            "the plain tensor with torch.save"
        ) from error
    if not isinstance(found, torch.Tensor):
        raise InvalidInput(
            f"saved activations {path} hold a {type(found).__name__}: a tensor is needed"
        )
    return found
