"""Doubts about the modelled seconds of studies, which their runtime models store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["doubtful_seconds", "runtime_doubt"]


def runtime_doubt(stored: Any) -> str | None:
    """Return the doubt in a study's attribute ``runtime_model`` (JSON text), or ``None``."""
    try:
        document = json.loads(stored)
    except (TypeError, ValueError):
        return None  # missing or damaged, which is reported where the model is needed
    doubt = document.get("doubt") if isinstance(document, dict) else None
    return None if doubt is None else str(doubt)


def doubtful_seconds(doubts: Mapping[str, str | None]) -> list[str]:
    """Return one sentence for each distinct doubt.

    Args:
        doubts: by name of the study or image; ``None`` where there is no doubt.
    """
    named: dict[str, list[str]] = {}
    for name, doubt in doubts.items():
        if doubt is not None:
            named.setdefault(doubt, []).append(name)
    return [
        f"modelled seconds of {', '.join(names)} are not to be trusted: {doubt}"
        for doubt, names in named.items()
    ]
