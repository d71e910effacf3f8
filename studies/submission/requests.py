"""A grading server's address, and one request to it.

Addresses are normalised, without credentials. Redirects are not followed. Messages about failures
are made here from the operating system's reasons, never from an exception's own text, which may
hold headers.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException, RemoteDisconnected
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

import requests
import urllib3

from explainers.errors import InvalidInput
from explainers.messages import one_line

__all__ = ["BOARD", "GRADING", "Reply", "RequestFailure", "ServerAddress", "parse_address",
           "request"]  # fmt: skip

GRADING = "lime"
BOARD = "score_board"
_PORTS = {"http": 80, "https": 443}
_LONGEST = 500  # characters, the width of the column in the table of submissions
_BLOCK = 4096


@dataclass(frozen=True)
class ServerAddress:
    """A grading server.

    Attributes:
        base: the URL of its pages' folder, without a slash at the end and without credentials. It
            is shown, recorded and compared.
        host: name or IP address, in lower case.
        authorization: value of the header, where the URL had credentials; never shown.
    """

    base: str
    host: str
    authorization: str | None = field(default=None, repr=False)

    def page(self, name: str) -> str:
        """Return the URL of :data:`GRADING` or :data:`BOARD`."""
        return f"{self.base}/{name}"

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine, so that nothing is sent over a network."""
        name = self.host.rstrip(".")
        if name == "localhost" or name.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False

    @property
    def is_encrypted(self) -> bool:
        """Whether it is an https URL."""
        return self.base.startswith("https:")


def parse_address(url: str) -> ServerAddress:
    """Parse a server's address, with or without the name of a page at its end.

    Raises:
        InvalidInput: not an http or https URL, or one with a query or fragment.
    """
    text = url.strip()
    # Messages must show neither credentials nor a query, which may be a key.
    shown = one_line(text.rpartition("@")[2].partition("?")[0].partition("#")[0])
    advice = "give http:// or https://, a host, and a path if it has one"
    wrong = InvalidInput(f"'{shown}' is no address of a grading server: {advice}")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise wrong from error
    odd = "\\" in text or any(c.isspace() or not c.isprintable() for c in text)
    if parts.scheme not in _PORTS or not host or odd:
        raise wrong
    if "?" in text or "#" in text:
        raise InvalidInput(f"'{shown}' is followed by ? or #: {advice}, and nothing behind it")
    place = f"[{host}]" if ":" in host else host
    place += "" if port in (None, _PORTS[parts.scheme]) else f":{port}"
    path = parts.path.rstrip("/")
    for name in (GRADING, BOARD):
        path = path.removesuffix(f"/{name}")
    base = f"{parts.scheme}://{place}{path.rstrip('/')}"
    if len(base) > _LONGEST:
        raise InvalidInput(f"'{shown}' is longer than {_LONGEST} characters: {advice}")
    authorization = None
    if parts.username or parts.password:
        pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        authorization = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return ServerAddress(base, host, authorization)


