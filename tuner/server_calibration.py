"""What a grading server's answers have taught, as one value that is stored and read back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from explainers.errors import InvalidInput
from explainers.masks import MaskRule
from explainers.references import parse_reference
from tuner.runtime_model import RuntimeModel
from tuner.server_answers import KnownAnswer
from tuner.server_rules import LEAST_ANSWERS, MASK_RULES, Candidate, Verdict, ranked_first
from tuner.server_runtime import Errors, Estimate, ServerFactors, ServerLine

__all__ = ["AnswerFacts", "Calibration", "RuleSearch", "chosen_rule", "parse_take"]

_KEPT_CANDIDATES = 20


@dataclass(frozen=True)
class AnswerFacts:
    """An answer that was used; means over images.

    Attributes:
        batches: calls of the classifier.
    """

    name: str
    parameters_sha256: str
    avg_iou: float
    avg_time: float
    samples: float
    batch_size: float
    batches: float

    @classmethod
    def of(cls, answer: KnownAnswer) -> AnswerFacts:
        """What is kept of an answer."""
        timed = answer.timed
        return cls(
            answer.name,
            answer.parameters_sha256,
            answer.avg_iou,
            answer.avg_time,
            timed.samples,
            timed.batch_size,
            timed.batches,
        )


@dataclass(frozen=True)
class RuleSearch:
    """How the rules were searched.

    Attributes:
        classifier: that explained; the server's must be the same for any of it to mean anything.
        classifier_sha256: its fingerprint.
        seeds: explainer seeds of every image.
        candidates: the best, in order; ``compared`` in all.
        unusable: references that left an image without a usable mask.
    """

    classifier: str
    classifier_sha256: str
    seeds: int
    candidates: tuple[Candidate, ...]
    compared: int
    unusable: tuple[str, ...]


@dataclass(frozen=True)
class Calibration:
    """The document of a calibration.

    Attributes:
        factors, runtime_model: this machine's model in the server's seconds; ``None`` where only
            the line was wanted.
        rules: ``None`` where only runtimes were wanted.
        verdict: with the reference and the mask rule to tune with, ``None`` in it where undecided.
        taken: the user chose them.
    """

    catalog: str
    answers: tuple[AnswerFacts, ...]
    line: ServerLine
    verdict: Verdict
    factors: ServerFactors | None = None
    runtime_model: RuntimeModel | None = None
    rules: RuleSearch | None = None
    taken: bool = False

    @property
    def mask_rule(self) -> MaskRule | None:
        """How the server reads masks, where that is known."""
        name = self.verdict.mask_rule
        return None if name is None else MASK_RULES[name]

    def to_json(self) -> dict[str, Any]:
        """Plain values; the fitted coefficients beside how well they fit."""
        rules = None
        if self.rules is not None:
            kept = replace(self.rules, candidates=self.rules.candidates[:_KEPT_CANDIDATES])
            rules = asdict(kept)
        model = None if self.runtime_model is None else json.loads(self.runtime_model.to_json())
        document = {
            "catalog": self.catalog,
            "answers": [asdict(answer) for answer in self.answers],
            "line": {**asdict(self.line), "leave_one_out": self.line.errors.leave_one_out},
            "factors": None
            if self.factors is None
            else {**asdict(self.factors), "leave_one_out": self.factors.errors.leave_one_out},
            "runtime_model": model,
            "rules": rules,
            "verdict": self.verdict.text,
            "reference": self.verdict.reference,
            "mask_rule": None if self.mask_rule is None else self.mask_rule.as_kwargs(),
            "taken": self.taken,
        }
        return dict(json.loads(json.dumps(document)))  # tuples become lists

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Calibration:
        """The inverse of :meth:`to_json`, but for candidates that are not kept.

        Raises:
            InvalidInput: a document of another version.
        """
        try:
            factors, model, rules = (
                document[name] for name in ("factors", "runtime_model", "rules")
            )
            return cls(
                catalog=document["catalog"],
                answers=tuple(AnswerFacts(**answer) for answer in document["answers"]),
                line=_line(document["line"]),
                verdict=Verdict(
                    document["verdict"], document["reference"], _rule_name(document["mask_rule"])
                ),
                factors=None if factors is None else _factors(factors),
                runtime_model=None if model is None else RuntimeModel.from_json(json.dumps(model)),
                rules=None if rules is None else _rules(rules),
                taken=document["taken"],
            )
        except (KeyError, TypeError, ValueError, StopIteration) as error:
            raise InvalidInput(
                "the calibration was stored by another version of lime-tuner "
                f"({type(error).__name__}: {error}): run lime-tuner calibrate again"
            ) from error

    def identity(self, name: str) -> dict[str, str]:
        """What tells apart studies whose runtimes cannot be compared.

        Args:
            name: that the calibration is stored under.
        """
        priced: Any = asdict(self.line)
        if self.runtime_model is not None:
            priced = self.runtime_model.to_json()
        digest = hashlib.sha256(json.dumps(priced, sort_keys=True).encode()).hexdigest()
        return {"name": name, "runtime_sha256": digest[:16]}


def _line(document: Mapping[str, Any]) -> ServerLine:
    further = document["per_batch"]
    return ServerLine(
        intercept=_estimate(document["intercept"]),
        per_sample=_estimate(document["per_sample"]),
        per_batch=None if further is None else _estimate(further),
        errors=_errors(document["errors"]),
    )


def _estimate(document: Mapping[str, Any]) -> Estimate:
    interval = document["interval"]
    return Estimate(
        document["value"],
        document["standard_error"],
        None if interval is None else (interval[0], interval[1]),
    )


def _errors(document: Mapping[str, Any]) -> Errors:
    left_out = document["left_out"]
    return Errors(
        tuple(document["answered"]),
        tuple(document["fitted"]),
        None if left_out is None else tuple(left_out),
    )


def _factors(document: Mapping[str, Any]) -> ServerFactors:
    return ServerFactors(
        document["fixed"],
        document["per_sample"],
        document["common"],
        _errors(document["errors"]),
    )


def _rules(document: Mapping[str, Any]) -> RuleSearch:
    candidates = tuple(
        Candidate(
            **{
                **each,
                "predicted": tuple(each["predicted"]),
                "standard_errors": tuple(each["standard_errors"]),
                "same": tuple(each["same"]),
            }
        )
        for each in document["candidates"]
    )
    return RuleSearch(
        **{**document, "candidates": candidates, "unusable": tuple(document["unusable"])}
    )


def _rule_name(kwargs: Mapping[str, Any] | None) -> str | None:
    if kwargs is None:
        return None
    rule = MaskRule(**kwargs)
    return next(name for name, known in MASK_RULES.items() if known == rule)


def parse_take(text: str) -> tuple[str, str | None]:
    """What ``--take`` says: ``REFERENCE`` or ``REFERENCE:MASK``.

    Returns:
        The reference, and the name of the mask rule where one was given.

    Raises:
        InvalidInput: unknown method or rule.
    """
    reference, _, mask_rule = text.partition(":")
    if mask_rule and mask_rule not in MASK_RULES:
        raise InvalidInput(
            f"mask rule '{mask_rule}' is unknown: use one of {', '.join(MASK_RULES)}"
        )
    if reference != "masks" and not Path(reference).exists():
        reference = parse_reference(reference).text
    return reference, mask_rule or None


def chosen_rule(candidates: Sequence[Candidate], reference: str, mask_rule: str | None) -> Verdict:
    """The user's own choice, with what the answers say about it.

    Args:
        candidates: ranked; none where rules were not compared.
        mask_rule: the best of the reference where ``None``.

    Raises:
        InvalidInput: the reference leaves an image without a usable mask.
    """
    if not candidates:
        text = f"{reference} is taken; it was not compared with the answers"
        return Verdict(text, reference, mask_rule or next(iter(MASK_RULES)))
    found = ranked_first(candidates, reference, mask_rule)
    if found is None:
        raise InvalidInput(
            f"{reference} leaves an image of the catalogue without a usable mask: take another rule"
        )
    says = "explains" if found.explains else "does not explain"
    few = ", which are too few to decide" if len(found.predicted) < LEAST_ANSWERS else ""
    return Verdict(
        f"{reference}:{found.mask_rule} is taken; it {says} the answers{few}, and is "
        f"{found.error:.3f} off on average",
        reference,
        found.mask_rule,
    )
