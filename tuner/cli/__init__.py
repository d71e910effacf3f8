"""The command line: ``lime-tuner COMMAND``. Commands load when they are used.

Exit status: 0 done, 1 the job failed, 2 the call was wrong, 130 interrupted (work kept).
"""

from __future__ import annotations

import os
import sys
from importlib import metadata
from typing import Annotated, Any

import typer

from explainers.errors import LimeTunerError
from explainers.messages import one_line
from explainers.telemetry import switch_off_telemetry
from studies.full_disk import is_full, no_space
from studies.passwords import without_passwords
from tuner.cli.commands import CommandGroup
from tuner.cli.streams import ReaderLeft, flushed, prepare_streams
from tuner.cli.unexpected import check_working_folder
from tuner.ending import tidy_end
from tuner.log_file import tell_warnings

__all__ = ["app", "main"]

_INTERRUPTED = 130
_LONGEST = 2000  # characters of a line
# Newer versions of typer include their own click; this finds the base exception of either.
_CLICK_EXCEPTION: Any = next(
    c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException"
)

app = typer.Typer(
    name="lime-tuner",
    cls=CommandGroup,
    help="Find LIME parameters for image classifiers that can be defended.",
    epilog="lime-tuner COMMAND --help shows a command's options and examples; "
    "lime-tuner quickstart is a first look.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(asked: bool) -> None:
    if asked:
        try:
            version = metadata.version("lime-tuner")
        except metadata.PackageNotFoundError:
            version = "(not installed)"
        sys.stdout.write(f"lime-tuner {version}\n")
        raise typer.Exit


@app.callback()
def _commands(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Find LIME parameters for image classifiers that can be defended."""


def main() -> None:
    """Run the command line; every error is one line on stderr, never a traceback.

    SIGTERM and SIGHUP interrupt like Ctrl-C; the exit status is 128 plus their number.
    """
    with tidy_end(by_signal=False):
        _run()


def _run() -> None:
    # lime and grad-cam draw a tqdm bar for every explanation; we show bars of our own.
    os.environ.setdefault("TQDM_DISABLE", "1")
    switch_off_telemetry()
    for name in prepare_streams():
        if name == "stdout":
            _say("standard output is closed: what would be shown there is lost")
    tell_warnings()
    command = typer.main.get_command(app)
    try:
        check_working_folder()
        with flushed():
            ended = command.main(prog_name="lime-tuner", standalone_mode=False)
        if ended == _INTERRUPTED:  # typer turns Ctrl-C into this status, silently
            raise KeyboardInterrupt
    except LimeTunerError as error:
        _say(str(error))
        sys.exit(error.exit_status)
    except _CLICK_EXCEPTION as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # the help, in many lines
            sys.stderr.write(f"{error.format_message()}\n")
            sys.exit(error.exit_code)
        _say(error.format_message())
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _say("interrupted: what is recorded is kept; the same command goes on from there")
        sys.exit(_INTERRUPTED)
    except ReaderLeft:
        sys.exit(0)
    except OSError as error:
        if is_full(error):
            _say(str(no_space(str(error.filename or "what is written"))))
            sys.exit(1)
        _say(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        sys.exit(1)
    sys.exit(ended if isinstance(ended, int) else 0)


def _say(message: str) -> None:
    line = one_line(without_passwords(message), _LONGEST)
    sys.stderr.write(f"lime-tuner: {line}\n")
