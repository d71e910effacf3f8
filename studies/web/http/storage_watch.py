"""Check from outside that the file of a server's database is still there.

SQLite does not notice when its file is deleted: open connections go on reading and writing data
that are lost when they close.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from studies.storage import sqlite_path
from studies.web.http.problems import Problem, problem_answer

__all__ = ["StorageGate", "StorageWatch"]

_RETRY_SECONDS = 10
_ROOM = 4 << 20  # bytes, enough for a few writes
_logger = logging.getLogger("lime_tuner.http")


class StorageWatch:
    """Watches the file of an SQLite database; for a database server it checks nothing.

    Args:
        replaced: called when another file has taken its place, e.g. a backup, so that connections
            must be opened again.
    """

    def __init__(self, url: str, replaced: Callable[[], None] = lambda: None) -> None:
        self._path = sqlite_path(url)
        self._replaced = replaced
        self._lock = threading.Lock()
        self._seen = self._identity()

    def check(self, *, write: bool = False) -> None:
        """Check that the database is there, in microseconds.

        Args:
            write: also check that the disk has free space.

        Raises:
            Problem: 503 the database is gone, or the disk is full.
        """
        if self._path is None:
            return
        found = self._identity()
        if found is None:
            raise self._problem("the database is gone: its file was deleted or moved")
        with self._lock:
            other, self._seen = found != self._seen, found
            if other:
                _logger.warning("another database is in the place of the one before")
                self._replaced()
        if write:
            try:
                free = shutil.disk_usage(self._path.absolute().parent).free
            except OSError as error:
                raise self._problem("the disk of the database cannot be looked at") from error
            if free < _ROOM:
                raise self._problem("the disk of the database is full")

    def _identity(self) -> tuple[int, int] | None:
        if self._path is None:
            return None
        try:
            found = self._path.stat()
        except OSError:
            return None
        return (found.st_dev, found.st_ino) if found.st_size else None

    def _problem(self, detail: str) -> Problem:
        _logger.warning("%s", detail, extra={"kind": "storage"})
        return Problem(503, f"{detail}; try again later", retry_after=_RETRY_SECONDS)


@dataclass(frozen=True)
class StorageGate:
    """Middleware that refuses requests while the database is gone.

    Attributes:
        paths: prefixes of the paths that need the database.
    """

    app: ASGIApp
    watch: StorageWatch
    paths: Sequence[str]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(tuple(self.paths)):
            try:
                self.watch.check(write=scope["method"] == "POST")
            except Problem as problem:
                await problem_answer(problem)(scope, receive, send)
                return
        await self.app(scope, receive, send)
