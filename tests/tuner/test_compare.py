"""``compare`` and ``report``, and what people get wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from explainers.metrics import comparison
from tests.tuner.command_line import FEW_MAPS, Cli
from tests.tuner.tiny import TINY, TUNE_TINY
from tuner.cli.output import console

DEMO = [*TINY, "--images", "house,key"]
TUNE = [*TUNE_TINY, "--images", "house,key", "--trials", "3", "--seeds", "2", *FEW_MAPS]
QUICK = ["--method", "gradcam", "--method", "ablationcam", "--seeds", "2"]

pytestmark = pytest.mark.usefixtures("tiny_catalogue")


def test_compared_recorded_and_reported(here: Path, cli: Cli) -> None:
    cli.ok(*TUNE, "--constrain", "none")
    found = json.loads(cli.ok("compare", *DEMO, *QUICK, "--classes", "2", "--json"))
    assert list(found["images"]) == ["house", "key"]
    assert found["constraint"] == {}
    house = found["images"]["house"]
    assert list(house["measures"]) == ["gradcam", "ablationcam", "lime default", "lime tuned"]
    assert house["measures"]["lime tuned"]["r2"] <= 1
    assert "r2" not in house["measures"]["gradcam"]
    assert len(house["agreement"]) == 6
    with sqlalchemy.create_engine("sqlite:///lime-tuner.db").connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT i.key, e.method, e.iou FROM lime_tuner_explanations e "
            "JOIN lime_tuner_images i ON i.id = e.image_id ORDER BY e.id"
        ).all()
    assert len(rows) == 8
    assert rows[0] == ("house", "gradcam", house["measures"]["gradcam"]["iou"])
    cli.ok("export", "--catalog", "demo.toml", "--study", "demo", "--fill-defaults")
    cli.ok("verify", "explain_params.pkl", *DEMO, "--seeds", "1", "--baseline-seeds", "0")
    assert "wrote report/index.html" in cli.ok("report", "--study", "demo")
    assert (here / "report" / "figures" / "several_classes.svg").is_file()
    text = (here / "report" / "index.html").read_text()
    assert "tuned for 2 of 2 images" in text
    assert "(2 images). In their studies it was" in text
    assert (here / "report" / "tables" / "measures.csv").is_file()


def test_images_without_a_study_are_compared_without(here: Path, cli: Cli) -> None:
    code, out, err = cli("compare", *DEMO, "--method", "gradcam", "--seeds", "2")
    assert code == 0
    assert "no tuned parameters in study 'demo' for house, key" in err
    assert "lime tuned" not in out
    assert "IoU with the reference" in out


def test_an_interrupted_comparison_goes_on(
    here: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.ok(*TUNE)
    real, asked = comparison.compare, []

    def interrupted(*arguments: Any, **options: Any) -> comparison.Comparison:
        asked.append(1)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr("tuner.cli.results.compare.compare_methods", interrupted)
    with monkeypatch.context() as terminal:
        terminal.setattr(type(console), "is_terminal", True)
        code, out, err = cli("compare", *DEMO, *QUICK)
    assert code == 130
    assert "mean over 1 images" in out
    assert "tuned for 2 of 2 images" in report_text(here, cli)  # of one image, and no traceback
    code, out, err = cli("compare", *DEMO, *QUICK, "--json")
    assert code == 0
    assert "1 of 2 images are done" in err
    assert list(json.loads(out)["images"]) == ["house", "key"]
    assert len(asked) == 3
    cli.ok("compare", *DEMO, *QUICK)  # that one was finished: a new run
    assert len(asked) == 5
    with sqlalchemy.create_engine("sqlite:///lime-tuner.db").connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT r.finished, COUNT(*) FROM lime_tuner_runs r "
            "JOIN lime_tuner_images i ON i.run_id = r.id GROUP BY r.id ORDER BY r.id"
        ).all()
    assert rows == [(1, 2), (1, 2)]


def test_what_has_changed_since_is_compared_again(
    here: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.ok(*TUNE)
    real, asked = comparison.compare, []

    def counted(*arguments: Any, **options: Any) -> comparison.Comparison:
        asked.append(1)
        return real(*arguments, **options)

    monkeypatch.setattr("tuner.cli.results.compare.compare_methods", counted)
    with monkeypatch.context() as interrupted:
        interrupted.setattr("tuner.cli.results.compare.finish_comparison", lambda *_: None)
        cli.ok("compare", *DEMO, *QUICK)
    with sqlalchemy.create_engine("sqlite:///lime-tuner.db").begin() as connection:
        connection.exec_driver_sql(  # the key's study has found something else since
            "UPDATE lime_tuner_explanations SET parameters = REPLACE(parameters, "
            "'\"num_features\": ', '\"num_features\": 1') WHERE method = 'lime tuned' AND image_id "
            "IN (SELECT id FROM lime_tuner_images WHERE key = 'key')"
        )
    cli.ok("compare", *DEMO, *QUICK)
    assert len(asked) == 3


def test_what_the_constraint_costs_is_told(here: Path, cli: Cli) -> None:
    cli.ok(*TUNE, "--constrain", "fidelity")
    found = json.loads(cli.ok("compare", *DEMO, *QUICK, "--json"))
    assert list(found["constraint"]) == ["house", "key"]
    for cost in found["constraint"].values():
        assert cost["reason"] or cost["iou"] == cost["iou_without"]  # nothing better was refused
        assert cost["refused"] > 0 or not cost["reason"]
    assert "what the constraint costs" in cli.ok("compare", *DEMO, *QUICK)


def report_text(here: Path, cli: Cli) -> str:
    cli.ok("report", "--study", "demo")
    return (here / "report" / "index.html").read_text()


def test_wrong_calls(here: Path, cli: Cli) -> None:
    before = set(here.iterdir())
    assert "CAM method 'blur' is unknown" in cli.refused("compare", *DEMO, "--method", "blur")
    assert "rule" in cli.refused("compare", *DEMO, "--rule", "most")
    assert "2" in cli.refused("compare", *DEMO, "--seeds", "1")
    assert "equal to 5" in cli.refused("compare", *DEMO, "--classes", "6")
    assert "none" in cli.refused("compare", *DEMO, "--storage", "sqlite:///none/a.db")
    assert "does not exist" in cli.refused("report", "--study", "demo")
    assert "fidelity" in cli.refused(*TUNE, "--constrain", "time")
    assert set(here.iterdir()) == before


def test_another_classifier_s_study_is_refused(here: Path, cli: Cli) -> None:
    cli.ok(*TUNE)
    engine = sqlalchemy.create_engine("sqlite:///lime-tuner.db")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE study_user_attributes SET value_json = "
            '\'{"name": "other", "sha256": "b"}\' WHERE key = \'classifier\''
        )
    engine.dispose()
    assert "made with another classifier (other)" in cli.refused("compare", *DEMO, *QUICK)
