"""A cache on disk: rows of numbers that a network or an encoder computes for one input.

Beside rows it keeps documents, which are computed from many rows.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dissection.progress import Progress

__all__ = ["NO_CACHE", "FeatureCache", "Rows", "space_of"]

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

Rows = tuple[Sequence[str], Mapping[str, NDArray[np.float32]]]
"""Keys of n inputs, and tables (n, W) by name."""


class FeatureCache:
    """float32 rows by (space, key), and documents by key.

    A *space* is a hash of everything that decides a row except the input (network, layer, pooling,
    geometry), a *key* one of the input (sha256 of a picture or of a text). So only rows whose
    origin has changed are computed anew.

    A file that cannot be used never stops the work: a warning is logged once, and nothing is kept.

    Args:
        path: the database file; its folder is made. ``None``: nothing is kept.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)

    def rows(
        self,
        spaces: Mapping[str, str],
        keys: Sequence[str],
        compute: Callable[[Sequence[str]], Iterable[Rows]],
        on_progress: Progress,
    ) -> dict[str, NDArray[np.float32]]:
        """Read the rows that are known, and compute the others.

        A batch is written as soon as it is computed, so that an interrupted run continues after its
        last one.

        Args:
            spaces: by name of the table.
            keys: of N inputs; equal ones are computed once.
            compute: gives the rows of the missing keys, batch by batch.

        Returns:
            (N, W) float32 by name of the table.
        """
        known = {name: self._read(space, keys) for name, space in spaces.items()}
        missing = [
            key for key in dict.fromkeys(keys) if any(key not in rows for rows in known.values())
        ]
        done = len(keys) - len(missing)
        on_progress(done / len(keys))
        for some, tables in compute(missing):
            for name, table in tables.items():
                known[name].update(zip(some, table, strict=True))
                self._write(spaces[name], some, table)
            done += len(some)
            on_progress(done / len(keys))
        return {name: np.stack([rows[key] for key in keys]) for name, rows in known.items()}

    def document(self, key: str, compute: Callable[[], bytes]) -> bytes:
        """Read a document, or compute and keep it.

        Args:
            key: has to contain everything that the document depends on.
        """
        for crc, content in self._run("SELECT crc, content FROM document WHERE key = ?", [key]):
            if zlib.crc32(content) == crc:
                return bytes(content)
        content = compute()
        values = [(key, zlib.crc32(content), content)]
        self._insert("INSERT OR REPLACE INTO document VALUES (?, ?, ?)", values)
        return content

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _read(self, space: str, keys: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        found: dict[str, NDArray[np.float32]] = {}
        for start in range(0, len(keys), _AT_ONCE):
            some = list(keys[start : start + _AT_ONCE])
            marks = ",".join("?" * len(some))
            query = f"SELECT key, crc, numbers FROM feature WHERE space = ? AND key IN ({marks})"
            for key, crc, numbers in self._run(query, [space, *some]):
                if zlib.crc32(numbers) == crc:
                    found[key] = np.frombuffer(numbers, dtype="<f4")
        return found

    def _write(self, space: str, keys: Sequence[str], table: NDArray[np.float32]) -> None:
        """Write rows in one transaction: after a crash all of them are there, or none."""
        packed = [row.astype("<f4").tobytes() for row in table]
        values = [(space, key, zlib.crc32(row), row) for key, row in zip(keys, packed, strict=True)]
        self._insert("INSERT OR REPLACE INTO feature VALUES (?, ?, ?, ?)", values)

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
        self.close()
        _logger.warning("features are not kept: %s cannot be used (%s)", self.path, error)


NO_CACHE = FeatureCache()


def space_of(facts: object) -> str:
    """Sha256 (hex) of a JSON value: the space for everything that decides a row but its input."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
