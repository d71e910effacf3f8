"""Send a pickle of LIME parameters to a grading server: ``POST URL/lime``.

The server evaluates while the connection is open, which can take many minutes. A team's newer
result replaces its older one, so a request that may have been received is not repeated.
"""

from __future__ import annotations

import html
import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from http.client import responses
from typing import Any
from urllib.parse import quote, quote_plus

from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from explainers.errors import InvalidInput, SubmissionError
from explainers.messages import one_line
from studies.submission.requests import (
    GRADING,
    Reply,
    RequestFailure,
    ServerAddress,
    parse_address,
    request,
)

__all__ = ["Answer", "check_token", "send", "unencrypted_warning"]

_FILE_NAME = "explain_params.pkl"
_LONGEST_WAIT = 120.0
_FAR = 10**9  # seconds, an upper limit of times that servers name
_MOST_BYTES = 1_000_000
_DETAIL = 300
_ADVICE = {
    401: "check the token in LIME_TUNER_TOKEN",
    403: "check the token in LIME_TUNER_TOKEN",
    404: "nothing is graded there, check the address",
    405: "nothing is graded there, check the address",
    413: "the file is larger than it accepts",
}
_LOOK = (
    "the evaluation may still go on, look at the score board with lime-tuner leaderboard before "
    "sending again"
)


@dataclass(frozen=True)
class Answer:
    """Result of a submission.

    Attributes:
        avg_iou: mean over the images, in [0, 1].
        avg_time: mean seconds an image.
    """

    avg_iou: float
    avg_time: float


def check_token(token: str) -> str:
    """Return the token without surrounding white space.

    Raises:
        InvalidInput: it cannot be sent as a header. The message does not contain it.
    """
    stripped = token.strip()
    if not stripped:
        raise InvalidInput("the token is empty: put your team's into LIME_TUNER_TOKEN")
    if not stripped.isprintable() or any(ord(character) > 255 for character in stripped):
        raise InvalidInput(
            "the token has line breaks or letters that no HTTP header can carry: put your team's "
            "into LIME_TUNER_TOKEN as it was given out"
        )
    return stripped


def unencrypted_warning(address: ServerAddress) -> str | None:
    """Return a warning for an address to which the token would travel unencrypted."""
    if address.is_encrypted or address.is_loopback:
        return None
    return f"the token travels unencrypted to {address.base}: use https if the server has it"


def send(
    url: str,
    token: str,
    data: bytes,
    *,
    connect_seconds: float = 10,
    read_seconds: float = 900,
    retries: int = 3,
    pause: Callable[[float], None] = time.sleep,
    on_message: Callable[[str], None] = lambda _: None,
) -> Answer:
    """Send a pickle and wait for its evaluation.

    If the server cannot be reached or fails (5xx), the request is repeated after 1, 2, 4, ...
    seconds, or after the time that a 503 names. It is not repeated if the server refuses it (4xx)
    or does not answer in time.

    Args:
        url: the server's, with or without ``/lime`` at its end.
        data: the pickle.
        connect_seconds: longest time to connect.
        read_seconds: longest time until the result.
        retries: number of repetitions.
        pause: sleeps for so many seconds.
        on_message: called with one line before every repetition.

    Raises:
        InvalidInput: see :func:`check_token` and :func:`studies.submission.requests.parse_address`.
        SubmissionError: there is no result. The message never contains the token.
    """
    address, token = parse_address(url), check_token(token)
    tries = 0
    while True:
        tries += 1
        try:
            reply = request(
                "POST", address, GRADING, headers={"token": token}, file=(_FILE_NAME, data),
                connect_seconds=connect_seconds, read_seconds=read_seconds, most_bytes=_MOST_BYTES,
            )  # fmt: skip
            return _answer(address, reply, token)
        except RequestFailure as failure:
            problem = f"{address.base} {failure}"
            if not failure.again:
                advice = _LOOK if failure.received else "nothing was sent"
                raise SubmissionError(f"{problem}: {advice}") from None
            if failure.wait is not None and failure.wait > _LONGEST_WAIT:
                raise SubmissionError(f"{problem}: come back {_when(failure.wait)}") from None
            if tries > retries:
                often = "once" if tries == 1 else f"{tries} times"
                advice = "check the address, or try later"
                if failure.received:
                    advice = "it has a problem of its own, try later"
                raise SubmissionError(f"{problem}, tried {often}: {advice}") from None
            seconds = 2.0 ** (tries - 1) if failure.wait is None else failure.wait
        on_message(f"{problem}; again in {seconds:.0f} s ({tries} of {retries})")
        pause(seconds)


