"""``lime-tuner calibrate`` and ``tune --calibrated`` as people meet them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from explainers.lime import LimeParameters, Regressor, Segmentation
from studies.export import parameters_digest, plain_kwargs
from studies.records import Submitted, add_submission, calibration_names, latest_calibration
from tests.studies.scripted_server import ONE
from tests.tuner.command_line import Cli
from tests.tuner.tiny import KEYS, SIDE, TINY, TUNE_TINY
from tuner.runtime.model import RuntimeModel
from tuner.server.answers import lime_parameters
from tuner.server.calibration import Calibration

URL = "sqlite:///lime-tuner.db"
DEMO = list(TINY)
FAST = [*DEMO, "--methods", "gradcam", "--seeds", "2", "--answers", "answers.json"]
TUNE = [
    *TUNE_TINY, "--trials", "2", "--seeds", "1", "--images", "house",
    "--fix", "segmentation=slic", "--fix", "num_samples=16",
]  # fmt: skip
SLIC = Segmentation.of("slic", n_segments=8)
SETS = [
    LimeParameters(segmentation=SLIC, num_samples=n, num_features=f, top_labels=1)
    for n, f in ((16, 5), (24, 2), (32, 4), (48, 100))
]

pytestmark = pytest.mark.usefixtures("tiny_catalogue")


def plain_set(parameters: LimeParameters) -> dict[str, Any]:
    return {key: plain_kwargs(parameters.as_kwargs()) for key in KEYS}


def entry(number: int, parameters: LimeParameters, **changed: Any) -> dict[str, Any]:
    """What a server answers that takes 0.5 s and 10 ms a sample."""
    found = {
        "name": f"set {number}",
        "params": plain_set(parameters),
        "avg_iou": 0.3 + 0.05 * number,
        "avg_time": 0.5 + 0.01 * parameters.num_samples,
    }
    return {**found, **changed}


def write_answers(here: Path, *entries: Any, file: str = "answers.json") -> None:
    (here / file).write_text(json.dumps({"submissions": list(entries)}))


def stored_trial(study: str = "demo/house") -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Attributes of a study, and of its trial of lime's defaults."""
    found = optuna.load_study(study_name=study, storage=URL)
    defaults = [t for t in found.trials if t.user_attrs.get("origin") == "lime defaults"]
    return found.user_attrs, defaults[0].user_attrs


def test_learned_seconds_and_rules_are_used_by_tune(here: Path, cli: Cli) -> None:
    write_answers(here, *(entry(n, each) for n, each in enumerate(SETS)))
    calibration = json.loads(cli.ok("calibrate", *FAST, "--json"))
    assert calibration["name"] == "server"
    assert calibration["line"]["intercept"]["value"] == pytest.approx(0.5)
    assert calibration["line"]["per_sample"]["value"] == pytest.approx(0.01)
    assert [a["samples"] for a in calibration["answers"]] == [16, 24, 32, 48]
    assert calibration["rules"]["classifier"] == "tiny"
    assert (
        calibration["rules"]["compared"] <= 44
    )  # ten cuts and the scenes' own masks, four ways to read
    assert {"masks", "gradcam@0.3"} <= {
        name for c in calibration["rules"]["candidates"] for name in (c["reference"], *c["same"])
    } | set(calibration["rules"]["unusable"])
    assert len(calibration["rules"]["candidates"]) <= 20
    stored = latest_calibration(URL, "server")
    assert stored == {name: value for name, value in calibration.items() if name != "name"}
    assert Calibration.from_json(stored).to_json() == stored

    # These IoUs are made up: nothing explains them, and tune says what it does then.
    assert (calibration["reference"], calibration["mask_rule"]) == (None, None)
    code, _, err = cli(*TUNE, "--calibrated", "server")
    assert code == 0, err
    assert "names no reference, so masks is used" in " ".join(err.split())
    study, trial = stored_trial()
    model = RuntimeModel.from_json(json.dumps(calibration["runtime_model"]))
    parts = model.parts(LimeParameters(), trial["superpixels"], SIDE * SIDE)
    assert trial["runtime_seconds"] == pytest.approx(parts.total)
    assert trial["runtime_ratio"] == pytest.approx(1)
    assert study["calibration"]["name"] == "server"
    assert study["reference"]["rule"] == "masks"
    code, _, err = cli(*TUNE, "--trials", "3")
    assert (code, "their seconds do not compare" in err) == (2, True)

    # Taken, and with another way of reading masks.
    take = ["--take", "gradcam@0.5:heaviest10", "--name", "taken"]
    out = cli.ok("calibrate", *FAST, *take)
    assert "gradcam@0.5:heaviest10 is taken; it does not explain the answers" in out
    assert "only if the server's classifier is tiny" in " ".join(out.split())
    assert "leave-one-out error" in out
    assert calibration_names(URL) == ["server", "taken"]
    cli.ok(*TUNE, "--calibrated", "taken", "--study", "taken")
    study, trial = stored_trial("taken/house")
    assert study["reference"]["rule"] == "gradcam@0.5"
    assert (study["mask_rule"]["num_features"], study["mask_rule"]["positive_only"]) == (10, False)
    code, _, err = cli(*TUNE, "--calibrated", "taken", "--reference", "masks", "--trials", "3")
    assert (code, "calibration server" in err, "calibration taken" in err) == (2, True, True)
    own = ["--calibrated", "taken", "--study", "own", "--reference", "masks"]
    cli.ok(*TUNE, *own)
    assert stored_trial("own/house")[0]["reference"]["rule"] == "masks"

    # What is verified is read in the same way.
    cli.ok("export", "--catalog", "demo.toml", "--study", "taken", "--fill-defaults")
    check = ["verify", "explain_params.pkl", *TINY, "--images", "cat", "--seeds",
             "1", "--baseline-seeds", "0", "--json"]  # fmt: skip
    ious = [json.loads(cli.ok(*check, *how))["avg_iou"] for how in ([], ["--calibrated", "taken"])]
    assert ious[0] != ious[1]


