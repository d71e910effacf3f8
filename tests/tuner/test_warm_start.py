"""What won elsewhere is tried early, if it can win here."""

from __future__ import annotations

from dataclasses import replace

import optuna
import pytest

from explainers.classifiers import Classifier
from explainers.lime import LimeParameters, Segmentation
from tests.tuner.scenes import SMALL_SPACE, tiny_task
from tuner.problem import SearchSpace, TuningSettings
from tuner.samplers import STARTERS, enqueue_first
from tuner.tuning import open_study, run_study


def _slic(n: int, compactness: int = 5, **changes: int) -> LimeParameters:
    segmentation = Segmentation.of("slic", n_segments=n, compactness=compactness)
    return replace(
        LimeParameters(segmentation=segmentation, num_samples=64, top_labels=1), **changes
    )


def test_the_most_hopeful_map_first_and_none_twice(tiny_classifier: Classifier) -> None:
    task = tiny_task(tiny_classifier)
    study = optuna.create_study(direction="maximize")
    other_incumbents = [
        LimeParameters(),
        _slic(7),  # not of this space
        _slic(5),
        _slic(8),
        _slic(8, num_samples=100),
        _slic(12),
        _slic(12, 20),
    ]
    assert enqueue_first(study, task, SMALL_SPACE, other_incumbents, 0.1) == 3
    waiting = [SMALL_SPACE.parameters(t.system_attrs["fixed_params"]) for t in study.trials]
    assert len({p.segmentation for p in waiting}) == 3
    assert set(waiting) <= set(other_incumbents[2:])
    assert replace(_slic(8), num_samples=100) not in waiting, "the cheaper of two alike"
    bounds = [task.view(p.segmentation).upper_bound(p.num_features) for p in waiting]
    assert bounds == sorted(bounds, reverse=True)
    assert task.cache.counts.new == 0


def test_incumbents_of_other_images_are_tried_first_in_a_new_study_only(
    tiny_classifier: Classifier,
) -> None:
    task = tiny_task(tiny_classifier)
    study = open_study("s", None, {"reference": task.reference.to_json()})
    settings = TuningSettings(trials=3, seeds=2, space=SMALL_SPACE)
    run_study(study, task, settings, other_incumbents=[_slic(8)])
    origins = [t.user_attrs.get("origin") for t in study.trials]
    assert origins == ["won on another image", None, "lime defaults"]
    run_study(study, task, replace(settings, trials=5), other_incumbents=[_slic(12)])
    assert [t.user_attrs.get("origin") for t in study.trials] == [*origins, None, None]


@pytest.mark.whole_space  # in which the starters are
def test_samplers_that_draw_at_random_start_with_a_cheap_rival(
    tiny_classifier: Classifier,
) -> None:
    space = SearchSpace()
    assert all(space.trial_values(starter) is not None for starter in STARTERS)
    starts = {
        "random": ["lime defaults", *["starter"] * 3],
        "ceiling": [*[None] * 3, "lime defaults"],
    }
    for sampler, origins in starts.items():
        task = tiny_task(tiny_classifier)
        study = open_study(sampler, None, {"reference": task.reference.to_json()})
        run_study(study, task, TuningSettings(trials=4, seeds=1, sampler=sampler, space=space))
        assert [t.user_attrs.get("origin") for t in study.trials] == origins
