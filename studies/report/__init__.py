"""The report on all that a storage holds about a study: a page, figures and tables."""

from studies.report.blocks import Block, Chart, Picture, Supplement, Table, Text
from studies.report.charts.drawing import draw
from studies.report.facts import gather
from studies.report.page import write_report

__all__ = [
    "Block", "Chart", "Picture", "Supplement", "Table", "Text", "draw", "gather", "write_report",
]  # fmt: skip
