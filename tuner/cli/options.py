"""Makes command options from dataclasses, and reads them from command line, environment and file.

A command takes a group as one parameter, and :func:`takes_groups` makes an option of each of its
fields that :class:`tuner.options.Option` declares::

    @takes_groups
    def status(where: StudyOptions, as_json: AsJson = False) -> None: ...

A value comes from the command line, else from ``LIME_TUNER_NAME``, else from ``lime-tuner.toml`` in
the working folder, else from the field's default.
"""

from __future__ import annotations

import functools
import inspect
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from explainers.errors import InvalidInput
from studies.passwords import without_passwords
from studies.storage import DEFAULT_STORAGE
from tuner.options import MACHINE, OUTPUT, SEARCH, WHAT, Declared, Option, options_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "SETTINGS_FILE", "AsJson", "AssetsOption", "Calibrated", "CatalogOption", "CatalogOptions",
    "ClassifierOptions", "CutoffOption", "DeviceOption", "EngineOptions", "GradesOption",
    "JobOptions", "MachineOptions", "Portfolio", "RecordOptions", "ReferenceOptions",
    "ServerOption", "SourceOption", "StorageOptions", "StudyOptions", "again", "given_options",
    "known_settings", "takes_groups",
]  # fmt: skip

SETTINGS_FILE = "lime-tuner.toml"

_Group = TypeVar("_Group")
_KEYWORD = inspect.Parameter.KEYWORD_ONLY
Calibrated = Annotated[
    str | None,
    typer.Option(
        "--calibrated",
        help="Name of a calibration: prices, reference and mask rule of a grading server.",
        rich_help_panel=WHAT,
    ),
]
Portfolio = Annotated[
    str | None,
    typer.Option(
        "--portfolio",
        help="Tried first in a new study: imagenet30, which comes with the package, a file of "
        "lime-tuner portfolio, or the prefix of studies it was run for.",
        rich_help_panel=SEARCH,
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="One JSON document on stdout.", rich_help_panel=OUTPUT)
]


@dataclass(frozen=True, kw_only=True)
class CatalogOption:
    catalog: Annotated[
        str, Option("tml25, photos, demo, a TOML file, or a folder of pictures.")
    ] = "tml25"


