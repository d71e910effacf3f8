"""``submit`` and ``leaderboard`` through the command line, against a server on this machine."""

from __future__ import annotations

import io
import json
import os
import pickle
import socket
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import optuna
import pytest

from explainers.errors import StorageError
from explainers.lime import LimeParameters
from studies.export import export_pickle, parameters_digest, plain_kwargs
from studies.records import add_submission, submissions
from studies.storage import DEFAULT_STORAGE
from tests.studies.scripted_server import ONE, found, page, problem, scripted
from tests.studies.study_samples import random_studies
from tests.tuner.command_line import Cli

TOKEN = "s3cret-of-the-team"
KEYS = ("cat", "dog [x]")
TABLE = "<table><tr><th>Team<th>LIME IoU<th>LIME time<th>submitted at{}</table>"


@pytest.fixture
def lab(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a catalogue and its studies, and a token."""
    monkeypatch.setenv("LIME_TUNER_TOKEN", f" {TOKEN}\n")
    images = "".join(f'[[image]]\nkey = "{key}"\nfile = "{key}.jpg"\n' for key in KEYS)
    (here / "lab.toml").write_text(images)
    (here / "lime-tuner.toml").write_text('catalog = "lab.toml"\n')
    random_studies(DEFAULT_STORAGE, "lab", KEYS, 5)
    return here


def trial(key: str, *, best: bool) -> tuple[float, float, int]:
    """IoU, seconds and samples of a study's best finished trial, or of its first one."""
    study = optuna.load_study(study_name=f"lab/{key}", storage=DEFAULT_STORAGE)
    finished = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    chosen = study.best_trial if best else finished[0]
    assert chosen.value is not None
    return chosen.value, chosen.user_attrs["runtime_seconds"], 10 + chosen.number


def mean_of(*trials: tuple[float, float, int]) -> dict[str, Any]:
    count = len(trials)
    return {
        "avg_iou": pytest.approx(sum(t[0] for t in trials) / count),
        "avg_time": pytest.approx(sum(t[1] for t in trials) / count),
    }


def written(name: str, **samples: int) -> str:
    """A pickle of both images, with these numbers of samples."""
    given = {key: LimeParameters(num_samples=samples.get(key[:3], 999)) for key in KEYS}
    export_pickle(given, Path(name))
    return name


def edited(name: str, change: Any) -> str:
    document = {key: LimeParameters().as_kwargs() for key in KEYS}
    change(document)
    Path(name).write_bytes(pickle.dumps(document))
    return name


def test_the_best_is_exported_sent_and_recorded(lab: Path, cli: Cli) -> None:
    with scripted(found(0.375, 0.5), found(0.25, 0.25)) as server:
        document = json.loads(cli.ok("submit", "--url", f"{server.url}/lime", "--json"))
        best = mean_of(*(trial(key, best=True) for key in KEYS))
        sent = Path("explain_params.pkl").read_bytes()
        plain = {key: plain_kwargs(kwargs) for key, kwargs in pickle.loads(sent).items()}
        assert document == {
            "url": server.url, "file": "explain_params.pkl",
            "parameters_sha256": parameters_digest(plain), "prediction": best,
            "answer": {"avg_iou": 0.375, "avg_time": 0.5}, "dry_run": False,
        }  # fmt: skip
        assert server.asked[0].parts() == {"file": ("explain_params.pkl", sent)}
        assert server.asked[0].headers["token"] == TOKEN
        (kept,) = submissions(DEFAULT_STORAGE, server.url)
        assert (kept.avg_iou, kept.avg_time, kept.study) == (0.375, 0.5, "lab")
        assert (kept.predicted_iou, kept.predicted_time) == tuple(best.values())
        assert kept.parameters == plain
        assert kept.parameters_sha256 == parameters_digest(plain)

        code, out, err = cli("submit", "--url", server.url, "--yes")
    assert code == 0
    for shown in ("dog [x]", "0.2500", "0.3750", f"to {server.url}/lime", "lime's own"):
        assert shown in out, shown
    assert err.count("\n") == 1  # slower than the last answer
    assert [each.avg_iou for each in submissions(DEFAULT_STORAGE)] == [0.375, 0.25]


def test_a_prediction_needs_every_image(lab: Path, cli: Cli) -> None:
    cat, dog = (trial(key, best=False) for key in KEYS)
    tuned = written("tuned.pkl", cat=cat[2], dog=dog[2])
    half, none = written("half.pkl", cat=cat[2]), written("none.pkl")
    with scripted(found(0.375, 0.5)) as server:
        dry = ["--url", server.url, "--dry-run"]
        document = json.loads(cli.ok("submit", tuned, *dry, "--json"))
        assert document["prediction"] == mean_of(cat, dog)
        for file, says in (
            (half, "no prediction: the parameters of dog [x] were not tuned here"),
            (none, "no prediction: this file's parameters were not tuned here"),
        ):
            assert json.loads(cli.ok("submit", file, *dry, "--json"))["prediction"] is None
            assert says in cli.ok("submit", file, *dry)
        cli.ok("submit", none, "--url", server.url, "--json")
    (kept,) = submissions(DEFAULT_STORAGE)
    assert (kept.study, kept.predicted_iou) == (None, None)

    seconds = cat[1] + dog[1]
    line = cli.refused("submit", tuned, *dry, "--cutoff", f"{seconds - 0.01}", status=(2,))
    assert "cut-off" in line
    cli.ok("submit", tuned, *dry, "--cutoff", f"{seconds + 0.01}")
    code, _, err = cli("submit", half, *dry, "--cutoff", f"{cat[1] + 0.01}")
    assert (code, err.count("\n")) == (0, 1)
    assert "not checked" in err
    assert "cut-off" in cli.refused("submit", half, *dry, "--cutoff", f"{cat[1] - 0.01}")


def test_a_dry_run_sends_and_records_nothing(
    lab: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LIME_TUNER_TOKEN")
    before = Path("lime-tuner.db").read_bytes()
    with scripted(found(0.375, 0.5)) as server:
        (lab / "lime-tuner.toml").write_text(f'catalog = "lab.toml"\nurl = "{server.url}"\n')
        document = json.loads(cli.ok("submit", "--dry-run", "--json"))
        assert (document["dry_run"], document["answer"]) == (True, None)
        assert "dry run" in cli.ok("submit", "--dry-run")
        assert server.asked == []
        assert "LIME_TUNER_TOKEN is not set" in cli.refused("submit", status=(2,))
    assert server.asked == []
    assert Path("lime-tuner.db").read_bytes() == before


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_what_is_worse_needs_a_yes(lab: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(found(0.5, 0.5)) as server:
        add_submission(DEFAULT_STORAGE, replace(ONE, url="http://other.example", avg_iou=1.0))
        add_submission(DEFAULT_STORAGE, replace(ONE, url=server.url, avg_iou=1.0, avg_time=0.1))
        add_submission(DEFAULT_STORAGE, replace(ONE, url=server.url, avg_iou=0.0, avg_time=0.1))
        slower = cli.refused("submit", "--url", server.url, status=(2,))
        assert "IoU" not in slower
        assert " s after 0.100 s" in slower
        add_submission(DEFAULT_STORAGE, replace(ONE, url=server.url, avg_iou=1.0, avg_time=9.0))
        lower = cli.refused("submit", "--url", server.url, status=(2,))
        assert "after 1.0000" in lower
        assert " s after" not in lower
        assert "--yes" in lower
        assert server.asked == []
        assert len(submissions(DEFAULT_STORAGE)) == 4

        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        for answer, status in (("n\n", 1), ("", 130)):
            monkeypatch.setattr(sys, "stdin", Terminal(answer))
            code, _, err = cli("submit", "--url", server.url)
            assert code == status
            assert "after 1.0000" in err
        assert server.asked == []
        monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
        assert json.loads(cli.ok("submit", "--url", server.url, "--json"))["answer"]
        assert len(server.asked) == 1
        add_submission(DEFAULT_STORAGE, replace(ONE, url=server.url, avg_iou=0.0, avg_time=9.0))
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        cli.ok("submit", "--url", server.url)  # better in both


def test_failures_are_one_line_and_record_nothing(
    lab: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    for reply, options, says in (
        (problem(401, f"{TOKEN} is no team's"), [], "*** is no team's"),
        (problem(429, "slowly", Retry_After="60"), [], "come back in 60 s"),
        (problem(500, "broken"), ["--retries", "0"], "500 (Sorry: broken), tried once"),
        ("hang", ["--timeout", "0.2"], "lime-tuner leaderboard"),
        (found("high", 1), [], "without a result"),
    ):
        with scripted(reply) as server:
            line = cli.refused("submit", "--url", server.url, "--json", *options, status=(1,))
        assert says in line
        assert len(server.asked) == 1
    assert "Connection refused" in cli.refused(
        "submit", "--url", server.url, "--json", "--retries", "0", status=(1,)
    )
    assert submissions(DEFAULT_STORAGE) == []

    def unknown(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    code, out, err = cli(
        "submit", "--url", "http://me:word@no-such-host.invalid", "--json", "--retries", "0"
    )
    assert (code, out) == (1, "")
    warned, unreachable = err.splitlines()
    assert "unencrypted" in warned
    assert "cannot be reached" in unreachable
    assert "word" not in err


def test_wrong_calls_send_nothing(lab: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    tuned = written("tuned.pkl")
    Path("evil.pkl").write_bytes(b"cposix\nsystem\n(S'touch canary'\ntR.")
    with sqlite3.connect("invoices.db") as connection:
        connection.execute("CREATE TABLE invoices (id INTEGER)")
    before = sorted(str(path) for path in lab.rglob("*"))
    with scripted(found(0.5, 1)) as server:
        to = ["--url", server.url]
        cases = [
            ([tuned], 2, "--url"),
            ([tuned, "--url", "server.example"], 2, "http://"),
            ([tuned, *to, "--cutoff", "-1"], 2, "cutoff"),
            ([tuned, *to, "--cutoff", "nan"], 2, "cutoff"),
            ([tuned, *to, "--timeout", "0"], 2, "timeout"),
            ([tuned, *to, "--retries", "-1"], 2, "--retries"),
            ([tuned, *to, "--catalog", "nowhere"], 2, "nowhere"),
            ([tuned, *to, "--storage", "sqlite:///invoices.db"], 1, "another program"),
            ([*to, "--study", "nothing"], 2, "named 'nothing' or 'nothing/…': it has lab"),
            (["gone.pkl", *to], 2, "gone.pkl"),
            (["evil.pkl", *to], 2, "posix"),
        ]
        for arguments, status, says in cases:
            assert says in cli.refused("submit", *arguments, status=(status,)), arguments
            assert sorted(str(path) for path in lab.rglob("*")) == before, arguments
        for change, says in (
            (lambda d: d.pop("cat"), "cat: is missing"),
            (lambda d: d.update(cow=d["cat"]), "cow: is not in the catalogue"),
            (lambda d: d["cat"].pop("labels"), "cat: has no labels"),
            (lambda d: d["cat"].update(progress_bar=True), "progress_bar"),
            (lambda d: d["cat"].update(num_samples=0), "num_samples"),
        ):
            line = cli.refused("submit", edited("wrong.pkl", change), *to, status=(2,))
            assert says in line
        for token in ("", " \n", f"{TOKEN}\nx", f"{TOKEN}ł"):
            monkeypatch.setenv("LIME_TUNER_TOKEN", token)
            line = cli.refused("submit", tuned, *to, status=(2,))
            assert "LIME_TUNER_TOKEN" in line
            assert TOKEN not in line
    assert server.asked == []
    assert not (lab / "canary").exists()
    assert submissions(DEFAULT_STORAGE) == []


def test_an_answer_that_cannot_be_recorded_is_shown(
    lab: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr("tuner.cli.servers.submit.add_submission", full)
    with scripted(found(0.375, 0.5)) as server:
        code, out, err = cli("submit", "--url", server.url, "--json")
        assert code == 1
        assert json.loads(out)["answer"] == {"avg_iou": 0.375, "avg_time": 0.5}
        assert err == "lime-tuner: the disk is full\n"
        code, out, _ = cli("submit", "--url", server.url)
    assert code == 1
    assert "0.3750" in out


def test_a_file_alone_is_enough(lab: Path, cli: Cli) -> None:
    """No database yet; one with the answer is made, and studies may come into it."""
    with scripted(found(0.375, 0.5)) as server:
        to = ["--url", server.url, "--storage", "sqlite:///new.db"]
        cli.ok("submit", written("mine.pkl"), *to, "--dry-run")
        assert not Path("new.db").exists()
        cli.ok("submit", "mine.pkl", *to)
    assert [each.avg_iou for each in submissions("sqlite:///new.db")] == [0.375]
    random_studies("sqlite:///new.db", "lab", KEYS, 1)
    assert set(json.loads(cli.ok("status", "--storage", "sqlite:///new.db", "--json"))) == {
        "lab/cat", "lab/dog [x]",
    }  # fmt: skip


def test_an_interrupted_wait_says_what_may_go_on(
    lab: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("studies.submission.client.request", interrupt)
    code, _, err = cli("submit", "--url", "http://127.0.0.1:9", "--json")
    assert code == 130
    assert "lime-tuner leaderboard" in err
    assert submissions(DEFAULT_STORAGE) == []


def test_the_token_is_nowhere(
    lab: Path, cli: Cli, caplog: pytest.LogCaptureFixture, cache: Path
) -> None:
    caplog.set_level("DEBUG")
    said = ""
    quick = ["--retries", "0", "--yes"]
    for reply in (
        found(0.5, 1, token=TOKEN),
        problem(401, f"token {TOKEN}"),
        (200, {}, f"token: {TOKEN}".encode()),
        (307, {"Location": f"http://me:{TOKEN}@127.0.0.1/{TOKEN}"}, b""),
        (500, {"Retry-After": TOKEN}, TOKEN.encode()),
    ):
        for options in ([], ["--json"]):
            with scripted(reply) as server:
                _, out, err = cli("submit", "--url", server.url, *quick, *options)
            assert server.asked[0].headers["token"] == TOKEN
            said += out + err
    assert "***" in said
    assert len(submissions(DEFAULT_STORAGE)) == 2

    # In a process of its own, at work: nobody who lists processes sees it.
    reached, seen = threading.Event(), threading.Event()

    def look(handler: BaseHTTPRequestHandler) -> None:
        reached.set()
        seen.wait(20)
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b'{"avg_iou": 0.5, "avg_time": 1}')

    with scripted(look) as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "tuner", "submit", "--url", server.url, "--yes"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )  # fmt: skip
        try:
            assert reached.wait(60)
            arguments = Path(f"/proc/{process.pid}/cmdline")
            listed = arguments.read_text() if arguments.exists() else ""
        finally:
            seen.set()
            out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert server.asked[0].headers["token"] == TOKEN
    assert TOKEN not in said + caplog.text + listed + out + err
    for folder in (lab, cache):
        for path in folder.rglob("*"):
            assert path.is_dir() or TOKEN.encode() not in path.read_bytes(), path


def test_the_board_with_our_own_results_marked(lab: Path, cli: Cli) -> None:
    lines = (
        "<tr><td>them</td><td>0.9000</td><td>1.0</td><td>Monday</td></tr>"
        "<tr><td>us [red]</td><td>0.3333</td><td>2.5</td><td>Tuesday</td></tr>"
        "<tr><td>them again</td><td>0.3333</td><td>2.6</td><td>Friday</td></tr>"
    )
    with scripted(page(TABLE.format(lines))) as server:
        add_submission(DEFAULT_STORAGE, replace(ONE, url=server.url, avg_iou=1 / 3, avg_time=2.46))
        document = json.loads(cli.ok("leaderboard", "--url", f"{server.url}/", "--json"))
        assert document["url"] == server.url
        assert document["rows"][0] == {
            "team": "them", "iou": 0.9, "seconds": 1.0, "submitted": "Monday", "ours": None,
        }  # fmt: skip
        assert [row["team"] for row in document["rows"]] == ["them", "us [red]", "them again"]
        assert [row["ours"] for row in document["rows"]] == [None, ONE.at.isoformat(), None]
        shown = cli.ok("leaderboard", "--url", server.url)
        (ours,) = [line for line in shown.splitlines() if "ours" in line]
        assert "us [red]" in ours
        assert "submitted at 2026-02-03 04:05 UTC" in ours
        for where in ("sqlite:///gone.db", "sqlite:///other.db"):
            cli.ok("leaderboard", "--url", server.url, "--storage", where)
            assert not Path(where.removeprefix("sqlite:///")).exists()
        assert {asked.headers.get("token") for asked in server.asked} == {None}
    with scripted(page(TABLE.format(""))) as server:
        assert "no result yet" in cli.ok("leaderboard", "--url", server.url)
    with scripted(problem(404, "no")) as server:
        assert "404" in cli.refused("leaderboard", "--url", server.url, status=(1,))
    assert "--url" in cli.refused("leaderboard", status=(2,))
