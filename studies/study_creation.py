"""Studies made with all their user attributes at once, so that none is there without them.

Optuna makes a study and then one attribute after the other. Somebody else who opens it in between
cannot tell what it is made from, and of two who write the same attribute the last one wins. Here
either all of it is written, in one transaction, or none, and the database decides who came first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session

if TYPE_CHECKING:
    import optuna
    from optuna.study import StudyDirection

__all__ = ["add_study_attributes", "create_whole_study"]


def create_whole_study(
    storage: optuna.storages.RDBStorage,
    name: str,
    directions: Sequence[StudyDirection],
    attributes: Mapping[str, Any],
) -> bool:
    """Make a study with its user attributes.

    Returns:
        Whether it was made; ``False`` where there is one of that name.
    """
    try:
        with _create_scoped_session(storage.scoped_session) as session:
            study = models.StudyModel(
                study_name=name,
                directions=[
                    models.StudyDirectionModel(objective=number, direction=direction)
                    for number, direction in enumerate(directions)
                ],
            )
            session.add(study)
            session.flush()
            session.add_all(_rows(int(study.study_id), attributes))
    except sqlalchemy.exc.IntegrityError:
        return False
    return True


def add_study_attributes(
    storage: optuna.storages.RDBStorage, study_id: int, attributes: Mapping[str, Any]
) -> bool:
    """Give a study user attributes that it does not have.

    Returns:
        Whether all were written; ``False`` where it has one of them, and then none was.
    """
    try:
        with _create_scoped_session(storage.scoped_session) as session:
            session.add_all(_rows(study_id, attributes))
    except sqlalchemy.exc.IntegrityError:
        return False
    return True


def _rows(study_id: int, attributes: Mapping[str, Any]) -> list[models.StudyUserAttributeModel]:
    return [
        models.StudyUserAttributeModel(study_id=study_id, key=key, value_json=json.dumps(value))
        for key, value in attributes.items()
    ]
