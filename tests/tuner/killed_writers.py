"""Processes that write until they are killed, and say what they have begun and done.

They are forked from one that has imported what they need, and no torch, so that they begin at once.
"""

from __future__ import annotations

import itertools
import multiprocessing
import random
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy
from numpy.typing import NDArray

from explainers.images import array_digest
from explainers.lime import LimeParameters, PredictionCache
from studies.export import export_pickle
from studies.records import records
from tests.explainers.numpy_classifiers import QuarterColours, picture

__all__ = ["KEYS", "Writer", "answered", "exports", "fills_cache", "migrates", "settings"]

KEYS = tuple(f"image {number}" for number in range(10))
_IMAGE = picture(9)
_SEGMENTS = np.arange(28)[:, None] // 7 * 4 + np.arange(24) // 6  # 16 superpixels
_ROWS = 8  # in a chunk

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__, "alembic.command"])


class Writer:
    """A process that works; ``marks`` are ``("begin", n)`` and ``("done", n)``, as they came.

    Args:
        work: a function of this module.
        arguments: its arguments, but for the last, which takes what it says.
    """

    def __init__(self, work: Callable[..., None], *arguments: Any) -> None:
        self.marks: list[tuple[str, int]] = []
        self._heard, said = _context.Pipe(duplex=False)
        self._process = _context.Process(target=work, args=(*arguments, said))
        self._process.start()
        said.close()

    def kill_within(self, after: int, chance: random.Random, seconds: float) -> bool:
        """Kill it when it has begun so often, and then some of these seconds.

        Returns:
            Whether it was in the middle of something: begun, and not done.
        """
        while sum(what == "begin" for what, _ in self.marks) < after and self._hear():
            pass
        time.sleep(chance.uniform(0, seconds))
        alive = self._process.is_alive()
        self._process.kill()
        self._process.join()
        while self._hear():
            pass
        return alive and self.marks[-1][0] == "begin"

    def finish(self) -> int:
        """Wait until it ends by itself; its exit status."""
        while self._hear():
            pass
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode

    def _hear(self) -> bool:
        try:
            self.marks.append(self._heard.recv())
        except EOFError:
            return False
        return True

    @property
    def done(self) -> list[int]:
        """What it has said to be done."""
        return [number for what, number in self.marks if what == "done"]


def settings(number: int) -> dict[str, LimeParameters]:
    """Of a whole catalogue; other ones for every number."""
    return dict.fromkeys(KEYS, LimeParameters(num_samples=number))


def exports(path: Path, first: int, said: Connection) -> None:
    """Export settings of one number after the other."""
    for number in itertools.count(first):
        chosen = settings(number)
        said.send(("begin", number))
        export_pickle(chosen, path)
        said.send(("done", number))


def migrates(url: str, said: Connection) -> None:
    """Bring a database to the newest version; every statement is a beginning."""
    counted = itertools.count(1)

    def see(*_: object) -> None:
        said.send(("begin", next(counted)))

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", see)
    with records(url):
        pass
    said.send(("done", 0))


def fills_cache(folder: Path, first: int, step: int, said: Connection) -> None:
    """Ask for answers through a cache, chunk after chunk."""
    cache, source = PredictionCache(folder), QuarterColours(6)
    for number in range(first, 2**13, step):
        said.send(("begin", number))
        answered(cache, source, number)
        said.send(("done", number))


def answered(cache: PredictionCache, source: QuarterColours, number: int) -> NDArray[np.floating]:
    """The answers of a chunk, which no other number shares."""
    patterns = np.arange(number * _ROWS, (number + 1) * _ROWS)
    rows = patterns[:, None] >> np.arange(16) & 1
    return cache.predictions(source, _IMAGE, _SEGMENTS, 0, rows, np.arange(6), array_digest(_IMAGE))
