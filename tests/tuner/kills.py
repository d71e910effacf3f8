"""SIGKILL in the middle of the work: which scenarios there are, and what is counted.

``pytest -m chaos --log-cli-level=INFO`` runs the long forms and prints a line for each. Workers on
PostgreSQL are killed in ``test_chaos``.
"""

from __future__ import annotations

import logging
import random
import sqlite3
import zlib
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from studies.storage import open_storage
from tuner.problem import PLAN

__all__ = ["Finished", "Tally", "finished", "numbers_of", "plan_trials", "sound_chunks"]

Finished = Mapping[tuple[int, int], tuple[str, float | None]]
"""(study, number) → (state, value) of every trial with a result."""

_logger = logging.getLogger(__name__)

# Kills of the short form in the ordinary suite, where there is one, and of the long form. Another
# 56 are those of workers on PostgreSQL.
_KILLS: dict[str, tuple[int | None, int]] = {
    "tune": (1, 60),
    "worker": (None, 50),
    "serve": (None, 40),
    "export": (3, 60),
    "migration on sqlite": (3, 20),
    "migration on postgresql": (None, 10),
    "migration on mysql": (None, 10),
    "cache": (3, 60),
}


def numbers_of(scenario: str) -> list[Any]:
    """How many kills, for ``pytest.mark.parametrize``: a few, and many for ``-m chaos``."""
    short, long = _KILLS[scenario]
    return [*([] if short is None else [short]), pytest.param(long, marks=pytest.mark.chaos)]


@dataclass
class Tally:
    """What a scenario has come to.

    Attributes:
        wanted: kills in the middle of the work.
        kills: of these and others. at_work: only of those that were alive and had begun.
        before, after: what was finished before the first kill, and at the end.
    """

    scenario: str
    wanted: int
    kills: int = 0
    at_work: int = 0
    before: int = 0
    after: int = 0
    chance: random.Random = field(default_factory=lambda: random.Random(7))

    @property
    def goes_on(self) -> bool:
        """Whether kills are wanting.

        Raises:
            AssertionError: too many have missed the work.
        """
        assert self.kills <= 2 * self.wanted + 5, self
        return self.at_work < self.wanted

    def count(self, *, at_work: bool) -> None:
        """One more kill."""
        self.kills += 1
        self.at_work += at_work

    def say(self, after: int) -> None:
        """A line of the table."""
        self.after = after
        _logger.info(
            "%-24s %3d kills, %3d in the middle of the work; finished: %d before, %d after",
            self.scenario, self.kills, self.at_work, self.before, self.after,
        )  # fmt: skip


def plan_trials(url: str, trials: int, names: Iterable[str]) -> None:
    """Let studies that are begun want so many trials."""
    with closing(open_storage(url)) as storage:
        for name in names:
            study = optuna.load_study(study_name=name, storage=storage)
            study.set_user_attr(PLAN, {**study.user_attrs[PLAN], "trials": trials})


def finished(database: Path) -> Finished:
    """Every trial with a result."""
    if not database.exists():
        return {}
    with sqlite3.connect(database, timeout=30) as connection:
        try:
            rows = connection.execute(
                "SELECT study_id, number, state, value FROM trials "
                "LEFT JOIN trial_values ON trials.trial_id = trial_values.trial_id "
                "WHERE state IN ('COMPLETE', 'PRUNED')"
            ).fetchall()
        except sqlite3.OperationalError:  # killed before the tables were made
            return {}
    return {(study, number): (state, value) for study, number, state, value in rows}


def sound_chunks(cache: Path) -> int:
    """How many chunks the cache has; every one must match its checksum."""
    if not cache.exists():
        return 0
    with sqlite3.connect(cache, timeout=30) as connection:
        try:
            rows = connection.execute(
                "SELECT count, dtype, patterns, answers, crc FROM chunk"
            ).fetchall()
        except sqlite3.OperationalError:
            return 0
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    for count, dtype, patterns, answers, crc in rows:
        assert zlib.crc32(answers, zlib.crc32(patterns)) == crc
        values = np.frombuffer(answers, np.dtype(dtype)).reshape(count, -1)
        assert np.isfinite(values).all()
        assert ((values >= 0) & (values <= 1)).all()
    return len(rows)
