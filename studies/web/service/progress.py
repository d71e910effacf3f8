"""Progress of studies as server-sent events; one query a second serves all listeners."""

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
    """Whether a study has ended."""
    return document["state"] in ("done", "failed", "cancelled")


class Progress:
    """Sends events to listeners when a study has changed.

    All methods must be called in the same event loop.

    Args:
        look: returns the documents of some studies, by name; called in a thread.
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
        return self._listeners.total()

    async def close(self) -> None:
        """Close all event streams."""
        self._closed = True
        async with self._changed:
            self._changed.notify_all()
        if self._task is not None:
            self._task.cancel()

    @contextmanager
    def listening(self, study: str) -> Iterator[None]:
        """Count a listener of a study inside the ``with``, and query the study's progress."""
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
        """Yield events of a study until it has ended: one at once, then one at each change.

        The caller must be :meth:`listening`.
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
