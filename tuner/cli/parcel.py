"""What ``submit`` is about to send: a pickle that is whole, with what its studies promise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explainers.errors import InvalidInput
from tuner.cli.results import DEFAULT_PICKLE, run_export

if TYPE_CHECKING:
    from studies.predicted import Prediction

__all__ = ["Parcel", "check_cutoff", "pack"]


@dataclass(frozen=True)
class Parcel:
    """A pickle that can be sent.

    Attributes:
        parameters: its keyword arguments by image, as plain values.
        parameters_sha256: of these.
        study: prefix of the studies that know any of it.
        found: predictions by image, of those that have one.
        predicted: the mean; ``None`` when an image has none.
    """

    file: Path
    data: bytes
    parameters: Mapping[str, Mapping[str, Any]]
    parameters_sha256: str
    study: str | None
    found: Mapping[str, Prediction]
    predicted: Prediction | None


def pack(file: Path | None, *, catalog_source: str, study: str | None, storage: str) -> Parcel:
    """Export where there is no file, read it, and refuse it where anything is wrong.

    Raises:
        InvalidInput: an image or an argument is missing, too many, or nothing for stock lime.
        UnsafePickle, StorageError: see ``verify`` and ``export``.
    """
    from studies.catalog import load_catalog
    from studies.export import parameters_digest, plain_kwargs, read_pickle
    from studies.predicted import mean_prediction, predictions

    catalog = load_catalog(catalog_source)
    prefix = study or catalog.name
    exported = file is None
    if file is None:
        file = DEFAULT_PICKLE
        run_export(
            storage, catalog_source=catalog_source, study=study, output=file, fill_defaults=False
        )
    document = read_pickle(file)
    complaints = _complaints(document, catalog.keys)
    if complaints:
        raise InvalidInput(
            f"{file} cannot be submitted, {len(complaints)} things are wrong with it; the first: "
            f"{complaints[0]}"
        )
    found = predictions(storage, prefix, document)
    plain = {key: plain_kwargs(kwargs) for key, kwargs in document.items()}
    return Parcel(
        file=file,
        data=file.read_bytes(),
        parameters=plain,
        parameters_sha256=parameters_digest(plain),
        study=prefix if exported or found else None,
        found=found,
        predicted=mean_prediction(found, catalog.keys),
    )


def _complaints(document: Mapping[str, Mapping[str, Any]], keys: Sequence[str]) -> list[str]:
    """What ``verify`` refuses, and what it would fill in or leave out: a server may not."""
    from explainers.lime_parameters import LIME_ARGUMENTS
    from studies.export import check_kwargs

    found = [f"{key}: is not in the catalogue" for key in document if key not in keys]
    found += [
        f"{key}: has no {name}, every image needs all ten arguments"
        for key, kwargs in document.items()
        for name in LIME_ARGUMENTS
        if name not in kwargs
    ]
    return found + [str(each) for each in check_kwargs(document, keys) if each.fatal]


def check_cutoff(parcel: Parcel, cutoff: float) -> str | None:
    """A warning where a cut-off cannot be checked, for lack of predictions.

    Args:
        cutoff: seconds for all images together.

    Raises:
        InvalidInput: those that have a prediction take longer already.
    """
    seconds = sum(each.seconds for each in parcel.found.values())
    if seconds > cutoff:
        raise InvalidInput(
            f"{parcel.file} is predicted to take {seconds:.1f} s for all images, more than the "
            f"cut-off of {cutoff:g} s: tune with a larger --runtime-weight"
        )
    if parcel.predicted is None:
        return f"the cut-off of {cutoff:g} s is not checked: not every image has a prediction"
    return None
