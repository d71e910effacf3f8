"""Output of commands: tables that fit their terminal, progress, and JSON documents."""

from tuner.cli.output.consoles import console, errors, shown_if_interrupted, write_json
from tuner.cli.output.progress import download_progress, phase, steps_within, work_progress
from tuner.cli.output.tables import FittingTable, rounded, table, within_height

__all__ = [
    "FittingTable", "console", "download_progress", "errors", "phase", "rounded",
    "shown_if_interrupted", "steps_within", "table", "within_height", "work_progress", "write_json",
]  # fmt: skip
