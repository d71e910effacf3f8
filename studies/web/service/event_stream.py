"""Server-sent events of a study's progress."""

from __future__ import annotations

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from studies.web.http import Problem, problem_answer
from studies.web.service.progress import Progress

__all__ = ["EventStream"]

_RETRY_SECONDS = 30


class EventStream(Response):
    """A response that counts as a listener for as long as it is open.

    Args:
        most: largest number of listeners; further ones get status 503.
    """

    def __init__(self, progress: Progress, study: str, most: int) -> None:
        super().__init__()
        self._progress, self._study, self._most = progress, study, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._progress.listeners >= self._most:
            problem = Problem(503, f"{self._most} listen already", retry_after=_RETRY_SECONDS)
            await problem_answer(problem)(scope, receive, send)
            return
        with self._progress.listening(self._study):
            stream = StreamingResponse(
                self._progress.follow(self._study),
                media_type="text/event-stream",
                headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
            )
            await stream(scope, receive, send)
