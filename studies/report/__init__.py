"""One report over everything that a storage has of a study."""

from __future__ import annotations

from studies.report.page import write_report

__all__ = ["write_report"]
