"""Seconds that ``status``, ``export`` and ``report`` need on a storage of ten thousand trials.

``python -m tests.benchmarks.large_storage [--trials 10000] [--studies 10]``

Trials are made up, and have all that a real one records. The commands are run as people run them,
from the start of Python to its end.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.distributions import distribution_to_json
from optuna.trial import FrozenTrial, TrialState

from explainers.errors import LimeTunerError
from explainers.lime import LimeParameters
from studies.results.attributes import DEFAULTS_ORIGIN, FAILURE, WORKER
from studies.results.trial_record import TrialRecord
from studies.storage import open_storage
from tests.benchmarks.common import child_environment, positive, run_benchmark, say, seconds_of
from tuner.problem import SearchSpace

_PREFIX = "large"
_AT = datetime(2026, 1, 1)
_LIMITS = {"status": 2.0, "export": 5.0, "report": 60.0}


def _trials(count: int, seed: int) -> list[FrozenTrial]:
    """Six of ten stopped early, one of two hundred failed; the ninth is of lime's defaults."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    chance, space, made = random.Random(seed), SearchSpace(), []
    for number in range(count):
        trial = study.ask()
        parameters = space.suggest(trial)
        state = TrialState.PRUNED if chance.random() < 0.6 else TrialState.COMPLETE
        attributes: dict[str, Any] = {WORKER: "host:1"}
        if number == 8:
            parameters, state = LimeParameters(), TrialState.COMPLETE
            attributes["origin"] = DEFAULTS_ORIGIN
        elif chance.random() < 0.005:
            state = TrialState.FAIL
            attributes[FAILURE] = "ValueError: made up"
        ious = [0.8 * chance.random() for _ in range(10 if state == TrialState.COMPLETE else 2)]
        ratio = chance.random()
        record = TrialRecord(
            parameters=parameters,
            iou=sum(ious) / len(ious),
            iou_per_seed=ious,
            seeds=range(len(ious)),
            runtime_seconds=30 * ratio,
            runtime_ratio=ratio,
            runtime_parts={"segmentation": 0.1, "perturbation": 1.0, "prediction": 9.0, "fit": 0.2},
            superpixels=chance.randint(5, 80),
            answers=chance.randint(0, 500),
            reason="ceiling 0.4 cannot beat the best score 0.6" * (state == TrialState.PRUNED),
        )
        at = _AT + timedelta(seconds=20 * number)
        made.append(
            FrozenTrial(
                number=number,
                trial_id=number,
                state=state,
                value=record.iou - 0.1 * ratio if state == TrialState.COMPLETE else None,
                datetime_start=at,
                datetime_complete=at + timedelta(seconds=19),
                params=trial.params,
                distributions=trial.distributions,
                user_attrs={**record.to_attributes(), **attributes},
                system_attrs={},
                intermediate_values={},
            )
        )
    return made


def _fill(url: str, keys: list[str], trials: int) -> None:
    storage = open_storage(url)
    for number, key in enumerate(keys):
        study = optuna.create_study(
            study_name=f"{_PREFIX}/{key}", storage=storage, direction="maximize"
        )
        study.set_user_attr("image_key", key)
        study.set_user_attr("classifier", {"name": "made up", "sha256": "0" * 64})
        study.set_user_attr("class_name", key)
        study.set_user_attr("reference", {"rule": "gradcam@0.3", "reliability": {"score": 0.5}})
        study.set_user_attr("runtime_weight", 0.1)
        _insert(storage.engine, study._study_id, number * trials, _trials(trials, number))
    storage.engine.dispose()


def _insert(engine: sqlalchemy.Engine, study: int, first: int, trials: list[FrozenTrial]) -> None:
    """Write trials as Optuna does, but all at once: one by one they would take half an hour."""
    rows: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("trials", "trial_values", "trial_params", "trial_user_attributes")
    }
    for trial in trials:
        mine = {"trial_id": first + trial.number + 1}
        rows["trials"].append(
            {
                **mine, "number": trial.number, "study_id": study, "state": trial.state.name,
                "datetime_start": trial.datetime_start,
                "datetime_complete": trial.datetime_complete,
            }
        )  # fmt: skip
        if trial.value is not None:
            value = {"objective": 0, "value": trial.value, "value_type": "FINITE"}
            rows["trial_values"].append({**mine, **value})
        for name, chosen in trial.params.items():
            kind = trial.distributions[name]
            rows["trial_params"].append(
                {
                    **mine, "param_name": name, "param_value": kind.to_internal_repr(chosen),
                    "distribution_json": distribution_to_json(kind),
                }
            )  # fmt: skip
        for name, found in trial.user_attrs.items():
            row = {"key": name, "value_json": json.dumps(found)}
            rows["trial_user_attributes"].append({**mine, **row})
    meta = sqlalchemy.MetaData()
    with engine.begin() as connection:
        meta.reflect(connection, only=list(rows))
        for name, values in rows.items():
            connection.execute(meta.tables[name].insert(), values)


def _seconds(folder: Path, *arguments: str) -> float:
    def work() -> None:
        done = subprocess.run(
            [sys.executable, "-m", "tuner", *arguments],
            cwd=folder, env=child_environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise LimeTunerError(f"{arguments[0]} failed: {done.stderr.strip()}")

    return seconds_of(work)


def _measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    keys = [f"image {number}" for number in range(options.studies)]
    catalog = folder / "catalog.toml"
    catalog.write_text("".join(f'[[image]]\nkey = "{k}"\nfile = "{k}.png"\n' for k in keys))
    url = f"sqlite:///{folder / 'large.db'}"
    say(f"making up {options.trials} trials")
    _fill(url, keys, options.trials // options.studies)
    where = ("--storage", url, "--study", _PREFIX)
    named = (*where, "--catalog", str(catalog))
    commands = {
        "status": ("status", *where, "--json"),
        "export": ("export", *named, "-o", str(folder / "p.pkl")),
        "report": ("report", *named, "-o", str(folder / "report")),
    }
    found: dict[str, float] = {}
    for name, arguments in commands.items():
        found[name] = round(min(_seconds(folder, *arguments) for _ in range(options.repeats)), 2)
        say(f"{name}: {found[name]:.2f} s")
    return {
        "trials": options.trials,
        "studies": options.studies,
        "storage_bytes": (folder / "large.db").stat().st_size,
        "seconds": found,
        "limits": _LIMITS,
        "met": all(found[name] < limit for name, limit in _LIMITS.items()),
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser("python -m tests.benchmarks.large_storage")
    parser.add_argument("--trials", type=positive, default=10_000, help="in all")
    parser.add_argument("--studies", type=positive, default=10)
    parser.add_argument("--repeats", type=positive, default=1, help="the fastest counts")
    run_benchmark(parser, _measure, real_inputs=False)


if __name__ == "__main__":
    main()
