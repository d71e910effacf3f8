"""Studies of made-up trials, with everything that a real trial records."""

from __future__ import annotations

import optuna

from explainers.lime import LimeParameters
from studies.results.attributes import DEFAULTS_ORIGIN
from studies.results.trial_record import TrialRecord
from studies.storage import open_storage


def random_studies(url: str, prefix: str, keys: tuple[str, ...], trials: int) -> None:
    """One study for each key, with so many trials; every fourth is pruned, the first is the
    defaults'."""
    storage = open_storage(url)
    for number, key in enumerate(keys):
        study = optuna.create_study(
            study_name=f"{prefix}/{key}", storage=storage, direction="maximize"
        )
        study.set_user_attr("classifier", {"name": "mobilenet_v2", "sha256": "a"})
        study.set_user_attr(
            "reference", {"rule": "gradcam@0.3", "reliability": {"score": 0.1 + 0.4 * number}}
        )

        def objective(trial: optuna.Trial) -> float:
            x = trial.suggest_float("x", 0, 1)
            y = trial.suggest_categorical("hide_color", ["mean", "black"])
            if trial.number % 4 == 3:
                trial.report(x, 0)
                raise optuna.TrialPruned
            value = 0.7 * x + 0.1 * (y == "mean")
            record = TrialRecord(
                LimeParameters(num_samples=10 + trial.number), value, [value], [0], 1 + x, 0.5, {},
                7,
            )  # fmt: skip
            for name, found in record.to_attributes().items():
                trial.set_user_attr(name, found)
            if trial.number == 0:
                trial.set_user_attr("origin", DEFAULTS_ORIGIN)
            return value

        if trials:
            # In memory, and stored trial by trial: a write instead of ten.
            drawn = optuna.create_study(
                direction="maximize", sampler=optuna.samplers.RandomSampler(seed=number)
            )
            drawn.optimize(objective, n_trials=trials)
            study.add_trials(drawn.trials)
    storage.close()  # or its files change when it is collected
