"""The search space: narrowed, replaced, and back and forth to parameters."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explainers.errors import InvalidInput
from explainers.lime import LimeParameters, Regressor
from tuner.problem import SearchSpace, load_space

SPACE = SearchSpace()


def test_lime_defaults_are_in_the_space() -> None:
    values = SPACE.trial_values(LimeParameters())
    assert values is not None
    assert SPACE.parameters(values) == LimeParameters()


@given(st.integers(0, 2**31))
def test_suggestions_and_parameters_are_inverse(seed: int) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask()
    parameters = SPACE.suggest(trial)
    assert SPACE.trial_values(parameters) == trial.params
    assert LimeParameters.from_json(parameters.to_json()) == parameters


def test_fix_keeps_one_value_and_drops_the_defaults() -> None:
    narrow = SPACE.fix(["num_samples=64", "hide_color=black", "slic.n_segments=7"])
    narrow = narrow.fix(["segmentation=slic", "regressor=Ridge(alpha=3)"])
    parameters = narrow.suggest(optuna.create_study().ask())
    assert parameters.num_samples == 64
    assert parameters.hide_color == 0
    assert parameters.segmentation is not None
    assert dict(parameters.segmentation.parameters)["n_segments"] == 7
    assert parameters.regressor == Regressor.of("Ridge", alpha=3)
    assert narrow.trial_values(LimeParameters()) is None


@pytest.mark.parametrize(
    "assignment",
    ["num_samples", "nonsense=1", "segmentation=watershed", "slic.colour=3", "num_features=0",
     "hide_color=pink", "regressor=os.system", "num_samples=many", "distance_metric=mahalanobis",
     "quickshift.ratio=7"],
)  # fmt: skip
def test_a_wrong_fix_is_refused(assignment: str) -> None:
    with pytest.raises(InvalidInput):
        SPACE.fix([assignment])


def test_a_space_file_replaces_what_it_names(tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text(
        'num_features = [2, "all"]\nnum_samples = [32, 128]\n'
        "[segmentation.felzenszwalb]\nscale = [100, 200]\n"
    )
    space = load_space(file)
    assert len(list(space.segmentations())) == 2
    assert space.num_samples == (32, 128)
    assert space.num_features == (2, "all")
    assert space.hide_color == SPACE.hide_color


@pytest.mark.parametrize(
    "text",
    ["nonsense", "unknown = 1", "segmentation = 3", "num_samples = []", "num_samples = ['a', 'b']",
     "[segmentation.slic]\nn_segments = [0]", "num_features = []", "hide_color = [3]",
     "batch_size = ['x']"],
)  # fmt: skip
def test_a_wrong_space_file_is_told_in_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "space.toml"
    file.write_text(text)
    with pytest.raises(InvalidInput):
        load_space(file)


def test_a_space_is_read_from_a_file_only(tmp_path: Path) -> None:
    for path in (tmp_path, Path(os.devnull)):  # and no device that never ends
        with pytest.raises(InvalidInput, match="is no file"):
            load_space(path)


def test_every_map_of_the_space_is_a_valid_segmentation() -> None:
    found: list[Any] = list(SPACE.segmentations())
    assert len(found) == len(set(found)) > 200
