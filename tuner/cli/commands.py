"""The table of commands; a command's module is loaded when the command is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

import typer
from typer.core import TyperGroup

from tuner.cli.unexpected import one_line_only

__all__ = ["COMMANDS", "Command", "CommandGroup"]


@dataclass(frozen=True)
class Command:
    """Where a command is implemented.

    Attributes:
        module: name within ``tuner.cli``; its function has the command's name.
        summary: the first sentence of its docstring, for the list of all commands.
    """

    module: str
    summary: str


COMMANDS: Mapping[str, Command] = {
    "quickstart": Command(
        "search.quickstart",
        "Tune, export, verify and report real photographs with a real ImageNet network.",
    ),
    "tune": Command(
        "search.tune", "Search LIME's parameters: one study per image, created or resumed."
    ),
    "status": Command(
        "results.status",
        "What each study has: trials, best against default, who works on it, and what failed.",
    ),
    "export": Command(
        "results.export", "Write the best parameters of every image as a pickle for stock lime."
    ),
    "verify": Command(
        "results.export",
        "Run stock lime with a pickle's parameters: fresh process, fresh seeds, real clock.",
    ),
    "reference": Command(
        "results.pictures", "Write the reference masks (KEY.png) and overlays (overlays/KEY.png)."
    ),
    "cam": Command(
        "results.pictures",
        "Write class activation maps: METHOD/KEY.png overlays and METHOD/KEY.npy raw maps.",
    ),
    "explain": Command(
        "results.pictures",
        "Write LIME pictures by stock lime: mask overlays, superpixels, weights as JSON.",
    ),
    "compare": Command(
        "results.compare",
        "Compare Grad-CAM, Score-CAM, Ablation-CAM, LIME's defaults and tuned LIME on every image.",
    ),
    "dissect": Command(
        "dissect", "Label the units of networks by concepts, and say how sure the labels are."
    ),
    "report": Command(
        "results.report",
        "Write index.html (opens from disk), figures/*.png and *.svg, and tables/*.csv.",
    ),
    "dashboard": Command(
        "results.dashboard",
        "Serve optuna-dashboard on the storage: studies, trials, pictures, notes, plots.",
    ),
    "portfolio": Command(
        "search.portfolio", "Choose the few parameter sets of which the best per image loses least."
    ),
    "submit": Command(
        "servers.submit", "Send a pickle to a grading server, wait for its result, and record it."
    ),
    "leaderboard": Command(
        "servers.submit", "Show a grading server's score board, with our own results marked."
    ),
    "calibrate": Command(
        "servers.calibrate", "Fit runtime and reference rule to what a grading server has answered."
    ),
    "worker": Command(
        "search.worker",
        "Run trials of the studies that need them most, until there is none or it is stopped.",
    ),
    "grade": Command("servers.grade", "Serve the grading protocol: POST /lime, GET /score_board."),
    "serve": Command(
        "servers.serve",
        "Serve the API, the page, the dashboard and the reports; worker processes do the jobs.",
    ),
    "copy": Command(
        "copy",
        "Copy studies, records and artifacts into another storage, and compare what arrived.",
    ),
    "doctor": Command(
        "doctor", "Check this installation; exit status 1 when something needed does not work."
    ),
}


class CommandGroup(TyperGroup):
    """The group of all commands; loads each one when it is used."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = cast(Any, dict.fromkeys(COMMANDS))  # names to suggest for a wrong one

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in the order in which they are usually used."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Load a command; ``None`` if there is none of that name."""
        found = COMMANDS.get(cmd_name)
        if found is None:
            return None
        module = import_module(f"tuner.cli.{found.module}")
        function: Callable[..., None] = getattr(module, cmd_name)
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(cmd_name)(one_line_only(function))
        return typer.main.get_command(app)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list for ``--help`` without loading any command."""
        names = [(name, found.summary) for name, found in COMMANDS.items()]
        with formatter.section("Commands"):
            formatter.write_dl(names)
