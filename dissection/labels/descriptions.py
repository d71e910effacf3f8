"""Labels and settings in ``descriptions.csv`` and ``args.txt``, as written by the reference
implementation of CLIP-Dissect."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dissection.labels.units import LayerDescription, Unit
from explainers.errors import InvalidInput, StorageError

__all__ = ["read_arguments", "read_descriptions", "write_descriptions"]

_COLUMNS = ("layer", "unit", "description", "similarity")
_OURS = ("gap", "p", "q", "stability", "survives", "further")


def read_descriptions(path: Path, model: str) -> list[LayerDescription]:
    """Read the labels of a ``descriptions.csv``, layer by layer; further columns are ignored.

    Args:
        path: the file, or the folder it lies in.
        model: name of the network.

    Raises:
        InvalidInput: there is no such file, a column is missing, or a value is wrong.
    """
    path = path / "descriptions.csv" if path.is_dir() else path
    units: dict[str, dict[int, Unit]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise InvalidInput(
                    f"{path} has no column {', '.join(missing)}: the columns needed are "
                    f"{', '.join(_COLUMNS)}"
                )
            for row in reader:
                unit = _unit(path, reader.line_num, row)
                layer = units.setdefault(str(row["layer"]), {})
                if unit.number in layer:
                    raise InvalidInput(
                        f"{path} line {reader.line_num}: unit {unit.number} of layer "
                        f"'{row['layer']}' is there twice"
                    )
                layer[unit.number] = unit
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(
            f"descriptions {path} cannot be read ({error}): give a descriptions.csv"
        ) from error
    if not units:
        raise InvalidInput(f"{path} describes no unit")
    return [
        LayerDescription(model, layer, tuple(found[number] for number in sorted(found)))
        for layer, found in units.items()
    ]


def read_arguments(descriptions: Path) -> dict[str, Any]:
    """Read the ``args.txt`` beside a ``descriptions.csv``; empty where none can be read."""
    folder = descriptions if descriptions.is_dir() else descriptions.parent
    try:
        found = json.loads((folder / "args.txt").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_descriptions(
    folder: Path, layers: Sequence[LayerDescription], settings: Mapping[str, Any]
) -> Path:
    """Write ``descriptions.csv``, the reference's columns first, and ``args.txt``.

    Returns:
        The table's file.

    Raises:
        StorageError: the folder cannot be written.
    """
    path = folder / "descriptions.csv"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow((*_COLUMNS, *_OURS))
            for layer in layers:
                for unit in layer.units:
                    writer.writerow((layer.layer, *unit.table_row))
        (folder / "args.txt").write_text(json.dumps(dict(settings), indent=2), encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"descriptions cannot be written to {folder} ({error.strerror}): give another folder"
        ) from error
    return path


def _unit(path: Path, line: int, row: Mapping[str, str | None]) -> Unit:
    description = row["description"] or ""
    try:
        number = int(row["unit"] or "")
        similarity = float(row["similarity"] or "nan")
    except ValueError as error:
        raise InvalidInput(
            f"{path} line {line}: unit '{row['unit']}' and similarity '{row['similarity']}' must "
            "be numbers"
        ) from error
    if not description or math.isnan(similarity):
        return Unit(number)
    return Unit(number, (description,), (similarity,))
