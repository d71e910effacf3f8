"""The facts that identify a study, and how they differ from those of a call that resumes it.

A study's trials can be compared only if all of them were made from the same photograph, mask,
classifier, search space and so on. These facts are the study's user attributes. They are written
when it is created (:func:`studies.storage.optuna_tables.add_study`) and compared whenever it is
opened.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.study import StudyDirection

from explainers.errors import InvalidInput, StorageError
from explainers.messages import one_line
from explainers.references import Reference, parse_reference
from studies.results.attributes import LABEL, LABELS, PICTURES, PREPARED, TRANSFER
from studies.storage import holds_studies, open_storage
from studies.storage.reconnecting import trouble_told
from tuner.problem.settings import AGREEMENT
from tuner.problem.spec import PLAN
from tuner.runtime.model import RuntimeModel

__all__ = [
    "StoredStudy", "StudyIdentity", "check_identity", "computed_rule", "read_studies", "read_study",
    "stored_reference", "stored_runtime_model",
]  # fmt: skip

_SCORE = (StudyDirection.MAXIMIZE,)
_FRONT = (StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE)
# Recorded, but not compared; the value that was stored first stays. Newer packages and another
# engine may resume a study, and its first runtime model prices every trial. Areas follow from the
# masks, the network's facts from the classifier. A catalogue is named after its folder, which may
# be moved, like the photographs; these are compared by digest.
_RECORDED = frozenset({
    "package_versions", "runtime_model", "engine", "reference_areas", "network", "catalog",
    PREPARED,
})  # fmt: skip
# Values of facts that older studies of ours lack, because there was no choice then.
_BEFORE: Mapping[str, Any] = {
    "objective": AGREEMENT, "constraints": [], "calibration": None, LABEL: None, LABELS: {},
}  # fmt: skip
# Older studies store these in their plan instead.
_PLANNED = ("sampler", "seeds", "seed")
# Every study of ours that has trials has these, as far as they apply to its kind.
_CORE = ("image_sha256", "images", "classifier", "reference")
# These follow from the photograph and the classifier, so messages that name those leave them out.
_FOLLOWING = ("class_index", "class_name", "probability")
# Tolerance for other devices and engines; other weights or code change the classifier's digest.
_SAME_PROBABILITY = 0.02
_LONGEST = 60  # characters of a value in a message


@dataclass(frozen=True, eq=False)
class StudyIdentity:
    """What identifies a study.

    Attributes:
        facts: JSON values by name; see :func:`tuner.tuning.study_facts`.
        directions: whether each of its objectives is maximised or minimised.
    """

    facts: Mapping[str, Any]
    directions: tuple[StudyDirection, ...] = _SCORE

    @classmethod
    def of(cls, facts: Mapping[str, Any], *, pareto: bool = False) -> StudyIdentity:
        """The identity of a study that is to be created or resumed.

        Raises:
            InvalidInput: a number among the facts is NaN or infinite, so it could not be compared.
        """
        for name, value in facts.items():
            if not _is_finite(value):
                raise InvalidInput(
                    f"no study can be made with {name}={_short(value)}: its numbers must be finite"
                )
        # Through JSON, as a database returns them: tuples become lists.
        return cls(json.loads(json.dumps(dict(facts))), _FRONT if pareto else _SCORE)

    def differences(self, wanted: StudyIdentity) -> list[str]:
        """How this stored study differs from the wanted one, as lines ``FACT=THIS, not THAT``."""
        made = {**(_BEFORE if self.facts else {}), **_planned(self.facts), **self.facts}
        asked = {**_BEFORE, **wanted.facts}
        differences = {
            name: line
            for name in asked
            if name in made and name not in _RECORDED and (line := _difference(name, made, asked))
        }
        if differences.keys() & {"image_sha256", "classifier"}:
            differences = {
                name: line for name, line in differences.items() if name not in _FOLLOWING
            }
        if "images" in differences:
            differences.pop("reference", None)  # its digest covers the images, too
        return list(differences.values())

    def missing(self, wanted: StudyIdentity) -> dict[str, Any]:
        """The wanted facts that this stored study lacks.

        If it has a reference but no ``cam_layer``, that stays unknown: the stored mask may come
        from another layer than the one that is wanted now.
        """
        planned = _planned(self.facts)
        unknown = {"cam_layer"} if "reference" in self.facts else set()
        return {
            name: planned.get(name, value)
            for name, value in wanted.facts.items()
            if name not in self.facts and name not in unknown - planned.keys()
        }


@dataclass(frozen=True, eq=False)
class StoredStudy:
    """A study's id in its storage, and its identity."""

    study_id: int
    identity: StudyIdentity


