"""The command line: ``lime-tuner COMMAND``. One module per command group, thin.

Exit status: 0 done, 1 the job failed, 2 the call was wrong, 130 interrupted (work kept).
"""

from __future__ import annotations

import os
import sys
from typing import Any

import typer

from explainers.errors import LimeTunerError
from studies.full_disk import is_full, no_space
from tuner.cli import (
    calibrate,
    compare,
    copy,
    dashboard,
    dissect,
    doctor,
    grade,
    pictures,
    quickstart,
    report,
    results,
    search,
    serve,
    status,
    submit,
    worker,
)

__all__ = ["app", "main"]

_INTERRUPTED = 130
# Newer versions of typer carry their own click; this is its base exception in either.
_CLICK_EXCEPTION: Any = next(
    c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException"
)

app = typer.Typer(
    name="lime-tuner",
    help="Find LIME parameters for image classifiers that can be defended.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("quickstart")(quickstart.quickstart)
app.command("tune")(search.tune)
app.command("status")(status.status)
app.command("export")(results.export)
app.command("verify")(results.verify)
app.command("reference")(pictures.reference)
app.command("cam")(pictures.cam)
app.command("explain")(pictures.explain)
app.command("compare")(compare.compare)
app.command("dissect")(dissect.dissect)
app.command("report")(report.report)
app.command("dashboard")(dashboard.dashboard)
app.command("submit")(submit.submit)
app.command("leaderboard")(submit.leaderboard)
app.command("calibrate")(calibrate.calibrate)
app.command("worker")(worker.worker)
app.command("grade")(grade.grade)
app.command("serve")(serve.serve)
app.command("copy")(copy.copy)
app.command("doctor")(doctor.doctor)


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr, never a traceback."""
    # lime and grad-cam draw a tqdm bar per explanation; ours are the ones to see.
    os.environ.setdefault("TQDM_DISABLE", "1")
    command = typer.main.get_command(app)
    try:
        ended = command.main(prog_name="lime-tuner", standalone_mode=False)
        if ended == _INTERRUPTED:  # typer turns Ctrl-C into this status, silently
            raise KeyboardInterrupt
    except LimeTunerError as error:
        _say(str(error))
        sys.exit(error.exit_status)
    except _CLICK_EXCEPTION as error:
        _say(error.format_message())
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _say("interrupted: what is recorded is kept; the same command goes on from there")
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        if is_full(error):
            _say(str(no_space(str(error.filename or "what is written"))))
            sys.exit(1)
        _say(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        sys.exit(1)
    sys.exit(ended if isinstance(ended, int) else 0)


def _say(message: str) -> None:
    line = " ".join(message.split())
    sys.stderr.write(f"lime-tuner: {line}\n")
