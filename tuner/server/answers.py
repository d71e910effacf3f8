"""Parameter sets with a grading server's answers: from a file, or as recorded by ``submit``."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sklearn import linear_model

from explainers.errors import InvalidInput, InvalidParameters
from explainers.lime import LIME_ARGUMENTS, REGRESSORS, SEGMENTERS, LimeParameters
from explainers.messages import one_line
from studies.export import parameters_digest
from tuner.server.runtime import AnswerFacts

if TYPE_CHECKING:
    from studies.records import Submitted

__all__ = ["KnownAnswer", "from_submissions", "lime_parameters", "read_answers"]

_FIELDS = ("params", "avg_iou", "avg_time")


@dataclass(frozen=True)
class KnownAnswer:
    """Parameters by image, and the server's answer to them.

    Attributes:
        parameters_sha256: the value of ``studies.export.parameters_digest``.
        avg_iou: in [0, 1].
        avg_time: seconds.
    """

    name: str
    parameters: Mapping[str, LimeParameters]
    parameters_sha256: str
    avg_iou: float
    avg_time: float

    @property
    def facts(self) -> AnswerFacts:
        """Means over images, to which the runtime is fitted, and which are stored."""
        costs = [
            (each.num_samples, each.batch_size, math.ceil(each.num_samples / each.batch_size))
            for each in self.parameters.values()
        ]
        samples, batch_size, batches = (sum(each) / len(costs) for each in zip(*costs, strict=True))
        return AnswerFacts(
            self.name, self.parameters_sha256, self.avg_iou, self.avg_time,
            samples, batch_size, batches,
        )  # fmt: skip


def read_answers(path: Path, keys: Sequence[str]) -> list[KnownAnswer]:
    """Read ``{"submissions": [{"name", "params": {KEY: {...}}, "avg_iou", "avg_time"}]}``.

    Parameters are plain values as ``studies.export.plain_kwargs`` gives them.

    Args:
        keys: keys of the catalogue, all of whose images the server explains.

    Raises:
        InvalidInput: the file cannot be read, or an entry is wrong; says which.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be read ({error.strerror}): give the JSON file of known answers"
        ) from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} is not JSON ({str(error)[:80]})") from error
    entries = document.get("submissions") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries:
        raise InvalidInput(
            f'{path} has no answers: give {{"submissions": [{{"name", "params", "avg_iou", '
            '"avg_time"}]}'
        )
    answers = []
    for number, entry in enumerate(entries, start=1):
        name = entry.get("name") if isinstance(entry, dict) else None
        called = one_line(name, 60) if isinstance(name, str) and name else f"entry {number}"
        try:
            answers.append(_from_entry(called, entry, keys))
        except InvalidInput as error:
            raise InvalidInput(f"{path}, {called}: {error}") from error
    return answers


def _from_entry(name: str, entry: Any, keys: Sequence[str]) -> KnownAnswer:
    if not isinstance(entry, dict):
        raise InvalidInput(f"is a {type(entry).__name__}, not an object with {', '.join(_FIELDS)}")
    for field in _FIELDS:
        if field not in entry:
            raise InvalidInput(f"has no {field}: each answer has {', '.join(_FIELDS)}")
    params, iou, seconds = (entry[field] for field in _FIELDS)
    if type(iou) not in (int, float) or not 0 <= iou <= 1:  # to Python, true is a number
        raise InvalidInput(f"avg_iou {str(iou)[:40]} must be a number from 0 to 1")
    if type(seconds) not in (int, float) or not 0 < seconds <= sys.float_info.max:
        raise InvalidInput(f"avg_time {str(seconds)[:40]} must be seconds above 0")
    return _answer(name, params, float(iou), float(seconds), keys)


def _answer(name: str, params: Any, iou: float, seconds: float, keys: Sequence[str]) -> KnownAnswer:
    if not isinstance(params, dict):
        raise InvalidInput(f"params is a {type(params).__name__}, not an object by image")
    unknown = [key for key in params if key not in keys]
    if unknown:
        raise InvalidInput(
            f"'{unknown[0][:80]}' is not an image of the catalogue: it has {', '.join(keys)}"
        )
    missing = [key for key in keys if key not in params]
    if missing:
        raise InvalidInput(
            f"has no parameters of {', '.join(missing)}: the server explains every image"
        )
    parameters = {}
    for key in keys:
        try:
            parameters[key] = lime_parameters(params[key])
        except InvalidParameters as error:
            raise InvalidInput(f"{key}: {error}") from error
    return KnownAnswer(name, parameters, parameters_digest(params), iou, seconds)