def read_study(storage: optuna.storages.BaseStorage, name: str) -> StoredStudy | None:
    """The study that is stored under a name; ``None`` where there is none.

    Raises:
        InvalidInput: one of its attributes is not JSON.
    """
    try:
        study_id = storage.get_study_id_from_name(name)
    except KeyError:
        return None
    try:
        facts = storage.get_study_user_attrs(study_id)
    except ValueError as error:
        raise InvalidInput(
            f"an attribute of study '{name}' is damaged ({error}): give another name with --study"
        ) from error
    directions = tuple(storage.get_study_directions(study_id))
    return StoredStudy(study_id, StudyIdentity(facts, directions))


def read_studies(url: str, names: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    """The facts, by name, of those of the named studies that exist.

    Raises:
        StorageError: the database cannot be read.
        InvalidInput: an attribute is not JSON.
    """
    if not holds_studies(url):
        return {}
    with trouble_told(url), closing(open_storage(url, write=False)) as storage:
        studies = {name: read_study(storage, name) for name in names}
    return {name: each.identity.facts for name, each in studies.items() if each is not None}


def check_identity(
    storage: optuna.storages.BaseStorage, name: str, wanted: StudyIdentity
) -> StoredStudy | None:
    """Refuse to resume a study that was made from something else; writes nothing.

    Returns:
        The study that is stored under the name; ``None`` where there is none.

    Raises:
        InvalidInput: the stored study differs, or is not ours; says how, and what to do.
    """
    stored = read_study(storage, name)
    if stored is None:
        return None
    made, do = stored.identity, "give another name with --study"
    if any(core in wanted.facts and core not in made.facts for core in _CORE):
        # A study whose creation was interrupted has some of our facts and nothing else.
        foreign = made.facts.keys() - wanted.facts.keys() - {PLAN, PICTURES, TRANSFER}
        # Read only when needed: there may be many.
        trials = len(storage.get_all_trials(stored.study_id, deepcopy=False))
        if foreign or trials:
            holds = f"{trials} trials" if trials else f"the attribute '{min(foreign)}'"
            raise InvalidInput(
                f"study '{name}' is not lime-tuner's: it has {holds}, and does not say what it was "
                f"made from: {do}"
            )
    if made.directions != wanted.directions:
        if made.directions not in (_SCORE, _FRONT):
            looked_for = ", ".join(each.name.lower() for each in made.directions)
            raise InvalidInput(
                f"study '{name}' is not lime-tuner's: its objectives are to {looked_for}: {do}"
            )
        had, has = ("with", "without") if made.directions == _FRONT else ("without", "with")
        raise InvalidInput(
            f"study '{name}' was made {had} --pareto and cannot go on {has} it: {do}"
        )
    differences = made.differences(wanted)
    if differences:
        raise InvalidInput(
            f"study '{name}' was made with {'; '.join(differences)}: {do}, or the same settings"
        )
    return stored


def computed_rule(rule: str) -> str | None:
    """The full ``METHOD@RULE`` of a computed reference; ``None`` for a user's own mask.

    A mask computed on another device may differ in some pixels. So computed references are compared
    by their rule, and every process uses the mask that was stored first.
    """
    try:
        return parse_reference(rule).text
    except InvalidInput:
        return None


def stored_reference(name: str, facts: Mapping[str, Any]) -> Reference | None:
    """The reference in a study's facts; ``None`` where there is none.

    Args:
        name: name of the study.

    Raises:
        InvalidInput: the reference is damaged.
    """
    if "reference" not in facts:
        return None
    try:
        reference = Reference.from_json(facts["reference"])
        if reference.sha256 != facts["reference"].get("sha256", reference.sha256):
            raise ValueError("another mask than its digest says")
        return reference
    except (ValueError, KeyError, TypeError, AttributeError, OSError, StorageError) as error:
        raise _damaged(name, "reference", facts) from error


def stored_runtime_model(name: str, facts: Mapping[str, Any]) -> RuntimeModel | None:
    """The runtime model in a study's facts; ``None`` where there is none.

    Args:
        name: name of the study.

    Raises:
        InvalidInput: the model is damaged.
    """
    text = facts.get("runtime_model")
    if text is None:
        return None
    try:
        json.loads(text, parse_constant=_no_number)
        return RuntimeModel.from_json(text)
    except (InvalidInput, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(name, "runtime_model", facts) from error


def _damaged(name: str, fact: str, facts: Mapping[str, Any]) -> InvalidInput:
    return InvalidInput(
        f"the {fact} that is stored with study '{name}' is damaged ({_short(facts[fact])}): "
        "give another name with --study"
    )


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _planned(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that a study has in its plan only."""
    plan = facts.get(PLAN)
    if not isinstance(plan, Mapping):
        return {}
    planned = {name: plan[name] for name in _PLANNED if name in plan and name not in facts}
    if plan.get("cam_layer") is not None and "cam_layer" not in facts:
        planned["cam_layer"] = plan["cam_layer"]
    return planned


def _is_finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(map(_is_finite, value.values()))
    return not isinstance(value, (list, tuple)) or all(map(_is_finite, value))


def _difference(name: str, made: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """``FACT=THIS, not THAT``; empty where they are the same."""
    this, that = made[name], asked[name]
    if this == that:
        return ""
    if name == "calibration":
        return f"{_calibrated(this)}, not with {_calibrated(that)}, so their seconds do not compare"
    if name in (LABEL, LABELS):
        return f"explanations of {_explained(this)}, not of {_explained(that)}"
    if name == "cam_layer" and not _is_computed(made.get("reference")):
        return ""  # a user's own mask does not depend on a layer
    if name == "probability" and isinstance(this, float) and abs(this - that) < _SAME_PROBABILITY:
        return ""
    if name == "search_space":
        this, that = _document(this), _document(that)
    if isinstance(this, Mapping) and isinstance(that, Mapping):
        if name in ("classifier", "reference"):
            return _digests_differ(name, this, that)
        return _entries_differ(name, this, that)
    return f"{name}={_short(this)}, not {_short(that)}"


def _digests_differ(name: str, this: Mapping[str, Any], that: Mapping[str, Any]) -> str:
    """How the digests of two classifiers or references differ; names and paths do not count."""
    called = "rule" if name == "reference" else "name"
    if name == "reference" and this.get(called) == that.get(called) and _is_computed(that):
        return ""
    digests = this.get("sha256"), that.get("sha256")
    if digests[0] == digests[1]:
        return ""
    shown = [
        f"{_short(each.get(called))} (sha256 {_short(digest)[:12]})"
        for each, digest in zip((this, that), digests, strict=True)
    ]
    changed = ", which has been changed" if this.get(called) == that.get(called) else ""
    return f"{name}={shown[0]}, not {shown[1]}{changed}"


def _entries_differ(name: str, this: Mapping[str, Any], that: Mapping[str, Any]) -> str:
    """Which entries of two mappings differ, in words."""
    gone, new = sorted(this.keys() - that.keys()), sorted(that.keys() - this.keys())
    changed = sorted(key for key in this.keys() & that.keys() if this[key] != that[key])
    parts = [f"{key}={_short(this[key])}, not {_short(that[key])}" for key in changed]
    parts += [f"{', '.join(gone)}, which is missing here"] * bool(gone)
    parts += [f"without {', '.join(new)}"] * bool(new)
    text = "; ".join(parts)
    return f"{name} {one_line(text, 3 * _LONGEST)}"


def _is_computed(reference: Any) -> bool:
    rule = reference.get("rule") if isinstance(reference, Mapping) else None
    return isinstance(rule, str) and computed_rule(rule) is not None


def _document(text: Any) -> Any:
    try:
        return json.loads(text)
    except (ValueError, TypeError):
        return text


def _explained(label: Any) -> str:
    return f"class {_short(label)}" if label or label == 0 else "the likeliest class"


def _calibrated(identity: Any) -> str:
    if identity is None:
        return "the runtime model of this machine"
    if not isinstance(identity, Mapping):
        return _short(identity)
    return f"calibration {identity.get('name')} ({identity.get('runtime_sha256')})"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return one_line(text, _LONGEST)
