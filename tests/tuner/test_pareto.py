"""``tune --pareto``: the search for a front, and everything that meets such a study afterwards."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from explainers.classifiers import Classifier
from explainers.errors import InvalidInput
from explainers.lime import LimeParameters
from studies.catalog.demo import DEMO_SEEDS, draw_scene
from studies.dashboard import dashboard_app
from studies.results.attributes import DEFAULTS_ORIGIN, STUDY_ATTRIBUTES, TRIAL_ATTRIBUTES
from studies.results.best_trial import point_of
from studies.results.front import FrontPoint, pareto_front
from studies.storage import open_storage
from tests.tuner.command_line import FEW_MAPS, Cli
from tests.tuner.dashboards import asked
from tests.tuner.kills import plan_trials
from tests.tuner.scenes import (
    IMAGE,
    MASK,
    RUNTIME_MODEL,
    SMALL_SPACE,
    outcome,
    tiny_task,
    tune_house,
)
from tests.tuner.tiny import TUNE_TINY
from tuner.problem import Constraint, TuningSettings
from tuner.samplers import SAMPLERS, front_weights
from tuner.tuning import open_study, run_study, tune

URL = "sqlite:///lime-tuner.db"
TUNE = (*TUNE_TINY, "--images", "house,key", "--seeds", "2", *FEW_MAPS)


def points_of(trials: list[FrozenTrial]) -> list[FrontPoint]:
    return [point for trial in trials if (point := point_of(trial)) is not None]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_only_what_cannot_be_on_the_front_is_stopped(
    demo_classifier: Classifier, tiny_classifier: Classifier, sampler: str
) -> None:
    image, mask, classifier = IMAGE, MASK, tiny_classifier
    if sampler == "ceiling":  # which has nothing to stop in so simple a picture
        scene = draw_scene("house", DEMO_SEEDS["house"])
        image, mask, classifier = scene.image, scene.mask, demo_classifier
    result = tune(
        image, classifier, mask, trials=25, seeds=3, space=SMALL_SPACE,
        runtime_model=RUNTIME_MODEL, sampler=sampler, pareto=True,
    )  # fmt: skip
    trials = result.study.trials
    assert [d.name for d in result.study.directions] == ["MAXIMIZE", "MINIMIZE"]
    (defaults,) = [t for t in trials if t.user_attrs.get("origin") == DEFAULTS_ORIGIN]
    assert defaults.state == TrialState.COMPLETE
    assert set(STUDY_ATTRIBUTES) <= set(result.study.user_attrs)
    stopped = [t for t in trials if t.state == TrialState.PRUNED]
    assert stopped
    for trial in stopped:
        found, reason = trial.user_attrs, trial.user_attrs["reason"]
        assert set(TRIAL_ATTRIBUTES) <= set(found)
        if "superpixels, fewer than" in reason:
            continue
        rival = max(
            (p.iou for p in points_of(trials[: trial.number])
             if p.runtime_seconds <= found["runtime_seconds"]),
            default=0.0,
        )  # fmt: skip
        assert rival > 0
        if reason.startswith("ceiling"):
            assert float(reason.split()[1]) <= rival + 1e-3
            assert found["seeds"] == []
    assert result.front is not None
    points = points_of(trials)
    assert list(result.front) == pareto_front(points)
    # Everything there has been scored on all seeds at least.
    assert all(len(trials[p.number].user_attrs["seeds"]) >= 3 for p in result.front)
    assert result.score == pytest.approx(max(point.score(0.1) for point in points))
    # Optuna and its dashboard see the same front.
    own = {(t.values[0], t.values[1]) for t in result.study.best_trials}
    assert own == {(p.iou, p.runtime_seconds) for p in result.front}


def test_a_resumed_front_goes_on_as_if_it_had_not_been_interrupted(
    tiny_classifier: Classifier, tmp_path: Path
) -> None:
    def trials_after(name: str, *totals: int) -> list[tuple[Any, ...]]:
        url = f"sqlite:///{tmp_path / name}"
        for trials in totals:
            result = tune_house(tiny_classifier, trials=trials, seeds=2, pareto=True, storage=url)
        return [(t.number, t.state, t.values, t.params) for t in result.study.trials]

    assert trials_after("bit by bit.db", 9, 11) == trials_after("at once.db", 11)


def test_a_study_keeps_its_objectives(tiny_classifier: Classifier) -> None:
    task, storage = tiny_task(tiny_classifier), optuna.storages.InMemoryStorage()
    facts = {"reference": task.reference.to_json()}
    for name, pareto in (("one", False), ("two", True)):
        for _ in range(2):
            open_study(name, storage, facts, pareto=pareto)
        with pytest.raises(InvalidInput, match=r"--pareto .* another name"):
            open_study(name, storage, facts, pareto=not pareto)


def test_what_is_on_the_front_is_as_faithful_as_the_defaults(tiny_classifier: Classifier) -> None:
    task = tiny_task(tiny_classifier, "key")
    study = open_study("s", None, {"reference": task.reference.to_json()}, pareto=True)
    settings = TuningSettings(
        trials=12,
        seeds=2,
        space=SMALL_SPACE,
        seed=1,
        constrain="fidelity",
        pareto=True,
        sampler="random",
    )
    run_study(study, task, settings)
    baseline = task.faithfulness_of_defaults
    trials = study.trials
    refused = "it explains less than the constraint allows"
    assert any(
        t.user_attrs.get("feasible") is False or t.user_attrs.get("reason") == refused
        for t in trials
    )
    assert all(t.user_attrs.get("penalty") is None for t in trials if t.state.name == "COMPLETE")
    for point in pareto_front(points_of(trials)):
        found = trials[point.number].user_attrs
        parameters = LimeParameters.from_json(found["lime_parameters"])
        if parameters == LimeParameters():
            continue
        assert found["feasible"] is True
        bound = task.meter.measure(parameters, range(3))
        assert max(Constraint().missing(bound, baseline).values()) <= 1e-6


def test_the_studys_own_weight_is_among_those_that_take_turns() -> None:
    for own in (0.1, 0.02, 2.0):
        assert own in front_weights(own)
        assert max(front_weights(own)) >= 10 * own
    assert all(weight > 0 for weight in front_weights(0.0))


def test_a_plan_without_the_word_is_one_objective() -> None:
    settings = TuningSettings(trials=10, seeds=3, confirm_seeds=9, pareto=True)
    stored = settings.to_json()
    assert TuningSettings.from_json(stored) == settings
    for later in ("pareto", "confirm_seeds", "objective"):
        del stored[later]
    assert TuningSettings.from_json(stored) == replace(settings, pareto=False)


def front_of(status: dict[str, Any], name: str) -> list[tuple[float, float]]:
    return [(p["iou"], p["runtime_seconds"]) for p in status[name]["front"]]


@pytest.mark.usefixtures("tiny_catalogue")
def test_from_a_front_to_pickles_for_every_budget(here: Path, cli: Cli) -> None:
    tuned = json.loads(cli.ok(*TUNE, "--pareto", "--trials", "8", "--json"))
    house = tuned["images"]["house"]
    assert set(house["front"][0]) == {"number", "iou", "runtime_seconds", "runtime_ratio"}
    status = json.loads(cli.ok("status", "--json"))
    assert status["demo/house"]["front"] == house["front"]
    assert status["demo/house"]["best"] == {
        name: house["best"][name]
        for name in ("number", "score", "iou", "runtime_seconds", "runtime_ratio")
    }
    ends = house["front"][0], house["front"][-1]
    shown = " ".join(cli.ok("status").split())
    assert f"{len(house['front'])}: {ends[0]['iou']:.3f} in" in shown

    # A new choice is no new search.
    def exported(*how: str) -> dict[str, Any]:
        found = json.loads(
            cli.ok("export", "--catalog", "demo.toml", "--fill-defaults", *how, "--json")
        )
        with (here / "explain_params.pkl").open("rb") as file:
            assert set(pickle.load(file)) == set(found["images"])
        return {key: json.loads(found["images"][key]) for key in ("house", "key")}

    study = optuna.load_study(study_name="demo/house", storage=open_storage(URL))

    def parameters(number: int) -> Any:
        return json.loads(study.trials[number].user_attrs["lime_parameters"])

    assert exported()["house"] == house["best"]["parameters"]
    most = max(image["front"][-1]["runtime_seconds"] for image in tuned["images"].values())
    assert exported("--budget", str(most))["house"] == parameters(ends[1]["number"])
    assert exported("--weight", "0")["house"] == parameters(ends[1]["number"])
    assert exported("--weight", "1000")["house"] == parameters(ends[0]["number"])
    line = cli.refused("export", "--catalog", "demo.toml", "--fill-defaults", "--budget", "1e-6")
    assert f"trial {ends[0]['number']}" in line or "demo/key" in line
    line = cli.refused("export", "--budget", "1", "--weight", "1", status=(2,))
    assert "one of them" in line
    assert len(study.trials) == len(study.get_trials(deepcopy=False)) == 8

    # What was made with it cannot go on without it, done or not, and the other way round.
    for trials in ("8", "9"):
        assert "with --pareto" in cli.refused(*TUNE, "--trials", trials, status=(2,))
    cli.ok(*TUNE, "--trials", "2", "--study", "one")
    line = cli.refused(*TUNE, "--trials", "2", "--study", "one", "--pareto", status=(2,))
    assert "without --pareto" in line
    again = json.loads(cli.ok(*TUNE, "--pareto", "--trials", "8", "--json"))
    assert again == tuned
    more = json.loads(cli.ok(*TUNE, "--pareto", "--trials", "10", "--json"))
    assert more["images"]["key"]["trials"] == 10
    assert json.loads(cli.ok("status", "--json"))["one/house"]["front"] is None


@pytest.mark.usefixtures("tiny_catalogue")
def test_others_join_copy_look_and_report(here: Path, cli: Cli) -> None:
    cli.ok(*TUNE, "--pareto", "--trials", "1")
    plan_trials(URL, 7, ("demo/house", "demo/key"))
    assert cli.ok("worker", "--storage", URL, "--idle-exit", "0").strip() == "12 trials"
    study = optuna.load_study(study_name="demo/house", storage=open_storage(URL))
    assert {len(t.values) for t in study.trials if t.state == TrialState.COMPLETE} == {2}
    cli.ok(*TUNE, "--pareto", "--trials", "8")  # writes note and plot

    found = asked(dashboard_app(URL), "/api/studies/1")
    assert found["objective_names"] == ["IoU", "seconds"]
    assert found["directions"] == ["maximize", "minimize"]
    assert "Pareto front" in found["note"]["body"]
    assert "export --budget" in found["note"]["body"]
    (plot,) = found["plotly_graph_objects"]
    traces = {trace["name"]: trace for trace in json.loads(plot["graph_object"])["data"]}
    status = json.loads(cli.ok("status", "--json"))
    front = status["demo/house"]["front"]
    assert traces["Pareto front"]["text"] == [str(point["number"]) for point in front]
    own = {tuple(trial["values"]) for trial in found["best_trials"]}
    assert own == {(point["iou"], point["runtime_seconds"]) for point in front}

    cli.ok("copy", "--to", "sqlite:///other.db")
    there = json.loads(cli.ok("status", "--storage", "sqlite:///other.db", "--json"))
    assert there == status
    cli.ok("report", "--study", "demo", "-o", "page")
    assert (here / "page" / "index.html").is_file()


def test_pictures_are_drawn_once(tiny_classifier: Classifier, tmp_path: Path) -> None:
    from studies.storage.artifacts import ArtifactFolder
    from tuner.study import StudyNotes

    task = tiny_task(tiny_classifier)
    storage = open_storage(f"sqlite:///{tmp_path / 's.db'}")
    study = open_study("a/house", storage, {}, pareto=True)
    notes = StudyNotes(study, task, ArtifactFolder(tmp_path / "artifacts"))
    settings = TuningSettings(trials=20, seeds=2, space=SMALL_SPACE, pareto=True, sampler="random")
    run_study(study, task, settings, notes.on_trial, (), notes.on_score)
    notes.write()
    per_trial = [
        len(optuna.artifacts.get_all_artifact_meta(t, storage=storage)) for t in study.trials
    ]
    front = {point.number for point in pareto_front(points_of(study.trials))}
    assert set(per_trial) == {0, 1}
    shown = {n for n, count in enumerate(per_trial) if count}
    defaults = {t.number for t in study.trials if t.user_attrs.get("origin") == DEFAULTS_ORIGIN}
    assert front - defaults <= shown
    names = sorted(meta.filename for meta in optuna.artifacts.get_all_artifact_meta(study))
    assert names == ["lime-defaults.png", "photograph.png"]


def test_the_same_from_python(tiny_classifier: Classifier) -> None:
    result = tune(
        IMAGE, tiny_classifier, MASK, trials=9, seeds=2, space=SMALL_SPACE,
        runtime_model=RUNTIME_MODEL, pareto=True, runtime_weight=0.5, sampler="random",
        engine="torch",
    )  # fmt: skip
    assert result.front
    assert result.best["number"] in {point.number for point in result.front}
    plain = tune_house(tiny_classifier, trials=4)
    assert plain.front is None
    assert outcome(plain)
