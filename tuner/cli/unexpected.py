"""Unexpected exceptions: one line for the user, and the traceback in a log."""

from __future__ import annotations

import functools
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import typer

from explainers.errors import InvalidInput, LimeTunerError, StorageError
from explainers.messages import one_line
from studies.full_disk import is_full
from tuner.cli.streams import ReaderLeft
from tuner.log_file import LOG_FILE, record_error

__all__ = ["check_working_folder", "one_line_only", "readable_error"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_SHOWN = 200  # characters of an exception's own message
_REQUIREMENT = re.compile(r"([\w.-]+).*extra\s*==\s*['\"]([\w-]+)['\"]")


def one_line_only(command: Callable[_P, _T]) -> Callable[_P, _T]:
    """Wrap a command so that it raises unexpected exceptions as :class:`LimeTunerError`."""

    @functools.wraps(command)
    def run(*args: _P.args, **given: _P.kwargs) -> _T:
        try:
            return command(*args, **given)
        except (LimeTunerError, typer.Exit, typer.Abort):
            raise
        except BrokenPipeError as error:
            raise ReaderLeft from error
        except SystemExit as error:  # a user's classifier factory may do this
            raise LimeTunerError(
                f"something that was loaded ended the program (exit {error.code})"
            ) from error
        except Exception as error:
            if _is_plain(error):
                raise
            storage = _storage(given)
            raise readable_error(error, storage, _log(given, storage)) from error

    return run


def check_working_folder() -> None:
    """Refuse to work in a folder that was removed.

    Raises:
        InvalidInput: the working folder cannot be used.
    """
    try:
        Path.cwd()
    except OSError as error:
        raise InvalidInput(
            f"the working folder cannot be used ({error.strerror}): go to another one"
        ) from error


def _is_plain(error: Exception) -> bool:
    """Whether the error's own message is enough: it names a file, or click raised it."""
    if isinstance(error, OSError):
        return error.filename is not None or is_full(error)
    return any(each.__name__ == "ClickException" for each in type(error).__mro__)


def _storage(given: Mapping[str, Any]) -> str | None:
    # Imported only after an error, because every command is wrapped by this module.
    from studies.storage import parse_url
    from tuner.cli.options import StorageOptions, given_options

    try:
        options = {"storage": given.get("storage") or given.get("source")}
        url = given_options(StorageOptions, options).storage
        parse_url(url)
    except LimeTunerError:
        return None
    return url


def _log(given: Mapping[str, Any], storage: str | None) -> Path | None:
    """The log file of a command with the option ``--log``."""
    from tuner.cli.job import log_path
    from tuner.cli.options import JobOptions, given_options

    if storage is None or "log" not in given:
        return None
    return log_path(given_options(JobOptions, {"log": given["log"]}).log, storage)


def readable_error(
    error: BaseException, storage: str | None, log: Path | None = None
) -> LimeTunerError:
    """The error to show for an exception that is not ours.

    Args:
        storage: database URL that the command works on; ``None`` if it is not known.
        log: file that the command logs to.
    """
    if storage is not None:
        from studies.queries import damage_in
        from studies.storage import trouble_of

        trouble = trouble_of(error, storage)
        if trouble is not None:
            return trouble
        damage = damage_in(storage)
        if damage is not None:  # most likely the cause
            return StorageError(f"{damage}; {_recorded(error, storage, log)}")
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        return LimeTunerError(
            f"this needs the Python package {error.name}, which is not installed: "
            f"pip install {_install(error.name.partition('.')[0])}"
        )
    return LimeTunerError(f"unexpected {_summary(error)}: {_recorded(error, storage, log)}")


def _summary(error: BaseException) -> str:
    text = one_line(str(error), _SHOWN)
    return f"{type(error).__name__}{text and f' ({text})'}"


def _install(module: str) -> str:
    """The argument for ``pip install``: one of our extras if it brings the module."""
    name = module.replace("_", "-")
    try:
        declared = [_REQUIREMENT.match(each) for each in requires("lime-tuner") or ()]
    except PackageNotFoundError:  # run from a folder
        return name
    for found in declared:
        if found is not None and found[2] != "test" and name in (
            found[1].replace("_", "-"), found[1].replace("_", "-").removesuffix("-torch"),
            found[1].removeprefix("python-"),
        ):  # fmt: skip
            return f"'lime-tuner[{found[2]}]'"
    return name


def _recorded(error: BaseException, storage: str | None, log: Path | None) -> str:
    """Write the traceback to the first log that can be written; returns where it is, in words."""
    for path in _logs(storage, log):
        try:
            record_error(path, f"unexpected {_summary(error)}", error)
        except OSError:
            continue
        return f"details in {path}"
    return "no log for the details could be written"


def _logs(storage: str | None, log: Path | None) -> Iterator[Path]:
    """Logs to try: the command's, beside the database, in the cache, among temporary files."""
    from studies.catalog.assets import cache_folder
    from studies.storage import sqlite_path

    if log is not None:
        yield log
    file = None if storage is None else sqlite_path(storage)
    if file is not None and file.exists():
        yield file.absolute().with_name(LOG_FILE)
    with suppress(RuntimeError, OSError):  # there is no home folder
        yield cache_folder() / LOG_FILE
    yield Path(tempfile.gettempdir()) / LOG_FILE
