"""Find stored attributes whose values are damaged."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import sqlalchemy

from explainers.errors import LimeTunerError
from explainers.messages import one_line
from explainers.metrics import Faithfulness
from studies.results.attributes import FIDELITY, PENALTY
from studies.storage import connected, describe, holds_studies
from studies.storage.optuna_tables import STUDIES, STUDY_ATTRIBUTES, TRIAL_ATTRIBUTES, TRIALS

__all__ = ["damage_in", "decoded"]

_logger = logging.getLogger(__name__)


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _number_or_null(value: Any) -> bool:
    return value is None or _number(value)


def _integer_or_null(value: Any) -> bool:
    return value is None or type(value) is int


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _parameters(value: Any) -> bool:
    try:
        return isinstance(value, str) and isinstance(json.loads(value), dict)
    except ValueError:
        return False


def _object(value: Any) -> bool:
    return isinstance(value, dict)


def _reference(value: Any) -> bool:
    reliability = value.get("reliability") if isinstance(value, dict) else value
    return isinstance(value, dict) and (
        reliability is None or (isinstance(reliability, dict) and _number(reliability.get("score")))
    )


def _faithful(value: Any) -> bool:
    try:
        Faithfulness.from_json(value)
    except (KeyError, ValueError, TypeError, AttributeError):
        return False
    return True


def _fidelity(value: Any) -> bool:
    return isinstance(value, dict) and all(_number(value.get(name)) for name in ("r2", "gain"))


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(map(_number_or_null, value))


_KINDS: dict[str, dict[str, tuple[str, Callable[[Any], bool]]]] = {
    "study": {
        "catalog": ("text", _text),
        "class_index": ("a whole number", _integer_or_null),
        "classifier": ("an object", _object),
        "image_key": ("text", _text),
        "mask_rule": ("an object", _object),
        "package_versions": ("an object", _object),
        "plan": ("an object", _object),
        "reference": ("a reference", _reference),
        "runtime_weight": ("a number", _number),
    },
    "trial": {
        "answers": ("a number", _number),
        "faithful": ("an object of numbers", _faithful),
        FIDELITY: ("an object of numbers", _fidelity),
        "iou": ("a number", _number_or_null),
        "iou_per_seed": ("a list of numbers", _numbers),
        "lime_parameters": ("LIME parameters", _parameters),
        "origin": ("text", _text),
        PENALTY: ("a number", _number),
        "runtime_parts": ("an object", _object),
        "runtime_ratio": ("a number", _number),
        "runtime_seconds": ("a number", _number),
        "seeds": ("a list of numbers", _numbers),
        "superpixels": ("a number", _number),
    },
}
"""By attribute: the kind of its values, and a check of it. Other attributes are not checked."""


def decoded(text: str, name: str, of: str, where: str) -> Any:
    """Return an attribute's value; ``None`` where it is damaged, with a warning once.

    Args:
        of: "study" or "trial".
        where: the study or trial, for the warning.
    """
    wrong = _wrong(text, name, of)
    if wrong is None:
        return json.loads(text)
    _tell(f"{where}: its attribute '{name}' is damaged ({wrong}): it is left out")
    return None


@cache
def _tell(line: str) -> None:
    _logger.warning("%s", line)


def _wrong(text: str | None, name: str, of: str) -> str | None:
    try:
        value = json.loads(text or "")
    except (ValueError, RecursionError):
        return f"no JSON: {one_line(str(text), 40)}"
    accepts, fits = _KINDS[of].get(name, ("", lambda value: True))
    return None if fits(value) else f"{one_line(str(text), 40)}, not {accepts}"


def damage_in(storage: str) -> str | None:
    """Return one line on the first damaged attribute, or ``None``.

    It reads all attributes, so it is only called after something failed.
    """
    try:
        if not holds_studies(storage):
            return None
        return _first(storage)
    except (LimeTunerError, sqlalchemy.exc.SQLAlchemyError):
        return None


def _first(storage: str) -> str | None:
    of_studies = (
        sqlalchemy.select(
            STUDIES.c.study_name, sqlalchemy.null(), STUDY_ATTRIBUTES.c.key,
            STUDY_ATTRIBUTES.c.value_json,
        )
        .join(STUDIES, STUDIES.c.study_id == STUDY_ATTRIBUTES.c.study_id)
    )  # fmt: skip
    of_trials = (
        sqlalchemy.select(
            STUDIES.c.study_name, TRIALS.c.number, TRIAL_ATTRIBUTES.c.key,
            TRIAL_ATTRIBUTES.c.value_json,
        )
        .join(TRIALS, TRIALS.c.trial_id == TRIAL_ATTRIBUTES.c.trial_id)
        .join(STUDIES, STUDIES.c.study_id == TRIALS.c.study_id)
    )  # fmt: skip
    with connected(storage) as connection:
        for of, query in (("study", of_studies), ("trial", of_trials)):
            for study, number, name, text in connection.execute(query):
                wrong = _wrong(text, name, of)
                if wrong is not None:
                    where = f"study '{study}'" + ("" if number is None else f", trial {number}")
                    return (
                        f"storage {describe(storage)}, {where}: attribute '{name}' is damaged "
                        f"({wrong}): put back a copy of the storage, or delete that study"
                    )
    return None
