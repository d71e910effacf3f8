"""One request to a grading server: no redirect is followed, and what fails is said in words.

Messages are made here from what the operating system says, never from an exception's own text,
which may hold headers.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException, RemoteDisconnected
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit, urlunsplit

from explainers.errors import InvalidInput
from explainers.messages import one_line
from studies.server_address import ServerAddress

if TYPE_CHECKING:
    import requests

__all__ = ["Reply", "RequestFailure", "request"]

_BLOCK = 4096


@dataclass(frozen=True)
class Reply:
    """What a server answered.

    Attributes:
        headers: by name in lower case.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def redirection(self, page: str) -> str | None:
        """Where another page than the one asked is named, without credentials."""
        if not 300 <= self.status < 400 or "location" not in self.headers:
            return None
        try:
            target = urlsplit(urljoin(page, self.headers["location"]))
        except ValueError:
            return "somewhere that is no address"
        return one_line(urlunsplit(target._replace(netloc=target.netloc.rpartition("@")[2])))


class RequestFailure(Exception):
    """There is no reply.

    Attributes:
        again: asking once more may help, and does no harm.
        received: the server may have the request, and may be working on it.
    """

    def __init__(self, reason: str, *, again: bool = False, received: bool = False) -> None:
        super().__init__(reason)
        self.again, self.received = again, received


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
    """Ask for a page of a server.

    Args:
        file: name and content, sent as the multipart field ``file``.
        document: sent as JSON.
        read_seconds: for the answer, from the first byte sent to its last one.
        most_bytes: of an answer.

    Raises:
        RequestFailure: no answer, or not all of it.
        InvalidInput: an address that nothing can be sent to.
    """
    import requests
    import urllib3

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
            auth=_unchanged,
            # No proxy can reach what "this machine" means here.
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
    except (OSError, urllib3.exceptions.HTTPError) as error:  # requests' own are OSErrors
        raise _failure(error, time.monotonic() - start, connect_seconds, read_seconds) from None


def _unchanged(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
    """An ``auth`` that adds nothing; with none at all, requests would look into ``~/.netrc``."""
    return prepared


def _body(response: requests.Response, deadline: float, most_bytes: int) -> bytes:
    import requests
    import urllib3

    blocks: list[bytes] = []
    size = 0
    try:
        for block in response.iter_content(_BLOCK):
            blocks.append(block)
            size += len(block)
            if size > most_bytes:
                raise RequestFailure(f"sends more than {most_bytes:,} bytes", received=True)
            if time.monotonic() > deadline:
                raise RequestFailure("does not come to an end with its answer", received=True)
    except (RequestFailure, requests.RequestException, urllib3.exceptions.HTTPError) as error:
        if response.status_code >= 300:
            return b""  # the status says enough
        if isinstance(error, RequestFailure):
            raise
        raise RequestFailure("broke off in its answer", received=True) from None
    return b"".join(blocks)


def _failure(
    error: Exception, elapsed: float, connect_seconds: float, read_seconds: float
) -> RequestFailure:
    import requests
    import urllib3

    if isinstance(error, requests.ReadTimeout):
        return RequestFailure(f"gave no answer in {read_seconds:g} s", received=True)
    if isinstance(error, requests.ConnectTimeout):
        return RequestFailure(f"cannot be reached in {connect_seconds:g} s", again=True)
    reason = _reason(error)
    if isinstance(error, requests.exceptions.SSLError):
        return RequestFailure(f"offers no connection that can be trusted ({reason})")
    if isinstance(error, requests.exceptions.ProxyError):
        return RequestFailure(f"cannot be reached through the proxy ({reason})", again=True)
    if any(isinstance(cause, urllib3.exceptions.NewConnectionError) for cause in _causes(error)):
        return RequestFailure(f"cannot be reached ({reason})", again=True)
    if isinstance(error, requests.ConnectionError):
        # Whether it broke before or after the request was read cannot be told apart. So soon,
        # nothing has been worked out, and the same file again has the same result.
        return RequestFailure(
            f"broke the connection ({reason})", again=elapsed <= connect_seconds, received=True
        )
    return RequestFailure(f"cannot be asked ({reason})")


def _reason(error: Exception) -> str:
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return one_line(cause.verify_message)
        if isinstance(cause, ssl.SSLError) and cause.reason:
            return cause.reason.replace("_", " ").lower()
        if isinstance(cause, RemoteDisconnected):
            return "closed without an answer"
        if isinstance(cause, HTTPException):
            return "what it says is not HTTP"
        if isinstance(cause, OSError) and cause.strerror:
            return one_line(cause.strerror)
    return type(error).__name__


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and those it was made from, from the outside in."""
    waiting, seen = [error], set[int]()
    while waiting:
        cause = waiting.pop(0)
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        inner = [getattr(cause, "reason", None), cause.__cause__, cause.__context__, *cause.args]
        waiting += [each for each in inner if isinstance(each, BaseException)]
