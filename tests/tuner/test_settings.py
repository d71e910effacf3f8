"""Settings: every value is of its kind, or one line says what was given and what is accepted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from explainers.errors import InvalidInput
from tuner.cli.settings import setting


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("seeds = []", "seeds is a list: give a whole number from 1 to 10000"),
        ('workers = "2"', "workers is '2', text: give a whole number from 1 to 1000"),
        ("log = 3", 'log is 3: give a file in quotes, or "none"'),
        ("trials = 1.5", "trials is 1.5"),
        ("trials = true", "trials is true"),
        ("trials = nan", "trials is nan"),
        ("trials = 0", "trials is 0"),
        ("workers = -1", "workers is -1"),
        ("workers = 0xffffffffffffffffffffff", "workers is a number of more than 20 digits"),
        ("runtime_weight = inf", "runtime_weight is inf: give a number from 0 up"),
        ("runtime_weight = -0.1", "runtime_weight is -0.1"),
        ("runtime_weight = 1e400", "runtime_weight is inf"),
        ('study = ""', "study is ''"),
        (r'study = "a\u0000b"', r"study is 'a\x00b'"),
        ("[trials]\nfew = 3", "trials is a table"),
        ("trials = 2026-01-01", "trials is 2026-01-01"),
        ('storage = ["postgresql://me:geheim@host/x"]', "storage is a list"),
        (r'storage = "postgresql://me:geheim@host/x\n"', "storage is text that is empty, or not"),
        ("colour = 3", "unknown setting 'colour': known are assets, cam_layer"),
        ("trials = 3\ntrials = 4", "cannot be read: Cannot overwrite a value"),
        ("seeds = " + 5000 * "9", "cannot be read"),
    ],
)
def test_a_wrong_value_is_told(here: Path, line: str, said: str) -> None:
    (here / "lime-tuner.toml").write_text(line + "\n")
    # Whatever setting is asked for: all of the file is looked at.
    with pytest.raises(InvalidInput) as told:
        setting("device", None)
    assert said in str(told.value)
    assert str(told.value).startswith("lime-tuner.toml")
    assert "geheim" not in str(told.value)
    assert len(str(told.value).splitlines()) == 1


def test_right_values_are_kept(here: Path) -> None:
    text = '\ufefftrials = 7\r\nruntime_weight = 1\r\nlog = "none"\r\nworkers = 0x2\r\n'
    (here / "lime-tuner.toml").write_bytes(text.encode())
    found = [setting(name, None) for name in ("trials", "runtime_weight", "log", "workers")]
    assert found == [7, 1, "none", 2]
    assert setting("trials", 3) == 3


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
        setting("device", None)


def test_a_wrong_value_in_the_environment_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIME_TUNER_STORAGE", "postgresql://me:geheim@host/x\n")
    with pytest.raises(InvalidInput, match="LIME_TUNER_STORAGE is text") as told:
        setting("storage", None)
    assert "geheim" not in str(told.value)


@pytest.mark.parametrize("given", ["", " "])
def test_an_empty_option_is_told(given: str) -> None:
    with pytest.raises(InvalidInput, match=r"--cam-layer is empty: give text.*or leave it out"):
        setting("cam_layer", given)
    assert setting("cam_layer", "features") == "features"
