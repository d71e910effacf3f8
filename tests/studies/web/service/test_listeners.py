"""So many may listen to progress, also when many come at once, or vanish before the first word."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from studies.web.service.event_stream import EventStream
from studies.web.service.progress import Progress

_MOST = 3


def _look(studies: Sequence[str]) -> dict[str, dict[str, Any]]:
    return {study: {"state": "running"} for study in studies}


async def _listen(
    progress: Progress, gone: asyncio.Event, *, breaks: bool = False
) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if breaks:
            raise OSError("the connection is gone")
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http", "method": "GET", "headers": [], "asgi": {"spec_version": "2.3"},
    }  # fmt: skip
    try:
        await EventStream(progress, "study", _MOST)(scope, receive, send)
    except OSError:
        assert breaks
    return sent


def test_no_more_than_may() -> None:
    async def all_at_once() -> None:
        progress, gone = Progress(_look), asyncio.Event()
        tasks = [asyncio.create_task(_listen(progress, gone)) for _ in range(10)]
        await asyncio.sleep(0.1)
        assert progress.listeners == _MOST
        refused = [task.result()[0]["status"] for task in tasks if task.done()]
        assert refused == [503] * 7
        gone.set()
        heard = [sent for sent in await asyncio.gather(*tasks) if sent[0]["status"] == 200]
        assert len(heard) == _MOST
        assert all(b"event: progress" in b"".join(m.get("body", b"") for m in s) for s in heard)
        assert progress.listeners == 0
        gone.clear()
        for _ in range(2 * _MOST):
            await _listen(progress, gone, breaks=True)
        assert progress.listeners == 0
        task = asyncio.create_task(_listen(progress, gone))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert progress.listeners == 0
        await progress.close()

    asyncio.run(all_at_once())
