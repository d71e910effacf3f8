"""A calibration: what was learned from a grading server's answers, stored as one document."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from explainers.errors import InvalidInput
from explainers.masks import MaskRule
from tuner.runtime.model import RuntimeModel
from tuner.server.rules import MASK_RULES, Candidate, Verdict
from tuner.server.runtime import AnswerFacts, Errors, Estimate, ServerFactors, ServerLine

__all__ = ["Calibration", "RuleSearch"]

_KEPT_CANDIDATES = 20


@dataclass(frozen=True)
class RuleSearch:
    """How the rules were searched.

    Attributes:
        classifier: name of the classifier that was explained. The results are meaningless if the
            server uses another.
        classifier_sha256: its fingerprint.
        seeds: number of explainer seeds of every image.
        candidates: the best, in order.
        compared: number of all candidates.
        unusable: references that left an image without a usable mask.
    """

    classifier: str
    classifier_sha256: str
    seeds: int
    candidates: Sequence[Candidate]
    compared: int
    unusable: Sequence[str]


@dataclass(frozen=True)
class Calibration:
    """The document of a calibration.

    Attributes:
        line: the server's seconds as a linear function of samples.
        verdict: the reference and the mask rule to tune with.
        factors, runtime_model: this machine's model in the server's seconds; ``None`` if only the
            line was asked for.
        rules: ``None`` if only runtimes were asked for.
        taken: whether the user chose reference and mask rule.
    """

    catalog: str
    answers: Sequence[AnswerFacts]
    line: ServerLine
    verdict: Verdict
    factors: ServerFactors | None = None
    runtime_model: RuntimeModel | None = None
    rules: RuleSearch | None = None
    taken: bool = False

    @property
    def mask_rule(self) -> MaskRule | None:
        """How the server reads masks; ``None`` if that is not known."""
        name = self.verdict.mask_rule
        return None if name is None else MASK_RULES[name]

    def to_json(self) -> dict[str, Any]:
        """The calibration as JSON values, with the leave-one-out errors of the fits."""
        document = asdict(self)
        for name, fit in (("line", self.line), ("factors", self.factors)):
            if fit is not None:
                document[name]["leave_one_out"] = fit.errors.leave_one_out
        if self.runtime_model is not None:
            document["runtime_model"] = json.loads(self.runtime_model.to_json())
        if self.rules is not None:
            document["rules"]["candidates"] = document["rules"]["candidates"][:_KEPT_CANDIDATES]
        document["verdict"] = self.verdict.text
        document["reference"] = self.verdict.reference
        document["mask_rule"] = None if self.mask_rule is None else self.mask_rule.as_kwargs()
        return dict(json.loads(json.dumps(document)))  # tuples become lists

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Calibration:
        """The inverse of :meth:`to_json`; only the best candidates are stored.

        Raises:
            InvalidInput: the document is of another version.
        """
        try:
            line, factors, model, rules = (
                document[name] for name in ("line", "factors", "runtime_model", "rules")
            )
            return cls(
                catalog=document["catalog"],
                answers=[AnswerFacts(**answer) for answer in document["answers"]],
                line=ServerLine(
                    Estimate(**line["intercept"]),
                    Estimate(**line["per_sample"]),
                    line["per_batch"] and Estimate(**line["per_batch"]),
                    Errors(**line["errors"]),
                ),
                verdict=Verdict(
                    document["verdict"], document["reference"], _rule_name(document["mask_rule"])
                ),
                factors=factors
                and ServerFactors(
                    factors["fixed"],
                    factors["per_sample"],
                    factors["common"],
                    Errors(**factors["errors"]),
                ),
                runtime_model=model and RuntimeModel.from_json(json.dumps(model)),
                rules=rules
                and RuleSearch(
                    **{**rules, "candidates": [Candidate(**each) for each in rules["candidates"]]}
                ),
                taken=document["taken"],
            )
        except (KeyError, TypeError, ValueError, StopIteration) as error:
            raise InvalidInput(
                "the calibration was stored by another version of lime-tuner "
                f"({type(error).__name__}: {error}): run lime-tuner calibrate again"
            ) from error

    def identity(self, name: str) -> dict[str, str]:
        """Name and digest of the runtimes; studies with different ones cannot be compared.

        Args:
            name: the name that the calibration is stored under.
        """
        priced: Any = asdict(self.line)
        if self.runtime_model is not None:
            priced = self.runtime_model.to_json()
        digest = hashlib.sha256(json.dumps(priced, sort_keys=True).encode()).hexdigest()
        return {"name": name, "runtime_sha256": digest[:16]}


def _rule_name(kwargs: Mapping[str, Any] | None) -> str | None:
    if kwargs is None:
        return None
    rule = MaskRule(**kwargs)
    return next(name for name, known in MASK_RULES.items() if known == rule)
