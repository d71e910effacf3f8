"""The report's section on dissected networks."""

from __future__ import annotations

from dissection.report.section import dissection_part

__all__ = ["dissection_part"]
