"""What dissection adds to the report."""

from __future__ import annotations

from dissection.report.section import dissection_part

__all__ = ["dissection_part"]
