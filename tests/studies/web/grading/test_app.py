"""The protocol over HTTP, with slots that answer at once."""

from __future__ import annotations

import json
import logging
import pickle
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from studies.records.grades import newest_grades
from studies.web.evaluator import EvaluationRefused, EvaluatorDied, Limits
from studies.web.grading import GradingService, create_app
from studies.web.tokens import read_tokens
from tests.studies.export.hostile_pickles import entry, out_of_bounds, unreadable
from tests.studies.web.grading.tasks import KEYS, FakeEvaluator, demo_task

TEAMS = {f"token-of-{team}": team for team in ("red", "blue", "gr<e>en")}


def _pickled(**changes: Any) -> bytes:
    return pickle.dumps({key: entry(**changes) for key in KEYS})


@pytest.fixture
def service(tmp_path: Path) -> GradingService:
    tokens = tmp_path / "tokens"
    tokens.write_text("".join(f"{team} {token}\n" for token, team in TEAMS.items()))
    return GradingService(
        demo_task(), read_tokens(tokens), Limits(), f"sqlite:///{tmp_path / 'g.db'}",
        (FakeEvaluator(),), per_hour=1000,
    )  # fmt: skip


@pytest.fixture
def client(service: GradingService) -> Iterator[TestClient]:
    with TestClient(create_app(service), raise_server_exceptions=False) as made:
        yield made


def _post(client: TestClient, data: bytes, team: str = "red") -> Any:
    return client.post("/lime", files={"file": data}, headers={"token": f"token-of-{team}"})