@dataclass(frozen=True)
class Reply:
    """A server's reply.

    Attributes:
        headers: by name in lower case.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text; bytes that are not UTF-8 are replaced."""
        return self.body.decode("utf-8", errors="replace")

    @property
    def fields(self) -> dict[str, Any]:
        """The body's JSON object; empty where it is not one."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return document if isinstance(document, dict) else {}

    def redirection(self, page: str) -> str | None:
        """Return the target of a redirection, without credentials; ``None`` if it is none."""
        if not 300 <= self.status < 400 or "location" not in self.headers:
            return None
        try:
            target = urlsplit(urljoin(page, self.headers["location"]))
        except ValueError:
            return "somewhere that is no address"
        return one_line(urlunsplit(target._replace(netloc=target.netloc.rpartition("@")[2])))


class RequestFailure(Exception):
    """There is no reply, or one that says that the server failed.

    Attributes:
        again: whether repeating the request may help and is harmless.
        received: whether the server may have received the request.
        wait: seconds after which the server asks for a repetition; ``None`` if it does not.
    """

    def __init__(
        self, reason: str, *, again: bool = False, received: bool = False, wait: float | None = None
    ) -> None:
        super().__init__(reason)
        self.again, self.received, self.wait = again, received, wait


def request(
    method: str,
    address: ServerAddress,
    page: str,
    *,
    headers: Mapping[str, str] | None = None,
    file: tuple[str, bytes] | None = None,
    document: Mapping[str, Any] | None = None,
    connect_seconds: float,
    read_seconds: float,
    most_bytes: int,
) -> Reply:
    """Send one request.

    Args:
        file: name and content, sent as the multipart field ``file``.
        document: sent as JSON.
        connect_seconds: longest time to connect.
        read_seconds: longest time from the start of the request to the end of the reply.
        most_bytes: longest body of a reply.

    Raises:
        RequestFailure: there is no complete reply.
        InvalidInput: nothing can be sent to the address.
    """
    sent = dict(headers or {})
    if address.authorization is not None:
        sent["Authorization"] = address.authorization
    start = time.monotonic()
    try:
        with requests.request(
            method,
            address.page(page),
            headers=sent,
            files=None if file is None else {"file": (*file, "application/octet-stream")},
            json=document,
            auth=lambda prepared: prepared,  # without any, requests would read ~/.netrc
            # A proxy could not reach this machine's loopback address.
            proxies={"http": "", "https": ""} if address.is_loopback else None,
            timeout=(connect_seconds, read_seconds),
            allow_redirects=False,
            stream=True,
        ) as response:
            found = {name.lower(): value for name, value in response.headers.items()}
            body = _body(response, start + read_seconds, most_bytes)
            return Reply(response.status_code, found, body)
    except (
        requests.exceptions.InvalidURL,
        requests.exceptions.InvalidSchema,
        urllib3.exceptions.LocationValueError,
    ):
        raise InvalidInput(
            f"nothing can be sent to {address.base}: check the address, and the proxy in the "
            "environment if there is one"
        ) from None
    except requests.ReadTimeout:
        raise RequestFailure(f"gave no answer in {read_seconds:g} s", received=True) from None
    except requests.ConnectTimeout:
        raise RequestFailure(f"cannot be reached in {connect_seconds:g} s", again=True) from None
    except (OSError, urllib3.exceptions.HTTPError) as error:  # requests' own are OSErrors
        soon = time.monotonic() - start <= connect_seconds
        raise _failure(error, soon) from None


def _body(response: requests.Response, deadline: float, most_bytes: int) -> bytes:
    body = b""
    try:
        for block in response.iter_content(_BLOCK):
            body += block
            if len(body) > most_bytes:
                raise RequestFailure(f"sends more than {most_bytes:,} bytes", received=True)
            if time.monotonic() > deadline:
                raise RequestFailure("does not come to an end with its answer", received=True)
    except (RequestFailure, requests.RequestException, urllib3.exceptions.HTTPError) as error:
        if response.status_code >= 300:
            return b""  # the status is enough
        if isinstance(error, RequestFailure):
            raise
        raise RequestFailure("broke off in its answer", received=True) from None
    return body


def _failure(error: Exception, soon: bool) -> RequestFailure:
    causes = list(_causes(error))
    reason = next(filter(None, map(_reason, causes)), type(error).__name__)
    if isinstance(error, requests.exceptions.SSLError):
        return RequestFailure(f"offers no connection that can be trusted ({reason})")
    if isinstance(error, requests.exceptions.ProxyError):
        return RequestFailure(f"cannot be reached through the proxy ({reason})", again=True)
    if any(isinstance(cause, urllib3.exceptions.NewConnectionError) for cause in causes):
        return RequestFailure(f"cannot be reached ({reason})", again=True)
    if isinstance(error, requests.ConnectionError):
        # It is unknown whether the request was read before the connection broke. If it broke soon,
        # nothing was evaluated yet, and sending the same file again is harmless.
        return RequestFailure(f"broke the connection ({reason})", again=soon, received=True)
    return RequestFailure(f"cannot be asked ({reason})")


def _reason(cause: BaseException) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return one_line(cause.verify_message)
    if isinstance(cause, ssl.SSLError) and cause.reason:
        return cause.reason.replace("_", " ").lower()
    if isinstance(cause, RemoteDisconnected):
        return "closed without an answer"
    if isinstance(cause, HTTPException):
        return "what it says is not HTTP"
    return one_line(cause.strerror) if isinstance(cause, OSError) and cause.strerror else ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes, from the outermost inwards."""
    waiting, seen = [error], set[int]()
    while waiting:
        cause = waiting.pop(0)
        if id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            inner = [getattr(cause, "reason", None), cause.__cause__, cause.__context__]
            waiting += [e for e in (*inner, *cause.args) if isinstance(e, BaseException)]
