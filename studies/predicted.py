"""What the studies of a storage promise for the parameters of a pickle."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy

from explainers.errors import InvalidParameters
from explainers.lime import LimeParameters
from studies.export import settings_digest
from studies.storage import holds_studies, opened_tables

__all__ = ["Prediction", "mean_prediction", "predictions"]

_ATTRIBUTES = ("lime_parameters", "iou", "runtime_seconds")


@dataclass(frozen=True)
class Prediction:
    """What a trial measured.

    Attributes:
        iou: mean over its seeds, in [0, 1].
        seconds: of one explanation, by the runtime model.
    """

    iou: float
    seconds: float


def mean_prediction(found: Mapping[str, Prediction], keys: Sequence[str]) -> Prediction | None:
    """The mean over images; ``None`` where one of them has no prediction."""
    if not keys or any(key not in found for key in keys):
        return None
    return Prediction(
        sum(found[key].iou for key in keys) / len(keys),
        sum(found[key].seconds for key in keys) / len(keys),
    )


def predictions(
    storage: str, prefix: str, document: Mapping[str, Mapping[str, Any]]
) -> dict[str, Prediction]:
    """What the study ``PREFIX/KEY`` has measured for just the arguments of each image.

    Of several finished trials with these arguments the one of the highest score counts; an image
    without any is left out. A storage that does not exist has none.

    Args:
        document: keyword arguments by image.

    Raises:
        StorageError: the storage cannot be read.
    """
    if not holds_studies(storage):
        return {}
    keys = {f"{prefix}/{key}": key for key in document}
    wanted = {key: settings_digest(kwargs) for key, kwargs in document.items()}
    digest = functools.cache(_digest)  # the same parameters are tried again and again
    found: dict[str, Prediction] = {}
    names = ["studies", "trials", "trial_values", "trial_user_attributes"]
    with opened_tables(storage, names) as (connection, meta):
        studies, trials, values, attributes = (meta.tables[name] for name in names)
        of = {name: attributes.alias(name) for name in _ATTRIBUTES}
        query = (
            sqlalchemy.select(studies.c.study_name, *(each.c.value_json for each in of.values()))
            .join_from(studies, trials, trials.c.study_id == studies.c.study_id)
            .join(values, values.c.trial_id == trials.c.trial_id)
            .where(
                studies.c.study_name.in_(keys),
                trials.c.state == "COMPLETE",
                values.c.value.is_not(None),
                # Of two objectives the IoU: where the arguments are alike, so are the seconds.
                values.c.objective == 0,
            )
            .order_by(values.c.value, trials.c.trial_id.desc())  # the last one found is the best
        )
        for name, each in of.items():
            same = sqlalchemy.and_(each.c.trial_id == trials.c.trial_id, each.c.key == name)
            query = query.join(each, same)
        for study, text, iou, seconds in connection.execute(query):
            key = keys.get(study)  # some servers take "Cat" for "cat"
            if key is not None and digest(json.loads(text)) == wanted[key]:
                found[key] = Prediction(json.loads(iou), json.loads(seconds))
    return found


def _digest(text: str) -> str | None:
    try:
        return settings_digest(LimeParameters.from_json(text).as_kwargs())
    except InvalidParameters:  # another version's trial, which nothing here can be equal to
        return None
