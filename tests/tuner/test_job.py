"""A job's log, and the notification at its end."""

from __future__ import annotations

import json
import logging
import multiprocessing
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from studies.submission.notification import notify, parse_notify_address
from tests.studies.scripted_server import page, scripted
from tests.tuner.command_line import Cli
from tests.tuner.tiny import TUNE_TINY
from tuner.log_file import SharedLogFile, hush_warnings, join_log, log_to, tell_warnings

TUNE = [
    *TUNE_TINY, "--images", "house", "--seeds", "2", "--fix", "segmentation=slic", "--trials", "2",
]  # fmt: skip
_PROCESSES, _LINES = 4, 150


@pytest.fixture
def cli(cli: Cli, tiny_catalogue: Path) -> Cli:
    """The command line, in a folder with a catalogue."""
    del tiny_catalogue
    return cli


def _chatter(path: Path, number: int) -> None:
    handler = SharedLogFile(path, True, most_bytes=20_000)
    logger = logging.Logger(f"process {number}")
    logger.addHandler(handler)
    for line in range(_LINES):
        logger.warning("%d/%d %s", number, line, "x" * 20)


def test_several_processes_share_a_log_that_turns_over(tmp_path: Path) -> None:
    path = tmp_path / "job.log"
    context = multiprocessing.get_context("fork")
    started = [context.Process(target=_chatter, args=(path, n)) for n in range(_PROCESSES)]
    for each in started:
        each.start()
    for each in started:
        each.join(60)
        assert each.exitcode == 0
    files = sorted(tmp_path.iterdir())
    assert 3 <= len(files) <= 4
    assert all(each.stat().st_size <= 20_000 for each in files)
    lines = [line for each in files for line in each.read_text().splitlines()]
    found = [re.fullmatch(r"\S+ \S+ WARNING \d+ process \d: (\d+/\d+) x{20}", ln) for ln in lines]
    assert {m[1] for m in found if m} == {
        f"{n}/{line}" for n in range(_PROCESSES) for line in range(_LINES)
    }
    assert len(lines) == _PROCESSES * _LINES


def test_a_log_that_cannot_be_written_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder.log").mkdir()
    logger = logging.getLogger("tuner.anything")
    with log_to(tmp_path / "folder.log"):
        for _ in range(3):
            logger.info("lost")
        logger.warning("still shown")
    err = capsys.readouterr().err
    assert err.count("cannot be written (Is a directory)") == 1
    assert err.endswith("still shown\n")
    assert "lost" not in err
    assert not logger.isEnabledFor(logging.INFO)
    join_log(None)


def test_a_server_s_warnings_are_its_own_to_show(capsys: pytest.CaptureFixture[str]) -> None:
    tell_warnings()
    logging.getLogger("studies.anything").warning("shown")
    hush_warnings()
    logging.getLogger("studies.anything").warning("not twice")
    assert capsys.readouterr().err == "shown\n"