def test_seconds_alone_need_no_classifier(
    here: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_answers(here, *(entry(n, each) for n, each in enumerate(SETS[:2])))
    with monkeypatch.context() as patch:
        patch.setattr("explainers.classifiers.load_classifier", None)
        arguments = [*DEMO, "--answers", "answers.json", "--runtime-only"]
        out = cli.ok("calibrate", *arguments)
    assert "0.5 s + 10 ms a sample" in out
    assert "one more is needed" in " ".join(out.split())
    code, _, err = cli(*TUNE, "--calibrated", "server")
    assert code == 0, err
    assert "knows the line only" in err
    _, trial = stored_trial()
    assert trial["runtime_seconds"] == pytest.approx(0.5 + 0.01 * 1000)


def submitted(parameters: LimeParameters, url: str, seconds: float, **changed: Any) -> Submitted:
    plain = {**plain_set(parameters), **changed}
    digest = parameters_digest(plain)
    return replace(
        ONE, url=url, parameters_sha256=digest, parameters=plain, avg_iou=0.4, avg_time=seconds
    )


def test_recorded_submissions_are_answers(here: Path, cli: Cli) -> None:
    ours, other = "http://course.example", "http://other.example"
    add_submission(URL, submitted(SETS[0], ours, 1.0))
    add_submission(URL, submitted(SETS[1], ours, 1.5))
    add_submission(URL, submitted(SETS[2], ours, 1.5, dragon={}))
    add_submission(URL, submitted(SETS[3], other, 9.0))
    arguments = ["calibrate", *DEMO, "--runtime-only", "--json"]
    assert ours in cli.refused(*arguments)
    code, out, err = cli(*arguments, "--url", f"{ours}/lime")
    assert code == 0, err
    assert "is left out: 'dragon'" in " ".join(err.split())
    found = json.loads(out)
    assert [a["avg_time"] for a in found["answers"]] == [1.0, 1.5]
    # One that is in a file too counts once.
    same = entry(1, SETS[0], avg_iou=0.4, avg_time=1.0)
    write_answers(here, same, entry(2, SETS[3], avg_time=3.0))
    found = json.loads(cli.ok(*arguments, "--url", ours, "--answers", "answers.json"))
    assert [a["avg_time"] for a in found["answers"]] == [1.0, 3.0, 1.5]
    assert "another num_samples" in cli.refused(*arguments, "--url", other)
    line = cli.refused(*arguments, "--url", "http://me:secret@nowhere.example")
    assert "nowhere.example" in line
    assert "secret" not in line


def test_every_mistake_is_one_line(here: Path, cli: Cli) -> None:
    good = [entry(n, each) for n, each in enumerate(SETS)]
    params = good[0]["params"]

    def broken(**changed: Any) -> dict[str, Any]:
        return {**params, "umbrella": {**params["umbrella"], **changed}}

    cases: dict[str, tuple[Any, str]] = {
        "no iou": ({k: v for k, v in good[0].items() if k != "avg_iou"}, "avg_iou"),
        "iou over one": (entry(0, SETS[0], avg_iou=30.8), "30.8"),
        "no seconds": (entry(0, SETS[0], avg_time=0), "avg_time 0"),
        "seconds that are none": (entry(0, SETS[0], avg_time=True), "avg_time True"),
        "unknown image": (entry(0, SETS[0], params={**params, "dragon": {}}), "dragon"),
        "image missing": (entry(0, SETS[0], params={"umbrella": params["umbrella"]}), "house"),
        "no parameters": (entry(0, SETS[0], params=[]), "params is a list"),
        "wrong samples": (entry(0, SETS[0], params=broken(num_samples=0)), "umbrella: num_samp"),
        "unknown argument": (entry(0, SETS[0], params=broken(colour=3)), "colour"),
        "no top label": (entry(0, SETS[0], params=broken(top_labels=None)), "top_labels"),
        "unknown segmentation": (
            entry(0, SETS[0], params=broken(segmentation_fn={"algorithm": "magic"})), "magic",
        ),
        "labels from one": (
            entry(0, SETS[0], params=broken(segmentation_fn={"algorithm": "slic"})), "start_label",
        ),
        "fitted otherwise": (
            entry(
                0, SETS[0],
                params=broken(model_regressor={"name": "Ridge", "fit_intercept": False}),
            ),
            "fit_intercept",
        ),
        "unknown regressor": (
            entry(0, SETS[0], params=broken(model_regressor={"name": "Oracle"})), "Oracle",
        ),
        "a number": (3, "entry 5"),
    }  # fmt: skip
    for name, (wrong, mentions) in cases.items():
        write_answers(here, *good, wrong)
        line = cli.refused("calibrate", *FAST)
        assert mentions in line, (name, line)
        assert "answers.json" in line, (name, line)
    (here / "empty.json").write_text("{}")
    (here / "text.json").write_text("once upon a time")
    write_answers(here, good[0])
    for arguments, mentions in (
        (["--answers", "gone.json"], "gone.json"),
        (["--answers", "empty.json"], "submissions"),
        (["--answers", "text.json"], "text.json"),
        ([], "give --answers"),
        (FAST[2:], "another num_samples"),
        (["--methods", "magic"], "magic"),
        (["--take", "magic@0.3"], "magic"),
        (["--take", "gradcam@0.3:all"], "mask rule 'all'"),
        (["--seeds", "1"], "--seeds"),
        (["--name", ""], "name"),
        (["--storage", "sqlite:////proc/x.db"], "/proc/x.db"),
    ):
        assert mentions in cli.refused("calibrate", *DEMO, *arguments), arguments
    assert not (here / "lime-tuner.db").exists()
    line = cli.refused(*TUNE, "--calibrated", "server")
    assert "none is known" in line
    assert not (here / "lime-tuner.db").exists()
    write_answers(here, *good)
    only = ["--answers", "answers.json", "--runtime-only", "--name", "monday"]
    cli.ok("calibrate", *DEMO, *only)
    line = cli.refused(*TUNE, "--calibrated", "server")
    assert "known are monday" in line
    with sqlite3.connect("lime-tuner.db") as connection:
        connection.execute("UPDATE lime_tuner_calibrations SET document = '{}'")
    assert "calibrate again" in cli.refused(*TUNE, "--calibrated", "monday")


@pytest.mark.parametrize(
    "parameters",
    [
        LimeParameters(),
        replace(SETS[0], hide_color=(1, 2, 3), regressor=Regressor.of("Lasso", alpha=0.1)),
        LimeParameters(segmentation=Segmentation.of("felzenszwalb", scale=100), random_seed=3),
        LimeParameters(regressor=Regressor.of("BayesianRidge"), hide_color=0, labels=(1, 2)),
    ],
)
def test_plain_parameters_come_back(parameters: LimeParameters) -> None:
    plain = json.loads(json.dumps(plain_kwargs(parameters.as_kwargs())))
    found = lime_parameters(plain)
    assert plain_kwargs(found.as_kwargs()) == plain_kwargs(parameters.as_kwargs())
    assert replace(found, regressor=None) == replace(parameters, regressor=None)
