"""Portfolios: chosen greedily, scored fairly, tried first."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import optuna
import pytest

from explainers.classifiers import Classifier
from explainers.errors import InvalidInput
from explainers.lime import LimeParameters, Segmentation
from studies.results.attributes import DEFAULTS_ORIGIN
from studies.results.trial_record import TrialRecord
from tests.tuner.command_line import FEW_MAPS, Cli
from tests.tuner.scenes import SMALL_SPACE, demo_task
from tests.tuner.tiny import TINY, TUNE_TINY
from tuner.portfolio import (
    Contender,
    Portfolio,
    ScoredContenders,
    choose,
    distinct,
    load_portfolio,
    stored_candidates,
)
from tuner.problem import TuningSettings
from tuner.tuning import run_study


def _slic(count: int, samples: int = 32) -> LimeParameters:
    return LimeParameters(
        segmentation=Segmentation.of("slic", n_segments=count, compactness=20),
        num_samples=samples,
        top_labels=1,
    )


def test_the_next_is_what_raises_the_best_most() -> None:
    scores = np.array(
        [
            [0.6, 0.6, 0.6, 0.0],  # the best alone
            [0.5, 0.5, 0.5, 0.5],
            [0.0, 0.0, 0.0, 0.9],  # the best beside it
            [0.6, 0.6, 0.6, 0.0],  # adds nothing
        ]
    )
    assert choose(scores, 1) == [1]
    assert choose(scores, 2) == [1, 2]
    assert choose(scores, 4) == [1, 2, 0], "a row that raises nothing is left out"
    assert choose(np.full((2, 3), -0.01), 2) == []


def test_images_left_out_have_no_say() -> None:
    """Each image's own search found what is perfect for it and useless for the others."""
    keys = ("a", "b", "c", "d")
    own = np.eye(4)
    common = np.full((1, 4), 0.4)
    candidates = [Contender(_slic(n + 4), frozenset({key})) for n, key in enumerate(keys)]
    candidates.append(Contender(_slic(20), frozenset(keys)))
    scored = ScoredContenders(tuple(candidates), keys, np.vstack([own, common]), np.ones(4))
    assert scored.chosen(1) == [4]
    assert set(scored.chosen(5)) == {0, 1, 2, 3, 4}
    assert scored.left_out(5, folds=4) == pytest.approx([0.4] * 4)


def test_candidates_are_counted_once() -> None:
    merged = distinct([Contender(_slic(5), frozenset({"a"})), Contender(_slic(5), frozenset("b"))])
    assert merged == [Contender(_slic(5), frozenset({"a", "b"}))]


def test_a_file_gives_back_the_portfolio(tmp_path: Path) -> None:
    made = Portfolio((_slic(5), _slic(12)), {"command": "lime-tuner portfolio"})
    path = tmp_path / "p.json"
    path.write_text(made.to_json())
    assert load_portfolio(str(path), "sqlite:///none.db") == made
    for text in ("", "[]", '{"format": 1}', '{"format": 9, "made": {}, "members": []}',
                 '{"format": 1, "made": {}, "members": [{"num_samples": -1}]}',
                 '{"format": 1, "made": {}, "members": []}'):  # fmt: skip
        path.write_text(text)
        with pytest.raises(InvalidInput, match=r"lime-tuner portfolio"):
            load_portfolio(str(path), "sqlite:///none.db")
    with pytest.raises(InvalidInput, match="neither a file"):
        load_portfolio("nothing", "sqlite:///none.db")


def test_one_comes_with_the_package() -> None:
    shipped = load_portfolio("imagenet30", "sqlite:///none.db")
    assert len(set(shipped.members)) == 5
    assert all(member.num_samples <= 96 for member in shipped.members), "cheap to try"
    assert len(shipped.made["images"]) == 30
    assert {"command", "date", "classifier", "reference", "scores"} <= set(shipped.made)


def test_the_portfolio_is_tried_first(demo_classifier: Classifier) -> None:
    study = optuna.create_study(study_name="x/house", direction="maximize")
    members = [_slic(5), _slic(7), _slic(12)]  # the space does not hold the second
    run_study(
        study,
        demo_task(demo_classifier),
        TuningSettings(trials=3, seeds=1, space=SMALL_SPACE),
        portfolio=members,
    )
    tried = [
        (t.user_attrs.get("origin"), LimeParameters.from_json(t.user_attrs["lime_parameters"]))
        for t in study.get_trials()
    ]
    assert tried[:2] == [("portfolio", members[0]), ("portfolio", members[2])]


def test_the_defaults_of_any_class_are_no_candidates() -> None:
    study = optuna.create_study(direction="maximize")
    for parameters, value in ((LimeParameters().about(3), 0.9), (_slic(8).about(3), 0.4)):
        record = TrialRecord(parameters, value, [value], [0], 1.0, 0.5, {}, 7)
        study.add_trial(optuna.create_trial(value=value, user_attrs=dict(record.to_attributes())))
    (candidate,) = stored_candidates({"house": study}, most_samples=100, each=3)
    assert candidate.parameters == _slic(8)


def test_there_are_no_more_trials_than_wanted(demo_classifier: Classifier) -> None:
    study = optuna.create_study(study_name="x/house", direction="maximize")
    run_study(
        study,
        demo_task(demo_classifier),
        TuningSettings(trials=2, seeds=1, space=SMALL_SPACE),
        portfolio=[_slic(5), _slic(12)],
    )
    origins = [t.user_attrs.get("origin") for t in study.get_trials()]
    assert origins == ["portfolio", DEFAULTS_ORIGIN]


@pytest.mark.usefixtures("tiny_catalogue")
def test_from_studies_to_a_portfolio_to_a_study(here: Path, cli: Cli) -> None:
    common = [*TINY, "--images", "house,key"]
    tune = [*TUNE_TINY, "--images", "house,key"]
    fast = [*FEW_MAPS, "--fix", "num_samples=32", "--seeds", "1"]
    cli.ok(*tune, *fast, "--trials", "3")
    made = json.loads(
        cli.ok("portfolio", *common, "--size", "2", "--each", "2", "--seeds", "1",
               "--folds", "2", "-o", "p.json", "--json")
    )  # fmt: skip
    assert made == json.loads((here / "p.json").read_text())
    assert 1 <= len(made["members"]) <= 2
    assert set(made["made"]["images"]) == {"house", "key"}
    scores = made["made"]["scores"]
    assert scores["best of the portfolio"]["mean"] == pytest.approx(
        scores["one after the other"][-1], abs=1e-4
    )
    for source in ("p.json", "demo"):
        name = f"from-{source[0]}"
        cli.ok("tune", *common, *fast, "--trials", "2", "--study", name, "--portfolio", source)
        study = optuna.load_study(study_name=f"{name}/key", storage="sqlite:///lime-tuner.db")
        assert study.trials[0].user_attrs["origin"] == "portfolio"
    line = cli.refused("tune", *common, *fast, "--portfolio", "elsewhere", status=(2,))
    assert "neither a file" in line
    # ... which is told before a classifier is loaded.
    refused = cli.refused("portfolio", "--model", "no_such_model", "--studies", "none", status=(2,))
    assert "no studies named none/" in refused
    assert "no.db" in cli.refused("portfolio", "--storage", "sqlite:///no.db", *common)
    assert not (here / "no.db").exists()
