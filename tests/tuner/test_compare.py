"""``compare`` and ``report`` on the demo scenes, and what people get wrong."""

from __future__ import annotations

import json
from pathlib import Path

import sqlalchemy

from tests.tuner.command_line import Cli

DEMO = ["--catalog", "demo", "--model", "demo", "--images", "house,key"]
FAST = ["--trials", "3", "--seeds", "2", "--fix", "segmentation=slic"]
QUICK = ["--method", "gradcam", "--method", "ablationcam", "--seeds", "2"]


def test_compared_recorded_and_reported(here: Path, cli: Cli) -> None:
    cli.ok("tune", *DEMO, *FAST)
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
    cli.ok("export", "--catalog", "demo", "--study", "demo", "--fill-defaults")
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


def test_wrong_calls(here: Path, cli: Cli) -> None:
    assert "CAM method 'blur' is unknown" in cli.refused("compare", *DEMO, "--method", "blur")
    assert "rule" in cli.refused("compare", *DEMO, "--rule", "most")
    assert "2" in cli.refused("compare", *DEMO, "--seeds", "1")
    assert "equal to 5" in cli.refused("compare", *DEMO, "--classes", "6")
    assert "none" in cli.refused("compare", *DEMO, "--storage", "sqlite:///none/a.db")
    assert "does not exist" in cli.refused("report", "--study", "demo")
    assert "fidelity" in cli.refused("tune", *DEMO, *FAST, "--constrain", "time")
    assert list(here.iterdir()) == []


def test_another_classifier_s_study_is_refused(here: Path, cli: Cli) -> None:
    cli.ok("tune", *DEMO, *FAST)
    engine = sqlalchemy.create_engine("sqlite:///lime-tuner.db")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE study_user_attributes SET value_json = "
            '\'{"name": "other", "sha256": "b"}\' WHERE key = \'classifier\''
        )
    engine.dispose()
    assert "made with another classifier (other)" in cli.refused("compare", *DEMO, *QUICK)
