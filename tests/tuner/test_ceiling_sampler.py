"""What the default sampler notes of its proposals."""

from __future__ import annotations

from typing import Any

import pytest

from explainers.classifiers import Classifier
from tests.tuner.scenes import SMALL_SPACE, demo_task
from tuner.problem import TuningSettings
from tuner.samplers import Candidates, TrialReader, known_candidates
from tuner.samplers.proposals import Known, Proposal, Proposer
from tuner.tuning import open_study, run_study


def test_probes_and_hopes_are_stored_with_the_trial_they_led_to(
    demo_classifier: Classifier,
) -> None:
    task = demo_task(demo_classifier)
    study = open_study("s", None, {"reference": task.reference.to_json()})
    run_study(study, task, TuningSettings(trials=9, seeds=2, space=SMALL_SPACE))
    *proposed, defaults = study.trials
    assert defaults.user_attrs["origin"] == "lime defaults"
    assert not {"probed", "foretold"} & set(defaults.user_attrs)
    assert proposed[0].user_attrs["probed"]
    probed = [str(arm) for t in proposed for arm, *_ in t.user_attrs.get("probed", ())]
    assert len(probed) == len(set(probed))
    assert all("foretold" in t.user_attrs for t in proposed if t.value)


def test_what_another_worker_has_proposed_meanwhile_is_not_proposed_again(
    demo_classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = demo_task(demo_classifier)
    study = open_study("s", None, {"reference": task.reference.to_json()})
    propose = Proposer.propose

    def ignorant(self: Proposer, number: int, known: Known, tried: Any, best: float) -> Proposal:
        """As if all workers had begun at the same time."""
        return propose(self, 0, {}, set(), -1.0)

    monkeypatch.setattr(Proposer, "propose", ignorant)
    run_study(study, task, TuningSettings(trials=4, seeds=2, space=SMALL_SPACE))
    proposed = [str(trial.params) for trial in study.trials if trial.params]
    assert len(proposed) >= 3
    assert len(set(proposed)) == len(proposed)


@pytest.mark.parametrize("fixed", ["segmentation=slic", "num_features=3", "num_samples=64"])
def test_a_fixed_dimension_leaves_the_others_to_it(demo_classifier: Classifier, fixed: str) -> None:
    task = demo_task(demo_classifier)
    study = open_study("s", None, {"reference": task.reference.to_json()})
    space = SMALL_SPACE.fix([fixed])
    run_study(study, task, TuningSettings(trials=3, seeds=2, space=space))
    assert study.trials[0].user_attrs["probed"]
    assert all("foretold" in t.user_attrs for t in study.trials if t.value and t.params)


def test_a_candidate_that_fell_short_is_trusted_less(demo_classifier: Classifier) -> None:
    task = demo_task(demo_classifier)
    study = open_study("s", None, {"reference": task.reference.to_json()})
    run_study(study, task, TuningSettings(trials=3, seeds=2, space=SMALL_SPACE))
    candidates = Candidates(task, SMALL_SPACE, 0.1)
    trials = study.get_trials(deepcopy=True)
    candidate = candidates.of(trials[0].params)
    assert candidate is not None
    for trial in trials:
        trial.user_attrs.pop("foretold", None)
    assert known_candidates(trials, candidates, TrialReader())[candidate].shortfall == 0
    trials[0].user_attrs["foretold"] = (trials[0].value or 0.0) + 0.3
    known = known_candidates(trials, candidates, TrialReader())
    assert known[candidate].shortfall > 0.15
    others = [each.shortfall for other, each in known.items() if other != candidate]
    assert others and all(0 < shortfall < known[candidate].shortfall for shortfall in others)
