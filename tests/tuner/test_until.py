"""``tune --until``: a time-boxed run is shared among images, and over by the morning."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import optuna
import pytest

from studies.queries import overview
from studies.results.stagnation import is_stagnant
from studies.storage import open_storage
from tests.tuner.command_line import FEW_MAPS, Cli
from tests.tuner.tiny import TUNE_TINY

_TUNE = (*TUNE_TINY, "--images", "house,key", "--seeds", "2", *FEW_MAPS,
         "--device", "cpu")  # fmt: skip

pytestmark = pytest.mark.usefixtures("tiny_catalogue")


def _in(**time: int) -> datetime:
    return datetime.now() + timedelta(**time)


def test_it_goes_on_where_it_pays_off_and_ends_when_nothing_does(here: Path, cli: Cli) -> None:
    code, _, err = cli(*_TUNE, "--until", f"{_in(hours=5):%H:%M}")
    assert code == 0
    assert "over before" in err
    rows = overview(f"sqlite:///{here / 'lime-tuner.db'}", None)
    assert all(row.finished >= 60 for row in rows)  # each has had its share
    assert all(is_stagnant(row.finished, row.best_number) for row in rows)
    cli.ok(*_TUNE, "--until", f"{_in(hours=5):%H:%M}")  # the next evening: nothing is left to do
    assert overview(f"sqlite:///{here / 'lime-tuner.db'}", None) == rows


def test_trials_are_a_total_here_too(here: Path, cli: Cli) -> None:
    cli.ok(*_TUNE, "--until", f"{_in(hours=5):%H:%M}", "--trials", "10")
    rows = overview(f"sqlite:///{here / 'lime-tuner.db'}", None)
    assert [row.finished for row in rows] == [10, 10]


def test_a_run_that_is_too_short_still_has_the_defaults(
    here: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.problem.settings.until_clock", lambda text, now: _in(seconds=-1))
    cli.ok(*_TUNE, "--until", "07:00")
    for key in ("house", "key"):
        study = optuna.load_study(
            study_name=f"demo/{key}", storage=open_storage(f"sqlite:///{here / 'lime-tuner.db'}")
        )
        assert [t.user_attrs.get("origin") for t in study.trials] == ["lime defaults"]


@pytest.mark.parametrize(
    ("more", "says"),
    [(("--until", "7 am"), "time of day"), (("--until", "07:00", "--timeout", "5"), "one of them")],
)
def test_wrong_calls_are_one_line(here: Path, cli: Cli, more: tuple[str, ...], says: str) -> None:
    assert says in cli.refused(*_TUNE, *more)
    assert not list(here.glob("*.db"))