def from_submissions(
    recorded: Sequence[Submitted], keys: Sequence[str]
) -> tuple[list[KnownAnswer], list[str]]:
    """The answers to recorded submissions.

    Submissions that cannot be explained again here are left out, as users cannot edit records.

    Args:
        keys: keys of the catalogue.

    Returns:
        The answers, and for each submission that is left out a line that says why.
    """
    answers, left_out = [], []
    for submission in recorded:
        name = f"{submission.at:%Y-%m-%d %H:%M} {submission.study or ''}".strip()
        plain = {key: dict(values) for key, values in submission.parameters.items()}
        try:
            answers.append(_answer(name, plain, submission.avg_iou, submission.avg_time, keys))
        except InvalidInput as error:
            left_out.append(f"the submission of {name} to {submission.url} is left out: {error}")
    return answers, left_out


def lime_parameters(plain: Any) -> LimeParameters:
    """Parameters from plain keyword arguments; missing ones have lime's defaults.

    Raises:
        InvalidParameters: lime cannot be called with them, or they name something that cannot be
            run again here.
    """
    if not isinstance(plain, dict):
        raise InvalidParameters(f"parameters are an object, not a {type(plain).__name__}")
    for name in plain:
        if name not in LIME_ARGUMENTS:
            raise InvalidParameters(
                f"{str(name)[:60]!r} is no argument of explain_instance: "
                f"it takes {', '.join(LIME_ARGUMENTS)}"
            )
    if "top_labels" in plain and plain["top_labels"] is None:
        raise InvalidParameters("top_labels is null, but masks are read for the top label: give 1")
    document = dict(plain)
    document["segmentation"] = _segmentation(document.pop("segmentation_fn", None))
    document["regressor"] = _regressor(document.pop("model_regressor", None))
    if document.get("labels") is None:
        document.pop("labels", None)  # lime ignores them where top_labels is given
    return LimeParameters.from_json(json.dumps(document))


def _segmentation(plain: Any) -> dict[str, Any] | None:
    """The segmentation without what ``explainers.lime.segmentation`` always passes."""
    if plain is None:
        return None
    if not isinstance(plain, dict):
        raise InvalidParameters(
            f"segmentation_fn={str(plain)[:60]!r} must be null or "
            '{"algorithm": "slic", "n_segments": 12, "start_label": 0}'
        )
    segmenter, parameters = SEGMENTERS.get(str(plain.get("algorithm"))), dict(plain)
    for name, value in segmenter.fixed.items() if segmenter else ():
        if parameters.pop(name, None) != value:
            raise InvalidParameters(
                f"segmentation_fn has no {name}={value}, without which lime mistakes its "
                f'superpixels: such a set cannot be run again here; leave it out, or say "{name}": '
                f"{value} if it was meant"
            )
    return parameters


def _regressor(plain: Any) -> dict[str, Any] | None:
    """The regressor without arguments that equal scikit-learn's defaults."""
    if plain is None:
        return None
    if not isinstance(plain, dict) or plain.get("name") not in REGRESSORS:
        raise InvalidParameters(
            f"model_regressor={str(plain)[:60]!r} must be null or an object with one of the names "
            f"{', '.join(REGRESSORS)}"
        )
    name = plain["name"]
    defaults = getattr(linear_model, name)().get_params()
    kept = {"name": name}
    for parameter, value in plain.items():
        if parameter in REGRESSORS[name]:
            kept[parameter] = value
        elif parameter != "name" and (parameter not in defaults or defaults[parameter] != value):
            raise InvalidParameters(
                f"model_regressor's {str(parameter)[:60]}={str(value)[:40]} cannot be run again "
                f"here: {name} may have {', '.join(REGRESSORS[name]) or 'no parameters'}"
            )
    return kept
