"""Sending: what is sent, what is tried again, and every failure as one line without the token."""

from __future__ import annotations

import json
import socket
import time
import traceback
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explainers.errors import InvalidInput, LimeTunerError
from studies.submission.client import Answer, check_token, send, unencrypted_warning
from studies.submission.requests import parse_address
from tests.studies.scripted_server import Reply, found, problem, scripted

TOKEN = 'team 7/"s3cret"&<é>'
DATA = b"\x80\x04}\x94." + bytes(range(256))


@pytest.fixture(autouse=True)
def nothing_from_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    """A ``.netrc`` and a proxy that must not be used here; and no token in any log."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password unasked\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    caplog.set_level("DEBUG")
    yield
    assert "s3cret" not in caplog.text


def failure(url: str, **options: Any) -> tuple[str, list[float]]:
    """The message, and the pauses before it."""
    pauses: list[float] = []
    messages: list[str] = []
    with pytest.raises(LimeTunerError) as caught:
        send(url, TOKEN, DATA, pause=pauses.append, on_message=messages.append, **options)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert len(messages) == len(pauses)
    for text in (*messages, "".join(traceback.format_exception(caught.value))):
        assert "s3cret" not in text
        assert "Traceback" not in text.removeprefix("Traceback")  # no chain of exceptions
    return message, pauses


@pytest.mark.parametrize("end", ["", "/", "/lime", "/lime/"])
def test_the_pickle_arrives_as_the_protocol_says(end: str) -> None:
    with scripted(found(0.5, 1.25, rank=3)) as server:
        assert send(server.url + end, f" {TOKEN}\n", DATA) == Answer(0.5, 1.25)
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/lime")
    assert asked.headers["token"] == TOKEN  # as Latin-1
    assert "authorization" not in asked.headers
    assert asked.parts() == {"file": ("explain_params.pkl", DATA)}


def test_credentials_of_the_address_are_sent_and_never_shown() -> None:
    with scripted(found(0.5, 1)) as server:
        url = server.url.replace("://", "://me:pass%40word@")
        send(f"{url}/course", TOKEN, DATA)
    assert server.asked[0].path == "/course/lime"
    assert server.asked[0].headers["authorization"] == "Basic bWU6cGFzc0B3b3Jk"
    message, _ = failure(url, retries=0)  # it is closed now
    assert server.url in message
    assert "pass" not in message
    assert "bWU6" not in repr(parse_address(url))


IN_A_YEAR = format_datetime(datetime.now(timezone.utc) + timedelta(days=365), usegmt=True)


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (problem(401, "no such team"), "401 (Sorry: no such team): check the token in LIME_TUNER"),
        (problem(403, f"who is {TOKEN}?"), "who is ***?"),
        ((404, {}, b"<html>not here</html>"), "404 (Not Found): nothing is graded there"),
        (problem(413, "1 MB at most"), "1 MB at most"),
        ((418, {}, b"I am\na \x1b[31mteapot"), "418 (I am a [31mteapot): nothing was graded"),
        (problem(422, "house: num_samples must be a number"), "house: num_samples must be"),
        (problem(429, "slowly", Retry_After="90"), "come back in 90 s, at 20"),
        (problem(429, "slowly", Retry_After=IN_A_YEAR), "come back in 315"),
        (problem(429, "slowly", Retry_After="soon"), "come back later"),
        (problem(429, "slowly"), "come back later"),
        (problem(503, "down", Retry_After="3600"), "come back in 3600 s"),
        ((307, {"Location": "https://me:word@other.example/lime"}, b""),
         "redirects to https://other.example/lime: the token is not sent there"),
        ((302, {"Location": f"/login?{quote(TOKEN)}"}, b""), "/login?***: the token is not sent"),
        ((304, {}, b""), "304 (Not Modified)"),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_a_refusal_is_final(reply: Reply, says: str) -> None:
    with scripted(reply, found(0.5, 1)) as server:
        message, pauses = failure(server.url)
    assert says in message
    assert "word" not in message
    assert (len(server.asked), pauses) == (1, [])


@pytest.mark.parametrize(
    "body",
    [
        b"", b"thank you", b"[0.5, 1]", b"<html>" + b"x" * 300, b"[" * 100_000, b"\xff\xfe\x00",
        json.dumps({"avg_time": 1}).encode(),
        b'{"avg_iou": NaN, "avg_time": 1}', b'{"avg_iou": 0.5, "avg_time": Infinity}',
        b'{"avg_iou": 0.5, "avg_time": 1e999}', b'{"avg_iou": 0.5, "avg_time": 1' + b"0" * 400
        + b"}", b'{"avg_iou": true, "avg_time": 1}', b'{"avg_iou": "0.5", "avg_time": 1}',
        b'{"avg_iou": 1.01, "avg_time": 1}', b'{"avg_iou": -0.1, "avg_time": 1}',
        b'{"avg_iou": 0.5, "avg_time": -1}', b'{"avg_iou": 0.5, "avg_time": null}',
    ],
    ids=lambda body: repr(body[:30]),
)  # fmt: skip
def test_a_reply_without_a_result_is_none(body: bytes) -> None:
    with scripted((200, {}, body)) as server:
        message, pauses = failure(server.url)
    assert "without a result" in message
    assert len(message) < 120 + 200
    assert (len(server.asked), pauses) == (1, [])


@pytest.mark.parametrize("status", [200, 400, 401, 429, 500])
@pytest.mark.parametrize(
    "write",
    [
        str, str.upper, json.dumps, quote, repr, lambda token: quote(token, safe=""),
        lambda token: json.dumps({"detail": f"{'no ' * 95}{token}"}),
        lambda token: f"{'x ' * 55}{token}",
    ],
)  # fmt: skip
def test_an_echoed_token_is_not_repeated(status: int, write: Any) -> None:
    with scripted((status, {}, write(TOKEN).encode())) as server:
        message, _ = failure(server.url, retries=0)
    assert "3cre" not in message.lower()


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_that_fails_is_asked_again(status: int) -> None:
    pauses: list[float] = []
    messages: list[str] = []
    with scripted(problem(status, "a moment"), "slam", found(0.25, 2)) as server:
        answer = send(server.url, TOKEN, DATA, pause=pauses.append, on_message=messages.append)
    assert answer == Answer(0.25, 2)
    assert pauses == [1, 2]
    assert "again in 1 s (1 of 3)" in messages[0]
    assert "broke the connection" in messages[1]
    assert [asked.parts() for asked in server.asked] == [server.asked[0].parts()] * 3


def test_a_server_that_always_fails_is_given_up() -> None:
    with scripted(problem(500, "broken")) as server:
        message, pauses = failure(server.url, retries=3)
        assert "500 (Sorry: broken), tried 4 times" in message
        assert pauses == [1, 2, 4]
        assert len(server.asked) == 4
        assert "tried once" in failure(server.url, retries=0)[0]
        assert len(server.asked) == 5


@pytest.mark.parametrize(("status", "expected"), [(503, [7, 2]), (500, [1, 2])])
def test_an_overloaded_server_says_when(status: int, expected: list[float]) -> None:
    pauses: list[float] = []
    with scripted(
        problem(status, "busy", Retry_After="7"), problem(status, "busy"), found(1, 0)
    ) as server:
        assert send(server.url, TOKEN, DATA, pause=pauses.append) == Answer(1, 0)
    assert pauses == expected


def test_nobody_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        message, pauses = failure(f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert "cannot be reached (Connection refused), tried 4 times" in message
    assert pauses == [1, 2, 4]


def test_no_such_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    message, pauses = failure("http://no-such-host.invalid", retries=1)
    assert "no-such-host.invalid cannot be reached (Name or service not known)" in message
    assert pauses == [1]


def test_no_tls_where_it_is_asked_for() -> None:
    with scripted(found(0.5, 1)) as server:
        message, pauses = failure(server.url.replace("http:", "https:"))
    assert "can be trusted (" in message
    assert message.endswith(": nothing was sent")
    assert (server.asked, pauses) == ([], [])


def test_a_proxy_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://me:word@127.0.0.1:9")
    message, _ = failure("http://lab.example", retries=0)
    assert "proxy (Connection refused)" in message
    assert "word" not in message


def drip(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" " * 4096)
        time.sleep(0.02)


def half(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    handler.wfile.write(b'{"avg_iou": 0.5, ')


def late_slam(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(0.4)


def flood(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(b" " * 2_000_000)


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        ("hang", "gave no answer in 0.3 s"), (drip, "does not come to an end"),
        (half, "broke off"), (late_slam, "broke the connection (closed without an answer)"),
        (flood, "more than 1,000,000 bytes"), ((202, {}, b"later"), "without a result"),
    ],
)  # fmt: skip
def test_what_may_still_be_evaluated_is_not_sent_again(reply: Any, says: str) -> None:
    patience = 5 if reply is late_slam else 0.3
    with scripted(reply, found(0.5, 1)) as server:
        message, pauses = failure(server.url, connect_seconds=0.2, read_seconds=patience)
    assert says in message
    assert "lime-tuner leaderboard" in message
    assert (len(server.asked), pauses) == (1, [])


def test_what_is_not_http() -> None:
    def other(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(f"SSH-2.0 {TOKEN}\r\n".encode())

    with scripted(other) as server:
        message, _ = failure(server.url, retries=0)
    assert "is not HTTP" in message


@pytest.mark.parametrize("token", ["", " \n", "s3cret\nx", "s3cret\rx", "s3cret\x00", "s3cretł"])
def test_a_token_that_no_header_can_carry(token: str) -> None:
    with scripted(found(0.5, 1)) as server, pytest.raises(InvalidInput) as caught:
        send(server.url, token, DATA)
    assert "LIME_TUNER_TOKEN" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert server.asked == []
    assert check_token(" s3cret\n") == "s3cret"


@pytest.mark.parametrize(
    "url",
    [
        "", "server.example", "//server.example", "ftp://server.example", "http://", "http:///lime",
        "http://me:pass@server.example:port", "http://me:pass@server.example:99999",
        "http://[::1", "http://server.example/?key=pass", "http://server.example/#pass?",
        "http://ser ver.example", "http://server.example/\x1b[2J", "http://a\\@server.example",
        "me:pass@server.example", f"http://server.example/{'x' * 600}",
    ],
)  # fmt: skip
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_address(url)
    message = str(caught.value)
    assert message.isprintable()
    assert "pass" not in message
    assert len(message) < 300


@given(
    st.sampled_from(["http", "HTTPS"]),
    st.sampled_from(["", "me@", "me:pass@", ":pass@"]),
    st.sampled_from(["Lab.example", "127.0.0.1", "[::1]", "localhost"]),
    st.sampled_from(["", ":80", ":443", ":8000"]),
    st.sampled_from(["", "/", "/course", "/course/", "/lime2"]),
    st.sampled_from(["", "/lime", "/lime/", "/score_board"]),
)
def test_an_address_has_one_spelling(
    scheme: str, who: str, host: str, port: str, path: str, end: str
) -> None:
    address = parse_address(f" {scheme}://{who}{host}{port}{path.rstrip('/')}{end}\n")
    assert parse_address(address.base).base == address.base
    assert address.base == parse_address(f"{scheme.lower()}://{host.lower()}{port}{path}").base
    assert address.page("lime") == f"{address.base}/lime"
    assert (address.authorization is None) == (who == "")
    default_port = {"http": ":80", "https": ":443"}[scheme.lower()]
    kept = "" if port == default_port else port
    assert address.base == f"{scheme.lower()}://{host.lower()}{kept}{path.rstrip('/')}"
    warned = unencrypted_warning(address) is not None
    assert warned == (scheme == "http" and host == "Lab.example")