def _answer(address: ServerAddress, reply: Reply, token: str) -> Answer:
    """Read the result from a reply.

    Raises:
        RequestFailure: the server failed (5xx).
        SubmissionError: the reply has no result for another reason.
    """
    said = f"answered {reply.status} ({_detail(reply, token)})"
    wait = _retry_after(reply)
    if reply.status >= 500:
        asked = wait if reply.status == 503 else None
        raise RequestFailure(said, again=True, received=True, wait=asked)
    target = reply.redirection(address.page(GRADING))
    if target is not None:
        raise SubmissionError(
            f"{address.base} redirects to {_masked(target, token)}: the token is not sent there, "
            "give that address if you trust it"
        )
    if reply.status == 429:
        when = "later" if wait is None else _when(wait)
        raise SubmissionError(f"{address.base} {said}: come back {when}")
    if reply.status >= 300:
        advice = _ADVICE.get(reply.status, "nothing was graded, correct what it says")
        raise SubmissionError(f"{address.base} {said}: {advice}")
    iou = _number(reply.fields.get("avg_iou"), 1.0)
    seconds = _number(reply.fields.get("avg_time"), sys.float_info.max)
    if iou is None or seconds is None:
        body = one_line(_masked(reply.text, token))
        raise SubmissionError(
            f"{address.base} answered {reply.status} without a result ('{body}'): expected JSON "
            "with avg_iou from 0 to 1 and avg_time in seconds"
            + (f"; {_LOOK}" if reply.status == 202 else "")
        )
    return Answer(iou, seconds)


def _number(value: Any, highest: float) -> float | None:
    """Return a number from 0 to ``highest``; ``None`` for any other value, and for booleans."""
    return float(value) if type(value) in (int, float) and 0 <= value <= highest else None


def _detail(reply: Reply, token: str) -> str:
    """Return the server's explanation of its status."""
    # Fields of a problem document, and of other frameworks' errors.
    fields = reply.fields
    values = (fields.get(name) for name in ("title", "detail", "message", "error"))
    said = [value.strip().rstrip(".") for value in values if isinstance(value, str)]
    if any(said):
        return one_line(_masked(": ".join(filter(None, said)), token), _DETAIL)
    # An HTML page explains no more than the status does.
    page = reply.text.lstrip().startswith("<")
    plain = "" if page else one_line(_masked(reply.text, token))
    return plain or responses.get(reply.status, "no reason given")


def _masked(text: str, token: str) -> str:
    """Replace the token by ``***``, also where it is escaped."""
    forms = {
        token, json.dumps(token)[1:-1], repr(token)[1:-1], html.escape(token), quote(token),
        quote(token, safe=""), quote_plus(token),
    }  # fmt: skip
    longest_first = sorted(map(re.escape, forms), key=len, reverse=True)
    return re.sub("|".join(longest_first), "***", text, flags=re.IGNORECASE)


def _retry_after(reply: Reply) -> float | None:
    """Return the seconds in the header Retry-After, which has a number of them or a date."""
    policy = Retry()
    policy.retry_after_max = _FAR  # so that even a far time is shown as the server names it
    try:
        return float(min(_FAR, policy.parse_retry_after(reply.headers["retry-after"])))
    except (KeyError, InvalidHeader, ValueError, OverflowError):
        return None


def _when(seconds: float) -> str:
    at = datetime.now(timezone.utc) + timedelta(seconds=seconds)
    return f"in {seconds:.0f} s, at {at:%Y-%m-%d %H:%M:%S} UTC"
