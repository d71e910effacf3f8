"""Optuna's own tests of a sampler, with ours: what is none of their dimensions is drawn, too."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)

from explainers.classifiers import Classifier
from tests.tuner.scenes import tiny_task
from tuner.problem import SearchSpace, TuningTask
from tuner.samplers import make_sampler

_SPACE = SearchSpace(
    maps={"slic": {"n_segments": (4, 6), "compactness": (5,)}},
    hide_color=("mean",), num_features=(1, 2), num_samples=(16, 32),
    distance_metric=("cosine",), regressor=("lime",),
)  # fmt: skip


@pytest.fixture(scope="module")
def task(tiny_classifier: Classifier) -> TuningTask:
    """Of all tests: its answers are cached."""
    return tiny_task(tiny_classifier)


def _maker(task: TuningTask, *, pareto: bool) -> Callable[[], BaseSampler]:
    return partial(
        make_sampler, "ceiling", task, _SPACE,
        runtime_weight=0.1, base_seed=0, key="x", finished=0, pareto=pareto,
    )  # fmt: skip


class TestCeilingSampler(BasicSamplerTestCase, RelativeSamplerTestCase):  # type: ignore[misc]
    @pytest.fixture
    def sampler(self, task: TuningTask) -> Callable[[], BaseSampler]:
        return _maker(task, pareto=False)


class TestFrontSampler(  # type: ignore[misc]
    BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase
):
    @pytest.fixture
    def sampler(self, task: TuningTask) -> Callable[[], BaseSampler]:
        return _maker(task, pareto=True)
