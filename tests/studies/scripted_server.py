"""A grading server on this machine that answers as it is told, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from studies.records import Submitted

ONE = Submitted(
    at=datetime(2026, 2, 3, 4, 5, 6, tzinfo=timezone.utc), url="https://lab.example",
    parameters_sha256="a" * 64, parameters={"cat": {"labels": [1], "segmentation_fn": None}},
    study="p", predicted_iou=0.5, predicted_time=1.5, avg_iou=1 / 3, avg_time=2.5,
)  # fmt: skip
"""A submission as it is recorded."""

Reply = tuple[int, dict[str, str], bytes] | Callable[[BaseHTTPRequestHandler], None]


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def parts(self) -> dict[str, tuple[str | None, bytes]]:
        """File name and content of every field of a multipart body."""
        head = f"Content-Type: {self.headers['content-type']}\r\n\r\n".encode()
        found = {}
        for part in message_from_bytes(head + self.body, policy=policy.HTTP).iter_parts():
            name = part.get_param("name", header="content-disposition")
            found[str(name)] = (part.get_filename(), part.get_payload(decode=True))
        return found


@dataclass
class ScriptedServer:
    """Where it listens, what it was asked, and an event that ends all hanging."""

    url: str
    asked: list[Asked] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def hang(self, handler: BaseHTTPRequestHandler) -> None:
        self.over.wait(20)

    @staticmethod
    def slam(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True


def found(iou: Any, seconds: Any, **further: Any) -> Reply:
    """A result."""
    body = json.dumps({"avg_iou": iou, "avg_time": seconds, **further}).encode()
    return 200, {"Content-Type": "application/json"}, body


def problem(status: int, detail: str, **headers: str) -> Reply:
    """A problem document."""
    body = json.dumps({"title": "Sorry", "detail": detail, "status": status}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, {"Content-Type": "application/problem+json", **named}, body


def page(html: str, kind: str = "text/html; charset=utf-8") -> Reply:
    return 200, {"Content-Type": kind}, html.encode()


@contextmanager
def scripted(*replies: Reply | str) -> Iterator[ScriptedServer]:
    """A server that gives one reply after the other, the last one for ever.

    ``"hang"`` and ``"slam"`` are replies too.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            made.asked.append(Asked(self.command, self.path, headers, body))
            reply = replies[min(len(made.asked), len(replies)) - 1]
            if isinstance(reply, str):
                getattr(made, reply)(self)
            elif callable(reply):
                reply(self)
            else:
                status, given, content = reply
                self.send_response(status)
                for name, value in given.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        block_on_close = False

        def handle_error(self, *_: Any) -> None:
            """Clients that went away are what is tested."""

    server = Server(("127.0.0.1", 0), Handler)
    made = ScriptedServer(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
