"""A few numbers on the results of each study so far, for a log or a notification."""

from __future__ import annotations

from typing import Any

from studies.queries import overview

__all__ = ["outcome"]


def outcome(storage: str, prefix: str | None) -> dict[str, dict[str, Any]]:
    """Return the numbers by image key, or by study name where no prefix is given.

    Raises:
        StorageError: the storage cannot be read.
    """
    return {
        row.study if prefix is None else row.study[len(prefix) + 1 :]: {
            "trials": row.finished,
            "score": row.best_score,
            "iou": row.best_iou,
            "runtime_seconds": row.best_seconds,
            "default": {"iou": row.default_iou, "runtime_seconds": row.default_seconds},
        }
        for row in overview(storage, prefix)
    }
