"""Post a JSON document to a URL that the user gave, when a job ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from explainers.errors import InvalidInput
from studies.submission.requests import RequestFailure, ServerAddress, parse_address, request

__all__ = ["NotifyAddress", "notify", "parse_notify_address"]

_CONNECT_SECONDS, _READ_SECONDS = 3.0, 7.0
_MOST_BYTES = 100_000


@dataclass(frozen=True)
class NotifyAddress(ServerAddress):
    """The address of a notification.

    Attributes:
        base: scheme and host. Only these are shown, as path and query may be a secret.
        target: the complete URL without credentials.
    """

    target: str = field(default="", repr=False)

    def page(self, name: str) -> str:
        """Return ``target`` for any name, as there is only one page."""
        return self.target


def parse_notify_address(url: str) -> NotifyAddress:
    """Parse the address of a notification.

    Raises:
        InvalidInput: not an http or https URL. The message shows at most scheme and host.
    """
    try:
        parts = urlsplit(url.strip())
        known = parse_address(urlunsplit(parts._replace(path="", query="", fragment="")))
    except (ValueError, InvalidInput) as error:
        raise InvalidInput(
            "what --notify has is no address to post to: give http:// or https:// and a host"
        ) from error
    if any(c.isspace() or not c.isprintable() for c in url.strip()):
        raise InvalidInput(f"the address at {known.base} has odd characters: check --notify")
    target = f"{known.base}{parts.path or '/'}{parts.query and '?' + parts.query}"
    return NotifyAddress(known.base, known.host, known.authorization, target)


def notify(address: NotifyAddress, document: Mapping[str, Any]) -> str:
    """Post a document, and return one line on what went wrong; empty if nothing did."""
    try:
        reply = request(
            "POST", address, "", document=document, connect_seconds=_CONNECT_SECONDS,
            read_seconds=_READ_SECONDS, most_bytes=_MOST_BYTES,
        )  # fmt: skip
    except (RequestFailure, InvalidInput) as error:
        return f"{address.base} {error}" if isinstance(error, RequestFailure) else str(error)
    if 300 <= reply.status < 400:
        return f"{address.base} answers {reply.status}, and redirections are not followed"
    return "" if reply.status < 300 else f"{address.base} answers {reply.status}"