def test_what_a_job_logs(here: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.ok(*TUNE)
    log = (here / "lime-tuner.log").read_text()
    assert "tune begins on sqlite:///lime-tuner.db" in log
    assert '"trials": 2' in log
    assert "demo/house: trial 0 is the best so far" in log
    assert log.splitlines()[-1].endswith("tune done")
    assert '"default": {"iou": 0.' in log.splitlines()[-2]

    def broken(*_: Any) -> None:
        raise RuntimeError("the classifier\nis gone")

    with monkeypatch.context() as patch:
        patch.setattr("tuner.study.runner.run_trial", broken)
        patch.setenv("LIME_TUNER_LOG", "named.log")
        code, _, err = cli(*TUNE[:-1], "3")
    assert code == 1
    assert err.splitlines()[-1] == (
        "lime-tuner: unexpected RuntimeError (the classifier is gone): details in "
        f"{here / 'named.log'}"
    )
    named = (here / "named.log").read_text()
    assert "trial 2 failed: RuntimeError: the classifier is gone" in named
    assert "tune failed: RuntimeError\n" in named
    assert named.splitlines()[-1] == "is gone"  # of the traceback
    assert (here / "lime-tuner.log").read_text() == log
    status = json.loads(cli.ok("status", "--json"))["demo/house"]
    (failure,) = status["failures"]
    assert failure["reason"] == "RuntimeError: the classifier is gone"
    assert failure["worker"].startswith(f"{socket.gethostname()}:")
    assert "RuntimeError: the classifier is gone" in cli.ok("status")

    cli.ok(*TUNE, "--log", "none")
    assert (here / "lime-tuner.log").read_text() == log


def test_passwords_are_not_logged(here: Path, cli: Cli, server_database: str) -> None:
    url = make_url(server_database)
    secret = url.set(password="geheim").render_as_string(hide_password=False)
    code, _, err = cli(*TUNE, "--storage", secret)  # MariaDB may refuse that password
    log = here / "lime-tuner.log"
    assert code == 0 or "geheim" not in err
    if code == 0:
        assert f"{url.username}:***@" in log.read_text()
        assert "geheim" not in log.read_text()


def test_the_end_is_told(here: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(page("ok")) as server:
        url = server.url.replace("://", "://me:geheim@") + "/hook/a?key=s3cret"
        cli.ok(*TUNE, "--notify", url)
        (asked,) = server.asked
        assert asked.path == "/hook/a?key=s3cret"
        assert asked.headers["content-type"] == "application/json"
        assert asked.headers["authorization"].startswith("Basic ")
        document = json.loads(asked.body)
        assert (document["command"], document["study"], document["state"]) == (
            "tune",
            "demo",
            "done",
        )
        house = document["images"]["house"]
        assert house["trials"] == 2
        assert house["score"] is not None
        assert house["default"]["runtime_seconds"] > 0
        assert "geheim" not in (here / "lime-tuner.log").read_text()
        assert "s3cret" not in (here / "lime-tuner.log").read_text()

        monkeypatch.setenv("LIME_TUNER_NOTIFY", url)
        cli.ok("worker", "--idle-exit", "0")
        assert json.loads(server.asked[-1].body)["command"] == "worker"

        def interrupt(*_: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("tuner.cli.search.tune_run.run_studies", interrupt)
            code, _, err = cli(*TUNE)
        assert code == 130
        assert "interrupted" in err
        assert json.loads(server.asked[-1].body)["state"] == "interrupted"
        assert "invoices" in _refused_by_another_program(here, cli, url)
        document = json.loads(server.asked[-1].body)
        assert document["state"] == "failed"
        assert "invoices" in document["reason"]


def _refused_by_another_program(here: Path, cli: Cli, url: str) -> str:
    import sqlite3

    with sqlite3.connect(here / "other.db") as connection:
        connection.execute("CREATE TABLE invoices (id INTEGER)")
    return cli.refused(*TUNE, "--storage", "sqlite:///other.db", "--notify", url, status=(1,))


@pytest.mark.parametrize("reply", ["slam", (302, {"Location": "/x"}, b""), (500, {}, b"no")])
def test_nobody_to_tell_changes_nothing(here: Path, cli: Cli, reply: Any) -> None:
    with scripted(reply) as server:
        code, _, err = cli(*TUNE, "--notify", f"{server.url}/hook/s3cret")
        assert code == 0
        assert len(server.asked) == 1  # no redirection followed, nothing tried again
    lines = [line for line in err.splitlines() if "nobody was notified" in line]
    assert len(lines) == 1
    assert "s3cret" not in err


def test_addresses() -> None:
    for wrong in ("ftp://x/y", "nonsense", "http://", "file:///etc/passwd", "http://a b/c?s3cret"):
        with pytest.raises(Exception, match="--notify") as caught:
            parse_notify_address(wrong)
        assert "s3cret" not in str(caught.value)
    address = parse_notify_address("https://me:geheim@hooks.example:8443/a/b?c=d#e")
    assert address.page("") == "https://hooks.example:8443/a/b?c=d"
    assert address.base == "https://hooks.example:8443"
    assert "geheim" not in repr(address)
    assert "a/b" not in repr(address)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    trouble = notify(parse_notify_address(f"http://127.0.0.1:{port}/s3cret"), {})
    assert "cannot be reached" in trouble
    assert "s3cret" not in trouble
