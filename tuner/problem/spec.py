"""What a study is made of and how it is run, as one value; and what a machine brings to it.

The command line fills a :class:`StudySpec`, it is stored with the study, and workers, the service
and clusters start from what is stored.
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
from tuner.problem.settings import AGREEMENT, FIDELITY, TuningSettings

__all__ = ["PLAN", "Machine", "StudySpec", "stored_settings"]

PLAN = "plan"
"""The study attribute that holds what is no fact of the study."""

_SOURCE = ("catalog", "model", "weights", "cam_layer")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What one machine brings; picklable.

    Attributes:
        storage: database URL.
        assets: folder that is searched for photographs first.
        engine: see ``explainers.engines.ENGINES``.
        threads: for torch, and superpixel maps computed at a time.
        cache: folder of kept predictions; that of the process's own cache where ``None``.
        log: file that processes of this machine write to; none where ``None``.
        catalog, model, weights, cam_layer: instead of what studies say.
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
    """One image's study; of a catalogue's study each image has one. Picklable.

    Attributes:
        name: of the study. key: of its image.
        catalog, model, weights, cam_layer: as the command line's options say; a shipped name means
            the same everywhere, a path may not. Whether weights are the same, their hash says.
        class_index: the class that is explained; ``None`` for the likeliest.
        reference: as ``Reference.to_json`` gives it.
        runtime_model: as ``RuntimeModel.to_json`` gives it.
        mask_rule: arguments of ``MaskRule``; ``None`` for the default.
        calibration: where the runtime model comes from, as ``Calibration.identity`` says; ``None``
            for a machine's own.
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
        """What is stored of it beside the study's facts (``tuner.study.identity``)."""
        return {
            **{name: getattr(self, name) for name in _SOURCE},
            **self.settings.to_json(),
        }

    @classmethod
    def from_attributes(cls, name: str, attributes: Mapping[str, Any]) -> StudySpec | None:
        """What a stored study says; ``None`` where ``tune`` has not left a plan.

        Args:
            attributes: of the study. Of its reference and runtime model nothing is checked here.

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
                constrain=FIDELITY if FIDELITY in facts.get("constraints", []) else None,
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
    """The settings in a study's plan, without what its facts say; ``None`` where it has no plan.

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
