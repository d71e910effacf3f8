"""Where a grading server is: one spelling of its address, without the credentials in it."""

from __future__ import annotations

import base64
import ipaddress
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from explainers.errors import InvalidInput
from explainers.messages import one_line

__all__ = ["BOARD", "GRADING", "ServerAddress", "parse_address"]

GRADING = "lime"
BOARD = "score_board"
_PORTS = {"http": 80, "https": 443}
_LONGEST = 500  # what the table of submissions keeps


@dataclass(frozen=True)
class ServerAddress:
    """A grading server.

    Attributes:
        base: the URL below which its pages are: no slash at the end, no credentials. This is what
            is shown, recorded and compared.
        host: name or number, in lower case.
        authorization: a header's value, where the URL had credentials; never shown.
    """

    base: str
    host: str
    authorization: str | None = field(default=None, repr=False)

    def page(self, name: str) -> str:
        """The URL of :data:`GRADING` or :data:`BOARD`."""
        return f"{self.base}/{name}"

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine, so that nothing travels."""
        name = self.host.rstrip(".")
        if name == "localhost" or name.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False

    @property
    def is_encrypted(self) -> bool:
        """Whether what is sent there can be read on the way."""
        return self.base.startswith("https:")


def parse_address(url: str) -> ServerAddress:
    """A server's address, given with or without the name of a page at its end.

    Raises:
        InvalidInput: no http or https URL, or one with a query.
    """
    text = url.strip()
    # A message must not repeat credentials, nor what may be a key behind the path.
    shown = one_line(text.rpartition("@")[2].partition("?")[0].partition("#")[0])
    advice = "give http:// or https://, a host, and a path if it has one"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidInput(f"'{shown}' is no address of a grading server: {advice}") from error
    odd = "\\" in text or any(c.isspace() or not c.isprintable() for c in text)
    if parts.scheme not in _PORTS or not host or odd:
        raise InvalidInput(f"'{shown}' is no address of a grading server: {advice}")
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
    return ServerAddress(base, host, _basic(parts.username, parts.password))


def _basic(user: str | None, password: str | None) -> str | None:
    if not user and not password:
        return None
    pair = f"{unquote(user or '')}:{unquote(password or '')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"
