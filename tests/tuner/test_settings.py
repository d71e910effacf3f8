"""Settings: every value is of its kind, or one line says what was given and what is accepted."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any

import pytest

from explainers.errors import InvalidInput
from tuner import objectives, samplers
from tuner.cli.options import (
    ClassifierOptions,
    JobOptions,
    MachineOptions,
    StorageOptions,
    takes_groups,
)
from tuner.problem import settings
from tuner.problem.settings import TuningSettings


def _given(group: type, **options: Any) -> Any:
    """What a command gets for a group of options."""
    got: list[Any] = []

    def command(group: Any) -> None:
        got.append(group)

    command.__annotations__["group"] = group
    made = takes_groups(command)
    given = {name: None for name in inspect.signature(made).parameters}
    made(**given | options)
    return got[0]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("seeds = []", "seeds is a list: give a whole number from 1 to 10000"),
        ('workers = "2"', "workers is '2', text: give a whole number from 1 to 1000"),
        ("log = 3", "log is 3: give a file, in quotes"),
        ("trials = 1.5", "trials is 1.5"),
        ("trials = true", "trials is true"),
        ("trials = nan", "trials is nan"),
        ("trials = 0", "trials is 0"),
        ("workers = -1", "workers is -1"),
        ("workers = 0xffffffffffffffffffffff", "workers is a number of more than 20 digits"),
        ("runtime_weight = inf", "runtime_weight is inf: give a number from 0 up"),
        ("runtime_weight = -0.1", "runtime_weight is -0.1"),
        ("runtime_weight = 1e400", "runtime_weight is inf"),
        ('study = ""', "study is empty"),
        (r'study = "a\u0000b"', r"study is 'a\x00b'"),
        ("[trials]\nfew = 3", "trials is a table"),
        ("trials = 2026-01-01", "trials is 2026-01-01"),
        ('storage = ["postgresql://me:geheim@host/x"]', "storage is a list"),
        (r'storage = "postgresql://me:geheim@host/x\n"', "storage is text that is empty, or not"),
        ("colour = 3", "unknown setting 'colour': known are aggregate, answers"),
        ("trials = 3\ntrials = 4", "cannot be read: Cannot overwrite a value"),
        ("seeds = " + 5000 * "9", "cannot be read"),
    ],
)
def test_a_wrong_value_is_told(here: Path, line: str, said: str) -> None:
    (here / "lime-tuner.toml").write_text(line + "\n")
    # Whatever setting is asked for: all of the file is looked at.
    with pytest.raises(InvalidInput) as raised:
        _given(ClassifierOptions)
    assert said in str(raised.value)
    assert str(raised.value).startswith("lime-tuner.toml")
    assert "geheim" not in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_right_values_are_kept(here: Path) -> None:
    text = '\ufefftrials = 7\r\nruntime_weight = 1\r\nlog = "none"\r\nworkers = 0x2\r\n'
    (here / "lime-tuner.toml").write_bytes(text.encode())
    found = _given(TuningSettings)
    assert (found.trials, found.runtime_weight) == (7, 1)
    assert _given(MachineOptions).workers == 2
    assert _given(JobOptions).log == Path("none")
    assert _given(TuningSettings, trials=3).trials == 3


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (Path.mkdir, "is no file"),
        (lambda path: path.symlink_to("nowhere"), "cannot be read: No such file"),
        (lambda path: path.symlink_to(path), "cannot be read: Too many levels"),
        (os.mkfifo, "is no file"),
        (lambda path: path.write_text('study = "a"', "utf-16"), "is not in UTF-8"),
        (lambda path: path.write_bytes(b'study = "\xe4"'), "is not in UTF-8"),
    ],
)  # fmt: skip
def test_what_is_no_settings_file_is_told(here: Path, made, said: str) -> None:  # type: ignore[no-untyped-def]
    made(here / "lime-tuner.toml")
    with pytest.raises(InvalidInput, match=said):
        _given(ClassifierOptions)


def test_a_wrong_value_in_the_environment_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIME_TUNER_STORAGE", "postgresql://me:geheim@host/x\n")
    with pytest.raises(InvalidInput, match="LIME_TUNER_STORAGE is text") as raised:
        _given(StorageOptions)
    assert "geheim" not in str(raised.value)


@pytest.mark.parametrize("given", ["", " "])
def test_an_empty_option_is_told(given: str) -> None:
    with pytest.raises(InvalidInput, match=r"--cam-layer is empty: give text"):
        _given(ClassifierOptions, cam_layer=given)
    assert _given(ClassifierOptions, cam_layer="features").cam_layer == "features"


def test_every_setting_may_stand_in_the_environment(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "lime-tuner.toml").write_text("trials = 7\npareto = true\nseeds = 5\n")
    for name, value in (("TRIALS", "9"), ("WARM_START", "false"), ("RUNTIME_WEIGHT", "0.2")):
        monkeypatch.setenv(f"LIME_TUNER_{name}", value)
    found = _given(TuningSettings, seeds=4)
    assert (found.trials, found.seeds, found.pareto) == (9, 4, True)
    assert (found.warm_start, found.runtime_weight) == (False, 0.2)
    monkeypatch.setenv("LIME_TUNER_TRIALS", "many")
    with pytest.raises(InvalidInput, match="LIME_TUNER_TRIALS is 'many', text: give a whole"):
        _given(TuningSettings)


def test_what_follows_from_other_settings() -> None:
    assert _given(TuningSettings).seeds == 10
    settings = _given(TuningSettings, scope="catalog")
    assert (settings.seeds, settings.confirm_seeds) == (2, 4)
    assert settings.space.num_samples == (16, 125)
    assert _given(TuningSettings, objective="faithful").sampler == "tpe"
    assert _given(TuningSettings, until="07:00").beyond
    assert not _given(TuningSettings, until="07:00", trials=5).beyond


def test_names_are_those_of_what_bears_them() -> None:
    assert set(settings.SAMPLERS) == set(samplers.SAMPLERS)
    assert set(settings.OBJECTIVES) == set(objectives.OBJECTIVES)
