"""What a study is made of and how it is run, as one value; and the settings of a machine.

The command line fills a :class:`StudySpec`. It is stored with the study, and workers, the service
and clusters start from the stored one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from explainers.errors import InvalidInput
from explainers.messages import one_line
from tuner.problem import SearchSpace
from tuner.problem.constraint import stored_constraint
from tuner.problem.settings import AGREEMENT, TuningSettings

__all__ = ["PLAN", "Machine", "StudySpec", "stored_settings"]

PLAN = "plan"
"""The study attribute for the part of a spec that is not among the study's facts."""

_SOURCE = ("catalog", "model", "weights", "cam_layer")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The settings of one machine; picklable.

    Attributes:
        storage: database URL.
        assets: folder that is searched for photographs first.
        engine: see ``explainers.engines.ENGINES``.
        threads: number of torch's threads, and of superpixel maps computed at a time.
        cache: folder of the prediction cache; ``None`` for the one in the user's cache folder.
        log: file that processes of this machine write to; ``None`` for no log.
        catalog, model, weights, cam_layer: replace those of a study's spec where not ``None``.
    """

    storage: str
    assets: Path | None = None
    device: str | None = None
    engine: str = "auto"
    threads: int = 1
    cache: Path | None = None
    log: Path | None = None
    catalog: str | None = None
    model: str | None = None
    weights: str | None = None
    cam_layer: str | None = None

    def of(self, spec: StudySpec) -> StudySpec:
        """The spec with this machine's catalogue and classifier."""
        own = {name: value for name in _SOURCE if (value := getattr(self, name)) is not None}
        return replace(spec, **own) if own else spec


@dataclass(frozen=True, kw_only=True)
class StudySpec:
    """Spec of one image's study; a catalogue's study has one for each image. Picklable.

    Attributes:
        name: name of the study.
        key: key of the image.
        catalog, model, weights, cam_layer: values of the command line's options. A shipped name
            means the same on every machine, a path may not; digests of what was loaded are
            compared.
        class_index: the class that is explained; ``None`` for the likeliest.
        reference: the value of ``Reference.to_json``.
        runtime_model: the value of ``RuntimeModel.to_json``.
        mask_rule: arguments of ``MaskRule``; ``None`` for the default.
        calibration: the value of ``Calibration.identity`` for the calibration that the runtime
            model comes from; ``None`` for a machine's own model.
    """

    name: str
    key: str
    catalog: str
    model: str
    weights: str | None = None
    cam_layer: str | None = None
    class_index: int | None = None
    reference: Mapping[str, Any]
    runtime_model: str
    mask_rule: Mapping[str, Any] | None = None
    calibration: Mapping[str, str] | None = None
    settings: TuningSettings

    def plan(self) -> dict[str, Any]:
        """The part that is stored beside the study's facts (``tuner.study.identity``)."""
        return {
            **{name: getattr(self, name) for name in _SOURCE},
            **self.settings.to_json(),
        }

    @classmethod
    def from_attributes(cls, name: str, attributes: Mapping[str, Any]) -> StudySpec | None:
        """The spec from a stored study's attributes; ``None`` where ``tune`` has stored no plan.

        Args:
            attributes: user attributes of the study; reference and runtime model are not checked.

        Raises:
            InvalidInput: the plan, or a fact, is damaged, missing or of another version.
        """
        plan, settings = attributes.get(PLAN), stored_settings(attributes)
        if plan is None or settings is None:
            return None
        try:
            facts = dict(attributes)
            settings = replace(
                settings,
                runtime_weight=_number(facts["runtime_weight"]),
                constrain=stored_constraint(facts),
                objective=facts.get("objective", AGREEMENT),
                space=SearchSpace.from_json(facts["search_space"]),
            )
            return cls(
                name=name,
                key=facts["image_key"],
                **{each: plan[each] for each in _SOURCE},
                class_index=facts["class_index"],
                reference=facts["reference"],
                runtime_model=facts["runtime_model"],
                mask_rule=facts["mask_rule"],
                calibration=facts.get("calibration"),
                settings=settings,
            )
        except InvalidInput:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInput(
                f"what the study says that it was made from is damaged ({type(error).__name__}: "
                f"{one_line(str(error))}): begin another with lime-tuner tune"
            ) from error


def stored_settings(attributes: Mapping[str, Any]) -> TuningSettings | None:
    """The settings in a study's plan, without those in its facts; ``None`` without a plan.

    Raises:
        InvalidInput: the plan is damaged, or of another version.
    """
    plan = attributes.get(PLAN)
    if not isinstance(plan, Mapping):
        return None
    kinds = {"catalog": str, "model": str, "weights": (str, type(None)),
             "cam_layer": (str, type(None))}  # fmt: skip
    for name, kind in kinds.items():
        if name not in plan or not isinstance(plan[name], kind):  # type: ignore[arg-type]
            raise _damaged(f"{name} is {one_line(repr(plan.get(name)), 40)}")
    own = {name: value for name, value in plan.items() if name not in _SOURCE}
    try:
        return TuningSettings.from_json(own)
    except InvalidInput as error:
        raise _damaged(str(error)) from error


def _damaged(what: str) -> InvalidInput:
    return InvalidInput(
        f"the study's plan is damaged, or of another version of lime-tuner ({what}): run "
        "lime-tuner tune with the same settings, which writes it again"
    )


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is no number")
    return number