def _problem(answer: Any, status: int) -> str:
    """The detail of a problem document."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == status
    assert "\n" not in document["detail"]
    return str(document["detail"])


def test_a_submission_is_answered_and_on_the_board(client: TestClient) -> None:
    for team, samples in (("blue", 900), ("red", 1000), ("gr<e>en", 800), ("red", 500)):
        answer = _post(client, _pickled(num_samples=samples), team)
        assert answer.status_code == 200
        assert answer.json() == {"avg_iou": pytest.approx(samples / 10_000), "avg_time": 1.0}
    board = client.get("/api/score_board").json()
    assert [(row["place"], row["team"], row["submissions"]) for row in board] == [
        (1, "blue", 1), (2, "gr<e>en", 1), (3, "red", 2),
    ]  # fmt: skip
    assert board[2]["avg_iou"] == pytest.approx(0.05)  # the newer one, though worse
    page = client.get("/score_board").text
    assert page.index("blue") < page.index("gr&lt;e&gt;en") < page.index(">red<")
    assert "0.0900" in page
    by_team = client.get("/score_board?sort=team").text
    assert 'aria-sort="ascending"' in by_team
    for nonsense in ("?sort=nonsense", "?sort=", "?sort=%00"):
        assert client.get(f"/score_board{nonsense}").text == page
    assert not re.search(r"(src|href)=.?(https?:)?//", page)
    assert client.get("/healthz").json() == {"ok": True, "waiting": 0}


def test_an_empty_board_says_so(client: TestClient) -> None:
    assert "No submission" in client.get("/score_board").text
    assert client.get("/api/score_board").json() == []


def test_hostile_uploads_are_refused_and_change_nothing(
    client: TestClient, service: GradingService, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    for name, data in unreadable(canary).items():
        status = 413 if len(data) > Limits().upload_bytes else 400
        assert _problem(_post(client, data), status), name
        assert not canary.exists(), name
    assert newest_grades(service.storage) == []
    assert _post(client, _pickled()).status_code == 200


def test_what_is_out_of_bounds_is_refused(client: TestClient) -> None:
    for name, cheat in out_of_bounds().items():
        document = {KEYS[0] if key == "one" else key: value for key, value in cheat.items()}
        document = {**{key: entry() for key in KEYS[1:]}, **document}
        answer = _post(client, pickle.dumps({} if name == "no document" else document))
        # What no parameter may be is refused while the pickle is read, the rest by its bounds.
        assert _problem(answer, 400 if answer.status_code == 400 else 422), name


def test_the_token_comes_before_the_body(client: TestClient) -> None:
    for headers in ({}, {"token": ""}, {"token": "wrong"}, {"token": "token-of-rED"}):
        assert "token" in _problem(client.post("/lime", content=b"x", headers=headers), 401)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"content": b"x" * 10}, 400),
        ({"content": b"", "headers": {"content-type": "multipart/form-data"}}, 400),
        ({"content": b"xx", "headers": {"content-type": "multipart/form-data; boundary=a"}}, 400),
        ({"files": {"another": b"x"}}, 400),
        ({"files": {"file": b""}}, 400),
        ({"files": [("file", b"a"), ("file", b"b")]}, 400),
        ({"data": {"file": "text"}, "files": {"x": b"1"}}, 400),
        ({"content": b"x", "headers": {"content-length": "1000000000",
          "content-type": "multipart/form-data; boundary=a"}}, 413),
    ],
)  # fmt: skip
def test_other_bodies_are_refused(client: TestClient, sent: dict[str, Any], status: int) -> None:
    headers = {"token": "token-of-red", **sent.pop("headers", {})}
    assert _problem(client.post("/lime", headers=headers, **sent), status)


def test_a_body_without_a_length_is_counted(client: TestClient) -> None:
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        yield b'--a\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
        for _ in range(1000):
            read += 1
            yield b"x" * 10_000

    headers = {"token": "token-of-red", "content-type": "multipart/form-data; boundary=a"}
    assert _problem(client.post("/lime", content=endless(), headers=headers), 413)


def test_what_fails_is_told_apart(client: TestClient, service: GradingService) -> None:
    (slot,) = service.evaluators
    assert isinstance(slot, FakeEvaluator)
    slot.failure = EvaluationRefused("longer than the cut-off of 600 s")
    assert "cut-off" in _problem(_post(client, _pickled()), 422)
    slot.failure = EvaluatorDied("signal 11 in /secret/place")
    answer = _post(client, _pickled())
    assert "secret" not in _problem(answer, 503)
    assert int(answer.headers["retry-after"]) > 0
    slot.failure = None
    assert _post(client, _pickled()).status_code == 200


def test_a_full_queue_and_a_busy_team_are_told_when_to_come_back(service: GradingService) -> None:
    (slot,) = service.evaluators
    assert isinstance(slot, FakeEvaluator)
    slot.gate.clear()
    small = replace(service, capacity=1)
    with TestClient(create_app(small)) as client, ThreadPoolExecutor(4) as pool:
        first = pool.submit(_post, client, _pickled(), "red")
        assert slot.busy.wait(5)
        second = pool.submit(_post, client, _pickled(), "blue")
        while client.get("/healthz").json()["waiting"] != 1:
            threading.Event().wait(0.01)
        full, again = _post(client, _pickled(), "gr<e>en"), _post(client, _pickled(), "red")
        assert "waiting" in _problem(full, 503)
        assert "not answered" in _problem(again, 429)
        assert all(int(answer.headers["retry-after"]) > 0 for answer in (full, again))
        slot.gate.set()
        assert [f.result(10).status_code for f in (first, second)] == [200, 200]


def test_so_many_submissions_an_hour(service: GradingService) -> None:
    with TestClient(create_app(replace(service, per_hour=2))) as client:
        assert [_post(client, _pickled()).status_code for _ in range(2)] == [200, 200]
        answer = _post(client, _pickled())
        assert "2 times an hour" in _problem(answer, 429)
        assert 3000 < int(answer.headers["retry-after"]) <= 3600
        assert _post(client, _pickled(), "blue").status_code == 200


def test_the_log_has_a_line_a_submission_and_no_token(
    client: TestClient, service: GradingService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    _post(client, _pickled())
    _post(client, b"nonsense", "blue")
    client.post("/lime", headers={"token": "token-of-nobody"})
    lines = [json.loads(r.getMessage()) for r in caplog.records if r.name == "lime_tuner.grade"]
    assert [(line["status"], line["team"]) for line in lines] == [
        (200, "red"), (400, "blue"), (401, None),
    ]  # fmt: skip
    assert "token-of" not in caplog.text
    database = Path(service.storage.removeprefix("sqlite:///"))
    assert b"token-of" not in b"".join(f.read_bytes() for f in database.parent.glob("g.db*"))
