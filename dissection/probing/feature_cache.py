"""Rows of numbers by content, on disk: what a network or an encoder said about one input.

Beside them, documents: what was computed from many rows.
"""

from __future__ import annotations

import logging
import sqlite3
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FeatureCache"]

_logger = logging.getLogger(__name__)

_AT_ONCE = 500  # below SQLite's limit of parameters
_BUSY_SECONDS = 60.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS feature (
    space TEXT NOT NULL, key TEXT NOT NULL, crc INTEGER NOT NULL, numbers BLOB NOT NULL,
    PRIMARY KEY (space, key));
CREATE TABLE IF NOT EXISTS document (
    key TEXT PRIMARY KEY, crc INTEGER NOT NULL, content BLOB NOT NULL);
"""


class FeatureCache:
    """float32 rows by (space, key).

    A *space* stands for everything that decides a row but the input itself (network, layer,
    pooling, geometry), a *key* for the input (sha256 of a picture or of a text). What has changed
    is therefore computed anew, and nothing else is.

    A file that cannot be used never stops the work: it is told once, and nothing is kept.

    Args:
        path: the database file; its folder is made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)

    def read(self, space: str, keys: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """The rows that are known, by key."""
        found: dict[str, NDArray[np.float32]] = {}
        for start in range(0, len(keys), _AT_ONCE):
            some = list(keys[start : start + _AT_ONCE])
            marks = ",".join("?" * len(some))
            query = f"SELECT key, crc, numbers FROM feature WHERE space = ? AND key IN ({marks})"
            for key, crc, numbers in self._run(query, [space, *some]):
                if zlib.crc32(numbers) == crc:
                    found[key] = np.frombuffer(numbers, dtype="<f4")
        return found

    def write(self, space: str, keys: Sequence[str], rows: NDArray[np.float32]) -> None:
        """Keep (n, W) rows; all of them or, after a crash, none."""
        packed = [row.astype("<f4").tobytes() for row in rows]
        values = [(space, key, zlib.crc32(row), row) for key, row in zip(keys, packed, strict=True)]
        self._insert("INSERT OR REPLACE INTO feature VALUES (?, ?, ?, ?)", values)

    def read_document(self, key: str) -> bytes | None:
        """What was kept under a key that stands for everything it depends on."""
        for crc, content in self._run("SELECT crc, content FROM document WHERE key = ?", [key]):
            if zlib.crc32(content) == crc:
                return bytes(content)
        return None

    def write_document(self, key: str, content: bytes) -> None:
        """Keep a document."""
        values = [(key, zlib.crc32(content), content)]
        self._insert("INSERT OR REPLACE INTO document VALUES (?, ?, ?)", values)

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _insert(self, statement: str, values: Sequence[tuple[Any, ...]]) -> None:
        if self._connection is None:
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(statement, values)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._give_up(error)

    def _run(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        if self._connection is None:
            return []
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            self._give_up(error)
            return []

    def _give_up(self, error: Exception) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        _logger.warning("features are not kept: %s cannot be used (%s)", self.path, error)