@dataclass(frozen=True, kw_only=True)
class AssetsOption:
    assets: Annotated[
        Path | None, Option("Folder that is searched for photographs before the cache.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class CatalogOptions(AssetsOption, CatalogOption):
    images: Annotated[str | None, Option("Only these keys, separated by commas.")] = None


@dataclass(frozen=True, kw_only=True)
class DeviceOption:
    device: Annotated[
        str | None, Option("auto, cpu, cuda, cuda:N or mps.", "auto", panel=MACHINE)
    ] = None


@dataclass(frozen=True, kw_only=True)
class ClassifierOptions(DeviceOption):
    model: Annotated[
        str | None,
        Option(
            "A torchvision classifier, efficientnet_lite0, demo, timm:NAME, hf:NAME_OR_FOLDER, "
            "package.module:factory, or function:package.module:name, a black box.",
            "the catalogue's",
        ),
    ] = None
    weights: Annotated[str | None, Option("A state dict file, or a torchvision weights name.")] = (
        None
    )
    cam_layer: Annotated[str | None, Option("Layer for class activation maps, e.g. layer4.")] = None


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    engine: Annotated[
        str,
        Option(
            "Who computes classifier answers: auto, torch, onnxruntime, openvino.", panel=MACHINE
        ),
    ] = "auto"


@dataclass(frozen=True, kw_only=True)
class ReferenceOptions:
    reference: Annotated[
        str | None,
        Option(
            "METHOD@RULE (gradcam@0.3, multiscale@grabcut, scorecam@top10), a folder of masks, "
            "a COCO file, or masks for the catalogue's own."
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class StorageOptions:
    """The database that is read and written."""

    storage: Annotated[str, Option("Database URL.", secret=True)] = DEFAULT_STORAGE


@dataclass(frozen=True, kw_only=True)
class RecordOptions:
    """The database that a result is recorded in; ``None`` for none."""

    storage: Annotated[str | None, Option("Database URL to record in.", "none", secret=True)] = None


@dataclass(frozen=True, kw_only=True)
class StudyOptions(StorageOptions):
    """The studies of a database that a command works on."""

    study: Annotated[
        str | None, Option("Prefix of the studies' names.", "the catalogue's name")
    ] = None


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """Log and notification of a command that may run for hours."""

    log: Annotated[
        Path | None,
        Option(
            "Log file, or none.",
            "lime-tuner.log beside the SQLite database, or here",
            panel=OUTPUT,
        ),
    ] = None
    notify: Annotated[
        str | None,
        Option(
            "Address that is sent a JSON document when the job ends.", secret=True, panel=OUTPUT
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class MachineOptions(EngineOptions):
    """The processes that run trials, and their engine."""

    workers: Annotated[
        int,
        Option("Processes; each tunes one image at a time.", least=1, most=1_000, panel=MACHINE),
    ] = 1
    cluster: Annotated[
        str | None,
        Option("Address of a Dask scheduler, e.g. tcp://scheduler:8786: run there.", panel=MACHINE),
    ] = None
    threads: Annotated[
        int | None,
        # torch crashes with a million threads
        Option(
            "Of each worker.",
            "the cores, shared among the workers",
            least=1,
            most=1_000,
            panel=MACHINE,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class SourceOption:
    """The database that ``copy`` reads."""

    storage: Annotated[
        str, Option("Database URL to copy from.", names=("--from",), secret=True)
    ] = DEFAULT_STORAGE


@dataclass(frozen=True, kw_only=True)
class GradesOption:
    """The database that a grading server records grades in."""

    storage: Annotated[str, Option("Database URL for the grades.", secret=True)] = (
        "sqlite:///lime-tuner-grades.db"
    )


@dataclass(frozen=True, kw_only=True)
class ServerOption:
    url: Annotated[str | None, Option("Address of the grading server.", secret=True)] = None


@dataclass(frozen=True, kw_only=True)
class CutoffOption:
    """The time limit of a grading server."""

    cutoff: Annotated[
        float | None,
        Option("Send nothing that is predicted to take more seconds for all images.", above=0),
    ] = None


_GROUPS: tuple[type, ...] = (
    CatalogOptions, ClassifierOptions, MachineOptions, ReferenceOptions, StudyOptions, JobOptions,
    ServerOption, CutoffOption,
)  # fmt: skip


@functools.cache
def known_settings() -> Mapping[str, Declared]:
    """Every setting that ``lime-tuner.toml`` and the environment accept, by name."""
    # Imported here: it takes as long to import as all of lime-tuner status, which does not need it.
    from tuner.problem.settings import TuningSettings

    groups = (*_GROUPS, TuningSettings)
    return {_name(each): each for group in groups for each in options_of(group)}


def takes_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Wrap a command so that every declared field of its groups becomes an option.

    A group with an ``of`` method is made by that, because some of its defaults depend on other
    options; any other group is made by its constructor.
    """
    hints = get_type_hints(command, include_extras=True)
    parameters: list[inspect.Parameter] = []
    groups: dict[str, type] = {}
    for parameter in inspect.signature(command).parameters.values():
        hint = hints[parameter.name]
        if is_dataclass(hint) and isinstance(hint, type):
            groups[parameter.name] = hint
            parameters += map(_parameter, options_of(hint))
        else:
            parameters.append(parameter.replace(annotation=hint, kind=_KEYWORD))

    @functools.wraps(command)
    def run(**given: Any) -> None:
        for name, group in groups.items():
            own = {declared.name: given.pop(declared.name) for declared in options_of(group)}
            given[name] = given_options(group, own)
        command(**given)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def given_options(group: type[_Group], on_command_line: Mapping[str, Any]) -> _Group:
    """Make a group; each of its values comes from the first source that has it.

    Args:
        on_command_line: values by field; ``None`` where an option was not given.

    Raises:
        InvalidInput: a value is wrong, or ``lime-tuner.toml`` cannot be used.
    """
    file = _read_file()
    values = {}
    for declared in options_of(group):
        found = _given(declared, on_command_line.get(declared.name), file)
        if found is not None:
            values[declared.name] = found
    make: Callable[[Mapping[str, Any]], _Group] | None = getattr(group, "of", None)
    return group(**values) if make is None else make(values)


def again(*groups: object) -> str:
    """The options that give another command the same values, for a shell; no passwords.

    What the environment, ``lime-tuner.toml`` or a default gives anyway is left out.
    """
    words: dict[str, str] = {}
    for group in groups:
        without = given_options(type(group), {})
        for declared in options_of(type(group)):
            value = getattr(group, declared.name)
            if value is not None and value != getattr(without, declared.name):
                words[_flags(declared)[0]] = shlex.quote(without_passwords(str(value)))
    return "".join(f" {flag} {word}" for flag, word in words.items())


def _name(declared: Declared) -> str:
    """The setting's name in files; the environment has it in capitals."""
    return "space" if declared.name == "space_file" else declared.name


def _flags(declared: Declared) -> tuple[str, ...]:
    return declared.option.names or (f"--{declared.name.replace('_', '-')}",)


def _parameter(declared: Declared) -> inspect.Parameter:
    """The parameter for typer, with default ``None``: other sources are read then."""
    option, flags = declared.option, _flags(declared)
    shown = option.default_help
    if not shown and declared.kind not in (bool, tuple) and declared.default is not None:
        shown = f"{declared.default}"
    text = option.help + (f"  [default: {shown}]" if shown else "")
    if declared.kind is bool and declared.default is True:
        flags = tuple(f"{flag}/--no-{flag.removeprefix('--')}" for flag in flags)
    kind: Any = list[str] if declared.kind is tuple else declared.kind
    return inspect.Parameter(
        declared.name, _KEYWORD, default=None,
        annotation=Annotated[
            kind | None, typer.Option(*flags, help=text, rich_help_panel=option.panel)
        ],
    )  # fmt: skip


def _given(declared: Declared, on_command_line: Any, file: Mapping[str, Any]) -> Any:
    """The value from the first source that has one; ``None`` where none has."""
    if on_command_line not in (None, []):
        return declared.check(on_command_line, _flags(declared)[0])
    variable = f"LIME_TUNER_{_name(declared).upper()}"
    if os.environ.get(variable):
        return declared.from_text(os.environ[variable], f"the environment variable {variable}")
    value = file.get(_name(declared))
    return None if value is None else declared.check(value, _in_file(declared))


def _in_file(declared: Declared) -> str:
    return f"{SETTINGS_FILE}: {_name(declared)}"


def _read_file() -> dict[str, Any]:
    """Read ``lime-tuner.toml`` and check all of it, also settings that this command does not use.

    Raises:
        InvalidInput: it cannot be read, or a setting is unknown or wrong.
    """
    path = Path(SETTINGS_FILE)
    if not os.path.lexists(path):
        return {}
    if path.exists() and not path.is_file():  # reading a pipe would block
        raise InvalidInput(f"{path} is no file: remove it, or write settings into one")
    try:
        document = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not in UTF-8: save it as UTF-8") from error
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # also of numbers with thousands of digits
        raise InvalidInput(f"{path} cannot be read: {error}") from error
    known = known_settings()
    unknown = sorted(set(document) - set(known))
    if unknown:
        raise InvalidInput(
            f"{path} has an unknown setting '{unknown[0]}': known are {', '.join(sorted(known))}"
        )
    for name, value in document.items():
        known[name].check(value, _in_file(known[name]), unquoted=True)
    return document
