"""The log of a job that runs for hours, and the notification at its end."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explainers.errors import LimeTunerError
from studies.results.outcome import outcome
from studies.storage import describe, sqlite_path, this_host
from studies.submission.notification import NotifyAddress, notify, parse_notify_address
from tuner.cli.output import errors
from tuner.log_file import LOG_FILE, log_to

__all__ = ["Job", "log_path", "logged", "notified", "notify_address"]

_NO_LOG = "none"
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A running command.

    Attributes:
        storage: database URL.
        study: prefix of its studies; ``None`` for all studies of the storage.
    """

    command: str
    storage: str
    study: str | None


def log_path(option: Path | None, storage: str) -> Path | None:
    """The log file of a job; by default beside the SQLite file, else in the working folder.

    Args:
        option: value of ``--log``; ``none`` for no log.

    Returns:
        An absolute path; ``None`` for no log.
    """
    if option is not None:
        return None if str(option) == _NO_LOG else option.absolute()
    path = sqlite_path(storage)
    return (Path() if path is None else path.parent).absolute() / LOG_FILE


def notify_address(option: str | None) -> NotifyAddress | None:
    """The address that is notified at a job's end.

    Raises:
        InvalidInput: the option is not an address.
    """
    return None if option is None else parse_notify_address(option)


@contextmanager
def logged(job: Job, path: Path | None, arguments: Mapping[str, Any]) -> Iterator[None]:
    """Log what happens inside, after the job's arguments and before a summary of its result.

    Args:
        path: the log file; ``None`` for no log.
        arguments: arguments of the job, without secrets.
    """
    with log_to(path):
        _logger.info(
            "%s begins on %s: %s", job.command, describe(job.storage),
            json.dumps(arguments, default=str),
        )  # fmt: skip
        try:
            with _ended() as end:
                yield
        finally:
            for key, found in _outcome(job).items():
                _logger.info("%s: %s", key, json.dumps(found))
            _logger.info("%s %s%s", job.command, end.state, end.reason and f": {end.reason}")


@contextmanager
def notified(job: Job, address: NotifyAddress | None) -> Iterator[None]:
    """Send to an address how the job ended; if that fails, only print a line."""
    if address is None:
        yield
        return
    start = time.monotonic()
    try:
        with _ended() as end:
            yield
    finally:
        document = {
            "command": job.command,
            "study": job.study,
            "state": end.state,
            "reason": end.reason or None,
            "host": this_host(),
            "pid": os.getpid(),
            "seconds": round(time.monotonic() - start, 1),
            "images": _outcome(job),
        }
        trouble = notify(address, document)
        if trouble:
            errors.print(f"nobody was notified: {trouble}", markup=False)


@dataclass
class _End:
    state: str = "done"
    reason: str = ""


@contextmanager
def _ended() -> Iterator[_End]:
    """Record how the code inside ends."""
    end = _End()
    try:
        yield end
    except KeyboardInterrupt:
        end.state = "interrupted"
        raise
    except BaseException as error:
        end.state = "failed"
        has_message = isinstance(error, (LimeTunerError, OSError))
        end.reason = " ".join((str(error) if has_message else type(error).__name__).split())
        raise


def _outcome(job: Job) -> dict[str, Any]:
    try:
        return outcome(job.storage, job.study)
    except LimeTunerError:  # no study yet, or the database cannot be read
        return {}
