"""Databases that the version of November 2026 has written open, resume, export and report."""

from __future__ import annotations

import gzip
import json
import pickle
from pathlib import Path

import pytest

from studies.records import latest_comparison
from tests.tuner.command_line import Cli

STORED = Path(__file__).parent / "stored"
BEST = {
    "demo/house": (7, 0.936), "demo/key": (4, 0.875), "front/house": (5, 0.928),
    "constrained/house": (0, 0.811), "all/(catalog)": (1, 0.731), "plain/house": (2, 0.510),
}  # fmt: skip
"""Number and IoU of each study's best trial, as that version has shown them."""


@pytest.fixture(params=["tuned", "compared"])
def database(request: pytest.FixtureRequest, here: Path) -> Path:
    packed = STORED / f"{request.param}_2026_11.db.gz"
    path = here / "lime-tuner.db"
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    return path


def test_what_is_stored_is_shown_and_exported(database: Path, cli: Cli) -> None:
    found = json.loads(cli.ok("status", "--json"))
    best = {name: study["best"] for name, study in found.items()}
    assert {n: (best[n]["number"], round(best[n]["iou"], 3)) for n in BEST} == BEST
    assert best["faithful/house"]["number"] == 3
    assert found["front/house"]["front"]
    cli.ok("export", "--catalog", "demo", "--fill-defaults", "-o", "demo.pkl")
    assert pickle.loads(Path("demo.pkl").read_bytes())["house"]["num_samples"] < 1000
    cli.ok("report", "--catalog", "demo", "-o", "page")
    assert "house" in Path("page/index.html").read_text()
    tables = {path.stem for path in Path("page/tables").iterdir()}
    assert {"parameters", "studies", "trials"} <= tables
    compared = latest_comparison(f"sqlite:///{database}", "demo") is not None
    assert ({"agreement", "measures", "units"} <= tables) == compared


@pytest.mark.whole_space  # their studies have it
@pytest.mark.parametrize(
    ("study", "trials", "options"),
    [
        ("demo", 11, ()),
        ("front", 9, ("--pareto",)),
        ("faithful", 9, ("--objective", "faithful")),
        ("plain", 5, ("--sampler", "tpe", "--fix", "num_samples=64", "--target", "catalog")),
    ],
)
def test_studies_go_on(
    here: Path, cli: Cli, study: str, trials: int, options: tuple[str, ...]
) -> None:
    packed = STORED / "tuned_2026_11.db.gz"
    (here / "lime-tuner.db").write_bytes(gzip.decompress(packed.read_bytes()))
    done = json.loads(
        cli.ok(
            "tune", "--catalog", "demo", "--images", "house", "--seeds", "3", "--study", study,
            "--trials", str(trials), "--log", "none", "--json", *options,
        )
    )  # fmt: skip
    house = done["images"]["house"]
    assert house["trials"] == trials
    if study == "demo":
        number, iou = BEST[f"{study}/house"]
        assert (house["best"]["number"], round(house["best"]["iou"], 3)) == (number, iou)


def test_a_worker_joins(here: Path, cli: Cli) -> None:
    """It starts from the plan as that version has stored it."""
    packed = STORED / "tuned_2026_11.db.gz"
    (here / "lime-tuner.db").write_bytes(gzip.decompress(packed.read_bytes()))
    out = cli.ok("worker", "--study", "demo", "--idle-exit", "0", "--log", "none")
    assert "0 trials" in out
