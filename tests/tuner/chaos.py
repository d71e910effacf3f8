"""Workers that are killed and replaced, and a database that remembers how every trial ended."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.trial import FrozenTrial, TrialState

from studies.storage import open_storage
from tests.tuner.processes import Command
from tuner.problem import SearchSpace

__all__ = ["FINISHED", "Witness", "WorkerPool", "enqueue_random", "read_only"]

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
_MEMORY = """
CREATE TABLE seen_states (number bigserial, trial_id int, state text, worker text);
CREATE TABLE seen_values (number bigserial, trial_id int, value float8);
CREATE FUNCTION see_state() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO seen_states (trial_id, state, worker)
    VALUES (NEW.trial_id, NEW.state::text, current_setting('application_name'));
    RETURN NULL; END $$;
CREATE FUNCTION see_value() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO seen_values (trial_id, value) VALUES (NEW.trial_id, NEW.value);
    RETURN NULL; END $$;
CREATE TRIGGER see_state AFTER INSERT OR UPDATE ON trials
    FOR EACH ROW EXECUTE FUNCTION see_state();
CREATE TRIGGER see_value AFTER INSERT OR UPDATE ON trial_values
    FOR EACH ROW EXECUTE FUNCTION see_value();
"""
_FINAL = "('COMPLETE', 'PRUNED', 'FAIL')"


class Witness:
    """What a PostgreSQL database itself has seen: triggers write it down in the transaction."""

    def __init__(self, url: str) -> None:
        self._engine = sqlalchemy.create_engine(url, pool_pre_ping=True)
        with self._engine.begin() as connection:
            connection.exec_driver_sql(_MEMORY)

    def _rows(self, query: str) -> list[Any]:
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(query)]

    def ended_by(self) -> Counter[str]:
        """Trials that each worker process has ended."""
        query = f"SELECT worker FROM seen_states WHERE state IN {_FINAL} AND state <> 'FAIL'"
        return Counter(worker for (worker,) in self._rows(query))

    def endings(self) -> Counter[int]:
        """How often each trial was given a final state."""
        query = f"SELECT trial_id FROM seen_states WHERE state IN {_FINAL}"
        return Counter(trial for (trial,) in self._rows(query))

    def complete_values(self) -> dict[int, float]:
        """The last value ever written of every trial that was complete at any time."""
        query = (
            "SELECT trial_id, value FROM seen_values WHERE trial_id IN "
            "(SELECT trial_id FROM seen_states WHERE state = 'COMPLETE') ORDER BY number"
        )
        return {trial: float(value) for trial, value in self._rows(query)}

    def at_work(self) -> int:
        """Trials that run or wait."""
        (counted,) = self._rows("SELECT count(*) FROM trials WHERE state IN ('RUNNING', 'WAITING')")
        return int(counted[0])

    def finished(self) -> dict[str, int]:
        """Finished trials of every study, by name."""
        return dict(
            self._rows(
                "SELECT study_name, count(trial_id) FILTER (WHERE state IN ('COMPLETE', 'PRUNED')) "
                "FROM studies LEFT JOIN trials USING (study_id) GROUP BY study_name"
            )
        )

    def cut_connections(self) -> int:
        """Everybody else's; how many."""
        return len(
            self._rows(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()


@dataclass(eq=False)
class WorkerPool:
    """Worker processes that die after some trials and are replaced.

    Attributes:
        kills: how often each place in the pool loses its worker.
    """

    url: str
    folder: Path
    size: int
    kills: int
    chance: random.Random
    killed: int = 0
    _places: list[_Place] = field(default_factory=list)
    _started: list[tuple[str, Command]] = field(default_factory=list)

    def __enter__(self) -> WorkerPool:
        for number in range(self.size):
            self._places.append(_Place(number))
            self._start(self._places[-1])
        return self

    def __exit__(self, *_: object) -> None:
        for _name, command in self._started:
            command.__exit__()

    def _start(self, place: _Place) -> None:
        place.lives += 1
        name = f"worker-{place.number}-{place.lives}"
        place.name = name
        place.dies_after = self.chance.randint(1, 5) if place.lives <= self.kills else None
        place.process = Command(
            "worker", "--storage", self.url, "--device", "cpu", folder=self.folder, modest=True,
            PGAPPNAME=name, LIME_TUNER_CACHE=str(self.folder / "cache"),
        )  # fmt: skip
        self._started.append((name, place.process))

    def kill_some(self, ended: Counter[str]) -> None:
        """Kill who has run its trials, in the middle of the next; somebody else takes its place."""
        for place in self._places:
            code = place.process.poll()
            assert code is None, f"{place.name}: {code}\n{self.said(place.name)}"
            if place.dies_after is not None and ended[place.name] >= place.dies_after:
                time.sleep(self.chance.uniform(0, 0.2))
                place.process.kill()
                self.killed += 1
                self._start(place)

    @property
    def wanting(self) -> int:
        """Kills that are still to come."""
        return self.size * self.kills - self.killed

    def dismiss(self) -> list[int]:
        """Ask everybody to end; their exit statuses."""
        for place in self._places:
            place.process.send_signal(signal.SIGTERM)
        return [place.process.wait(60) for place in self._places]

    def said(self, name: str = "worker") -> str:
        """What workers have written on stderr."""
        return "".join(each.err for other, each in self._started if other.startswith(name))


@dataclass(eq=False)
class _Place:
    number: int
    lives: int = 0
    name: str = ""
    dies_after: int | None = None
    process: Command = field(init=False)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A folder in which nothing can be written by whoever obeys its mode."""
    paths = [folder, *folder.iterdir()]
    modes = {path: path.stat().st_mode for path in paths}
    for path, mode in modes.items():
        path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in modes.items():
            if path.exists():
                path.chmod(mode)


def enqueue_random(study: optuna.Study, count: int, seed: int) -> list[dict[str, Any]]:
    """Enqueue parameter sets drawn from the study's space; the same ones for the same seed."""
    space = SearchSpace.from_json(study.user_attrs["search_space"])
    drawing = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    chosen = []
    for _ in range(count):
        trial = drawing.ask()
        space.suggest(trial)
        chosen.append(dict(trial.params))
        study.enqueue_trial(trial.params)
    return chosen


def trials_of(url: str, names: Sequence[str]) -> dict[str, list[FrozenTrial]]:
    """All trials of some studies."""
    storage = open_storage(url)
    return {
        name: optuna.load_study(study_name=name, storage=storage).get_trials() for name in names
    }
