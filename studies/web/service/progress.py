"""Progress of studies as server-sent events: one look a second for all who listen."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from starlette.concurrency import run_in_threadpool

from explainers.messages import one_line

__all__ = ["Progress", "is_over"]

_LOOK_SECONDS = 1.0
_HEARTBEAT_SECONDS = 15.0
_logger = logging.getLogger("lime_tuner.serve")

_Look = Callable[[Sequence[str]], dict[str, dict[str, Any]]]


def is_over(document: dict[str, Any]) -> bool:
    """Whether a study will not change any more."""
    return document["state"] in ("done", "failed", "cancelled")


class Progress:
    """Tells listeners when a study has changed.

    All methods belong to one event loop.

    Args:
        look: the documents of some studies, by name; called in a thread.
    """

    def __init__(self, look: _Look) -> None:
        self._look = look
        self._listeners: Counter[str] = Counter()
        self._texts: dict[str, tuple[str, bool]] = {}
        self._changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def listeners(self) -> int:
        """How many there are."""
        return self._listeners.total()

    async def close(self) -> None:
        """Send everybody home."""
        self._closed = True
        async with self._changed:
            self._changed.notify_all()
        if self._task is not None:
            self._task.cancel()

    @contextmanager
    def listening(self, study: str) -> Iterator[None]:
        """Somebody listens to a study, whether or not anything is sent to them."""
        self._listeners[study] += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._poll())
        try:
            yield
        finally:
            self._listeners[study] -= 1
            if self._listeners[study] <= 0:
                del self._listeners[study]
                self._texts.pop(study, None)

    async def follow(self, study: str) -> AsyncIterator[str]:
        """Events of a study that somebody is :meth:`listening` to, until it is over.

        One at once, then at each change.
        """
        sent: str | None = None
        quiet_since = time.monotonic()
        yield "retry: 2000\n\n"
        while not self._closed:
            text, over = self._texts.get(study, (None, False))
            if text is not None and text != sent:
                sent, quiet_since = text, time.monotonic()
                yield f"event: progress\ndata: {text}\n\n"
            if over:
                yield "event: end\ndata: {}\n\n"
                return
            if time.monotonic() - quiet_since >= _HEARTBEAT_SECONDS:
                quiet_since = time.monotonic()
                yield ": still here\n\n"
            await self._wait()

    async def _wait(self) -> None:
        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait(), _HEARTBEAT_SECONDS)
            except asyncio.TimeoutError:
                return

    async def _poll(self) -> None:
        while self._listeners:
            studies = list(self._listeners)
            try:
                found = await run_in_threadpool(self._look, studies)
            except Exception as error:  # noqa: BLE001 - a database that is away must not end it
                _logger.warning("progress cannot be read now: %s", one_line(str(error), 300))
                found = {}
            for study, document in found.items():
                if study in self._listeners:
                    self._texts[study] = (json.dumps(document), is_over(document))
            async with self._changed:
                self._changed.notify_all()
            await asyncio.sleep(_LOOK_SECONDS)
