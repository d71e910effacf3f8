"""The table of commands; a command's module is loaded when the command is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

import typer
from typer.core import TyperGroup

from explainers.errors import InvalidInput
from tuner.cli.help import HelpCommand, write_options
from tuner.cli.unexpected import one_line_only

__all__ = ["COMMANDS", "GROUPS", "Command", "CommandGroup", "loaded_command"]

_SEARCH, _LOOK = "Search", "Look"
_EXPORT, _SERVE, _MORE = "Export and submit", "Serve", "More"
GROUPS = (_SEARCH, _LOOK, _EXPORT, _SERVE, _MORE)
"""The headings of ``lime-tuner --help``, in their order."""


@dataclass(frozen=True)
class Command:
    """Where a command is implemented, and what its help shows.

    Attributes:
        module: name within ``tuner.cli``; its function has the command's name.
        group: its heading in ``lime-tuner --help``.
        summary: the first sentence of its docstring, for the list of all commands.
        examples: whole command lines.
        extra: the optional dependencies without which its module cannot be loaded.
    """

    module: str
    group: str
    summary: str
    examples: tuple[str, ...]
    extra: str = ""


COMMANDS: Mapping[str, Command] = {
    "quickstart": Command(
        "search.quickstart",
        _SEARCH,
        "Tune, export, verify and report two photographs with a real ImageNet network.",
        ("lime-tuner quickstart", "lime-tuner quickstart --drawn -o first --trials 30"),
    ),
    "tune": Command(
        "search.tune",
        _SEARCH,
        "Search LIME's parameters, in one study per image.",
        (
            "lime-tuner tune --catalog photographs --model resnet50 --trials 60",
            "lime-tuner tune --catalog demo --images cat,house --workers 2",
        ),
    ),
    "worker": Command(
        "search.worker",
        _SEARCH,
        "Run trials of the studies that need them most.",
        (
            "lime-tuner worker --storage postgresql://me@server/studies",
            "lime-tuner worker --study demo --until 07:00",
        ),
    ),
    "portfolio": Command(
        "search.portfolio",
        _SEARCH,
        "Choose the few parameter sets that serve many images best.",
        ("lime-tuner portfolio --catalog demo --size 5 -o portfolio.json",),
    ),
    "status": Command(
        "results.status",
        _LOOK,
        "What each study has: trials, best, default, workers, failures.",
        ("lime-tuner status --watch", "lime-tuner status --study demo --json"),
    ),
    "report": Command(
        "results.report",
        _LOOK,
        "Write a page on all results, with figures and tables.",
        ("lime-tuner report --catalog demo -o report",),
    ),
    "compare": Command(
        "results.compare",
        _LOOK,
        "Compare class activation maps with LIME, default and tuned.",
        (
            "lime-tuner compare --catalog demo",
            "lime-tuner compare --catalog demo --method gradcam --method scorecam",
        ),
    ),
    "reference": Command(
        "results.pictures",
        _LOOK,
        "Write the reference masks and their overlays.",
        ("lime-tuner reference --catalog demo --reference gradcam@0.3 -o masks",),
    ),
    "cam": Command(
        "results.pictures",
        _LOOK,
        "Write class activation maps, as overlays and raw.",
        ("lime-tuner cam --catalog photographs --model resnet50 --method gradcam",),
    ),
    "explain": Command(
        "results.pictures",
        _LOOK,
        "Write LIME pictures by stock lime.",
        ("lime-tuner explain --catalog demo --params explain_params.pkl -o explanations",),
    ),
    "export": Command(
        "results.export",
        _EXPORT,
        "Write the best parameters as a pickle for stock lime.",
        (
            "lime-tuner export --catalog demo -o explain_params.pkl",
            "lime-tuner export --study tml25 --fill-defaults",
        ),
    ),
    "verify": Command(
        "results.export",
        _EXPORT,
        "Run stock lime with a pickle's parameters, and time it.",
        (
            "lime-tuner verify explain_params.pkl --catalog demo",
            "lime-tuner verify theirs.pkl --catalog photographs --reference masks/",
        ),
    ),
    "submit": Command(
        "servers.submit",
        _EXPORT,
        "Send a pickle to a grading server, and record its result.",
        (
            "lime-tuner submit explain_params.pkl --url https://server --dry-run",
            "LIME_TUNER_TOKEN=... lime-tuner submit --url https://server",
        ),
    ),
    "leaderboard": Command(
        "servers.submit",
        _EXPORT,
        "Show a grading server's score board, our own results marked.",
        ("lime-tuner leaderboard --url https://server",),
    ),
    "calibrate": Command(
        "servers.calibrate",
        _EXPORT,
        "Fit runtime and reference rule to a grading server's answers.",
        ("lime-tuner calibrate --answers answers.json --runtime-only",),
    ),
    "serve": Command(
        "servers.serve",
        _SERVE,
        "Serve the API, the page, the dashboard and the reports.",
        ("lime-tuner serve --model resnet50 --workers 2",),
        extra="serve",
    ),
    "dashboard": Command(
        "results.dashboard",
        _SERVE,
        "Serve optuna-dashboard on the storage.",
        ("lime-tuner dashboard --open",),
    ),
    "grade": Command(
        "servers.grade",
        _SERVE,
        "Serve the grading protocol: POST /lime, GET /score_board.",
        ("lime-tuner grade --catalog demo --tokens tokens.txt --truth masks/",),
        extra="grade",
    ),
    "dissect": Command(
        "dissect",
        _MORE,
        "Label the units of networks by concepts.",
        ("lime-tuner dissect --model resnet18 --probe pictures/ --layers layer4",),
    ),
    "copy": Command(
        "copy",
        _MORE,
        "Copy studies, records and artifacts into another storage.",
        ("lime-tuner copy --to sqlite:///backup.db --dry-run",),
    ),
    "doctor": Command(
        "doctor",
        _MORE,
        "Check this installation.",
        ("lime-tuner doctor --fast",),
    ),
}


def loaded_command(name: str) -> Any:
    """The command of this name, from its module."""
    module = import_module(f"tuner.cli.{COMMANDS[name].module}")
    function: Callable[..., None] = getattr(module, name)
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(name, cls=HelpCommand)(one_line_only(function))
    made: Any = typer.main.get_command(app)
    made.examples = COMMANDS[name].examples
    return made


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
        if ctx is not None and ctx.resilient_parsing:  # a shell asks what could come next
            completion = import_module("tuner.cli.help.completion")
            return completion.light_command(cmd_name, found.summary)
        output = import_module("tuner.cli.output")
        on_terminal = output.errors.is_terminal
        with output.phase(f"loading lime-tuner {cmd_name}") if on_terminal else nullcontext():
            try:
                return loaded_command(cmd_name)
            except ModuleNotFoundError as error:
                if not found.extra:
                    raise
                raise InvalidInput(
                    f"{cmd_name} needs {error.name}: pip install -e '.[{found.extra}]' installs "
                    "what it needs"
                ) from error

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands by group, without loading any, and the options."""
        width = max(map(len, COMMANDS))
        for group in GROUPS:
            named = [(f"{n:{width}}", c.summary) for n, c in COMMANDS.items() if c.group == group]
            with formatter.section(group):
                formatter.write_dl(named)
        write_options(self.get_params(ctx), ctx, formatter)
