"""The prediction cache's file: one SQLite database that many processes append to.

SQLite gives atomic appends that survive a killed process, and writers that wait for each other.
Predictions are appended in chunks with a checksum each, so that a damaged page of the file costs
a few new predictions, and not the whole cache.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_logger = logging.getLogger(__name__)

_SCHEMA_VERSION = 1
_BUSY_SECONDS = 60.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS original (
    classifier TEXT NOT NULL, image TEXT NOT NULL, dtype TEXT NOT NULL, answer BLOB NOT NULL,
    PRIMARY KEY (classifier, image)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS superpixels (
    image TEXT NOT NULL, algorithm TEXT NOT NULL, shape TEXT NOT NULL, labels BLOB NOT NULL,
    crc INTEGER NOT NULL, PRIMARY KEY (image, algorithm)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entry (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, used REAL NOT NULL);
CREATE TABLE IF NOT EXISTS chunk (
    id INTEGER PRIMARY KEY AUTOINCREMENT, entry INTEGER NOT NULL, count INTEGER NOT NULL,
    dtype TEXT NOT NULL, patterns BLOB NOT NULL, answers BLOB NOT NULL, crc INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS chunk_of_entry ON chunk (entry, id);
"""


class CacheStore:
    """The cache's database file.

    A store that cannot be written or read (a full disk, a folder turned read-only, a damaged
    file) never stops the work: a warning is logged once, and predictions are kept in memory only.

    Args:
        path: the database file; its folder is made. ``None``: nothing is kept.
        max_bytes: entries used longest ago are dropped when the file grows beyond it.
    """

    def __init__(self, path: Path | None, max_bytes: int) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self._connection: sqlite3.Connection | None = None
        self._appends = 0
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = _opened(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                self._give_up(error)
                return
            aside = path.with_name(f"{path.name}.damaged-{int(time.time())}")
            _logger.warning("%s is damaged (%s); kept as %s, starting anew", path, error, aside)
            with self._reported():
                path.replace(aside)
                self._connection = _opened(path)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
        _logger.warning(
            "classifier answers are kept in memory only: %s cannot be used (%s)", self.path, error
        )

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)

    def close(self) -> None:
        """Close the file; the store is unusable afterwards."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def load_original(self, classifier: str, image: str) -> NDArray[np.floating] | None:
        """(C,) probabilities of the unperturbed image, or ``None``."""
        row = self._one(
            "SELECT dtype, answer FROM original WHERE classifier = ? AND image = ?",
            (classifier, image),
        )
        return None if row is None else np.frombuffer(row[1], dtype=np.dtype(row[0])).copy()

    def save_original(self, classifier: str, image: str, answer: NDArray[np.floating]) -> None:
        """Keep the (C,) probabilities of the unperturbed image."""
        self._write(
            "INSERT OR IGNORE INTO original VALUES (?, ?, ?, ?)",
            (classifier, image, answer.dtype.str, answer.tobytes()),
        )

    def load_superpixels(self, image: str, algorithm: str) -> NDArray[np.int64] | None:
        """(H, W) labels, or ``None``."""
        row = self._one(
            "SELECT shape, labels, crc FROM superpixels WHERE image = ? AND algorithm = ?",
            (image, algorithm),
        )
        if row is None or zlib.crc32(row[1]) != row[2]:
            return None
        labels = np.frombuffer(zlib.decompress(row[1]), dtype="<i4")
        return labels.reshape(json.loads(row[0])).astype(np.int64)

    def save_superpixels(self, image: str, algorithm: str, labels: NDArray[np.int64]) -> None:
        """Keep (H, W) labels."""
        packed = zlib.compress(labels.astype("<i4").tobytes(), 1)
        self._write(
            "INSERT OR REPLACE INTO superpixels VALUES (?, ?, ?, ?, ?)",
            (image, algorithm, json.dumps(labels.shape), packed, zlib.crc32(packed)),
        )

    def entry_id(self, key: str) -> int | None:
        """Number of the entry with that key, which is made if new; ``None`` without a file."""
        self._write(
            "INSERT INTO entry (key, used) VALUES (?, ?) "
            "ON CONFLICT (key) DO UPDATE SET used = excluded.used",
            (key, time.time()),
        )
        row = self._one("SELECT id FROM entry WHERE key = ?", (key,))
        return None if row is None else int(row[0])

    def load_chunks(
        self, entry: int, after: int, pattern_bytes: int, columns: int
    ) -> Iterator[tuple[int, bytes, NDArray[np.floating]]]:
        """Chunks of an entry with a number above ``after``.

        Yields:
            (number, ``count × pattern_bytes`` bytes, (count, columns) answers). Chunks whose
            checksum or size is wrong are reported and left out.
        """
        for number, count, dtype, patterns, answers, crc in self._all(
            "SELECT id, count, dtype, patterns, answers, crc FROM chunk "
            "WHERE entry = ? AND id > ? ORDER BY id",
            (entry, after),
        ):
            sound = zlib.crc32(answers, zlib.crc32(patterns)) == crc
            expected = count * columns * np.dtype(dtype).itemsize
            if not sound or len(patterns) != count * pattern_bytes or len(answers) != expected:
                _logger.warning("chunk %d of %s is damaged and left out", number, self.path)
                continue
            yield number, patterns, np.frombuffer(answers, np.dtype(dtype)).reshape(count, columns)

    def append_chunk(
        self, entry: int, patterns: NDArray[np.uint8], answers: NDArray[np.floating]
    ) -> None:
        """Append (count, pattern_bytes) packed patterns with their (count, columns) answers."""
        packed, values = patterns.tobytes(), answers.tobytes()
        crc = zlib.crc32(values, zlib.crc32(packed))
        self._write(
            "INSERT INTO chunk (entry, count, dtype, patterns, answers, crc) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (entry, len(patterns), answers.dtype.str, packed, values, crc),
        )
        self._appends += 1
        if self._appends % 256 == 1:
            self._keep_within_limit()

    def _keep_within_limit(self) -> None:
        size = self._one("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
        if size is None or size[0] <= self.max_bytes:
            return
        surplus = size[0] - 0.8 * self.max_bytes
        for entry, held in self._all(
            "SELECT entry.id, SUM(LENGTH(patterns) + LENGTH(answers)) FROM entry "
            "JOIN chunk ON chunk.entry = entry.id GROUP BY entry.id ORDER BY used"
        ):
            if surplus <= 0:
                break
            # The entry's row stays: a process that holds its number may still append to it.
            self._write("DELETE FROM chunk WHERE entry = ?", (entry,))
            surplus -= held
        if self._connection is not None:
            with self._reported():  # execute() would stop after the first page
                self._connection.executescript("PRAGMA incremental_vacuum")

    def _one(self, statement: str, values: tuple[object, ...] = ()) -> tuple[Any, ...] | None:
        rows = self._all(statement, values)
        return rows[0] if rows else None

    def _all(self, statement: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        if self._connection is not None:
            with self._reported():
                rows = self._connection.execute(statement, values).fetchall()
        return rows

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        if self._connection is not None:
            with self._reported():
                self._connection.execute(statement, values)


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
    try:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        _write_ahead(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, _SCHEMA_VERSION):
            raise sqlite3.DatabaseError(f"its layout has version {version}")
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
    except BaseException:
        connection.close()
        raise
    return connection


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to a write-ahead log, with retries: SQLite's timeout does not cover this statement."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
