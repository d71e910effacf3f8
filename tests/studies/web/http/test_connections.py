"""Who takes connections and asks for nothing does not keep others out."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import requests
from fastapi import FastAPI
from starlette.responses import StreamingResponse

from studies.web.http import ConnectionLimits, connection_limits
from studies.web.listener import bound_socket
from tests.studies.web.grading.live import serving
from tests.studies.web.http.crowded_server import small_app

_ROOT = Path(__file__).resolve().parents[4]
_HEAD = b"GET /at-once HTTP/1.1\r\nHost: localhost\r\n"
_LIMITS = ConnectionLimits(open=6, busy=3, head_seconds=0.6, write_seconds=0.6)


def _app() -> FastAPI:
    app = small_app()

    @app.get("/later")
    async def later() -> str:
        await asyncio.sleep(1.2)
        return "here"

    @app.get("/endless")
    async def endless() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            while True:
                await asyncio.sleep(0)
                yield b"x" * 100_000

        return StreamingResponse(parts())

    return app


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(_app(), _LIMITS) as served:
        yield served


def _connected(url: str, sent: bytes = b"") -> socket.socket:
    parts = urlsplit(url)
    made = socket.create_connection((str(parts.hostname), parts.port or 0), 5)
    made.sendall(sent)
    return made


def _seconds_until_closed(made: socket.socket, *, trickle: bytes = b"") -> float:
    start = time.monotonic()
    made.settimeout(0.1)
    while time.monotonic() - start < 5:
        try:
            if trickle:
                made.sendall(trickle)
            if not made.recv(100_000):
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - start


@pytest.mark.parametrize(
    ("sent", "trickle"),
    [
        (b"", b""),
        (_HEAD, b""),
        (_HEAD, b"X: y\r\n"),
        (_HEAD + b"\r\n", b""),
        (_HEAD + b"\r\n", b"\r\n"),
        (_HEAD + b"Content-Length: 1000000\r\n\r\n", b"x"),
        (b"\x16\x03\x01", b"\x00"),
    ],
    ids=["silent", "half a head", "head for ever", "kept alive", "kept awake", "body", "TLS"],
)
def test_whoever_does_not_ask_is_closed(url: str, sent: bytes, trickle: bytes) -> None:
    with closing(_connected(url, sent)) as made:
        assert _seconds_until_closed(made, trickle=trickle) < 2 * _LIMITS.head_seconds


@pytest.mark.parametrize(
    "sent",
    [
        b"GET\r\n\r\n", b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n", b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", b"\0" * 100_000,
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 100_000,
        b"GET / HTTP/1.1\r\nHost: a\r\n x: folded\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 4000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"
        b"0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 500 + b"\r\n",
        b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\nHost: [\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: [::1]:abc\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nExpect: the-unexpected\r\nContent-Length: 1\r\n\r\nx",
    ],
    ids=lambda sent: repr(sent[:60]),
)  # fmt: skip
def test_malformed_bytes_on_the_socket(url: str, sent: bytes) -> None:
    with closing(_connected(url, sent)) as made:
        answer = _received(made)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer[:200]


def test_a_request_may_take_longer_than_its_head_may(url: str) -> None:
    assert requests.get(f"{url}/later", timeout=10).json() == "here"


def test_who_does_not_read_is_closed(url: str) -> None:
    with closing(_connected(url, b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")) as made:
        time.sleep(3 * _LIMITS.write_seconds)
        received = 0
        while part := _received(made):
            received += len(part)
        assert received > 100_000


def _received(made: socket.socket) -> bytes:
    try:
        return made.recv(1 << 20)
    except ConnectionError:
        return b""


def test_the_one_that_has_waited_longest_makes_room(url: str) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(closing(_connected(url))) for _ in range(_LIMITS.open)]
        assert requests.get(f"{url}/at-once", timeout=5).ok
        silent[0].settimeout(0.3)
        assert silent[0].recv(1) == b""
        silent[-1].sendall(_HEAD + b"\r\n")  # it is still welcome
        assert silent[-1].recv(100).startswith(b"HTTP/1.1 200")


def test_who_finds_all_busy_is_told_so(url: str) -> None:
    asked = b"GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with ExitStack() as stack:
        busy = [stack.enter_context(closing(_connected(url, asked))) for _ in range(_LIMITS.busy)]
        time.sleep(0.2)
        answer = requests.get(f"{url}/at-once", timeout=5)
        assert (answer.status_code, answer.headers["connection"]) == (503, "close")
        assert int(answer.headers["retry-after"]) > 0
        assert "too many" in answer.json()["detail"]
        assert all(made.recv(100).startswith(b"HTTP/1.1 200") for made in busy)
    assert requests.get(f"{url}/at-once", timeout=5).ok


def test_limits_leave_descriptors_for_the_rest() -> None:
    limits = connection_limits()
    assert 8 <= limits.open <= 512
    assert 0 < limits.busy < limits.open


def test_hundreds_of_silent_clients_at_a_low_limit_of_descriptors(tmp_path: Path) -> None:
    """An honest one is answered meanwhile, the log stays short, and the process at rest."""
    log = tmp_path / "log"
    with log.open("w") as written:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.studies.web.http.crowded_server", "40"],
            stdout=subprocess.PIPE, stderr=written, text=True, cwd=_ROOT,
        )  # fmt: skip
    assert server.stdout is not None
    with server, server.stdout, ExitStack() as stack:
        stack.callback(server.kill)
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        with closing(_connected(url, _HEAD + b"\r\n")) as first:
            assert first.recv(100).startswith(b"HTTP/1.1 200")
        silent = [stack.enter_context(closing(_connected(url))) for _ in range(250)]
        start = time.monotonic()
        assert all(requests.get(f"{url}/at-once", timeout=10).ok for _ in range(5))
        assert time.monotonic() - start < 5
        used = _cpu_seconds(server.pid)
        time.sleep(0.5)
        assert _cpu_seconds(server.pid) - used < 0.3
        assert len(silent) == 250
        assert log.stat().st_size < 5_000, log.read_text()[:2000]
        server.send_signal(signal.SIGHUP)
        assert server.wait(60) == -signal.SIGHUP


def _cpu_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def test_without_a_descriptor_a_connection_is_turned_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It leaves the queue, so that nobody asks for it again and again."""
    with bound_socket("127.0.0.1", 0) as bound:
        bound.listen()
        bound.setblocking(False)
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        with closing(_connected(url)) as refused, closing(_connected(url)):
            accept, failed = socket.socket.accept, []

            def out_of_them(self: socket.socket) -> object:
                if not failed:
                    failed.append(self)
                    raise OSError(errno.EMFILE, "Too many open files")
                return accept(self)

            monkeypatch.setattr(socket.socket, "accept", out_of_them)
            with pytest.raises(BlockingIOError):
                bound.accept()
            assert refused.recv(1) == b""
            assert "turned away" in caplog.text
            bound.accept()[0].close()
            with pytest.raises(BlockingIOError):
                bound.accept()
