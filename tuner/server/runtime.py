"""Models the seconds of an explanation on a grading server, fitted to those it has answered.

A line fits the server's seconds to the number of samples. It cannot tell the cost of other
superpixels and fits than those that were submitted. For these, the runtime model of this machine is
scaled by two factors so that it gives the server's seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from explainers.errors import InvalidInput

__all__ = [
    "AnswerFacts", "Errors", "Estimate", "ServerFactors", "ServerLine", "factors_of_line",
    "fit_factors", "fit_line",
]  # fmt: skip

_CONFIDENCE = 0.95
_LEAST_ANSWERS_OF_BATCHES = 4
_SAME = 1e-9  # relative difference below which values count as equal

Floats = NDArray[np.float64]
Solver = Callable[[Floats, Floats], Floats | None]
"""(answers, terms) and (answers,) seconds → (terms,) coefficients; ``None`` where undetermined."""


@dataclass(frozen=True)
class AnswerFacts:
    """A submission, as means over its images, and the server's answer.

    Attributes:
        avg_iou: in [0, 1].
        avg_time: seconds.
        batches: calls of the classifier.
    """

    name: str
    parameters_sha256: str
    avg_iou: float
    avg_time: float
    samples: float
    batch_size: float
    batches: float


@dataclass(frozen=True)
class Estimate:
    """A coefficient; without error and interval if there are too few answers for them.

    Attributes:
        interval: 95 % confidence interval by Student's t.
    """

    value: float
    standard_error: float | None = None
    interval: Sequence[float] | None = None


@dataclass(frozen=True)
class Errors:
    """How well a fit matches the answers; all values are seconds, one for each answer.

    Attributes:
        left_out: the value of a fit to the other answers; ``None`` where these do not determine
            one.
    """

    answered: Sequence[float]
    fitted: Sequence[float]
    left_out: Sequence[float] | None

    @property
    def relative(self) -> Floats:
        """(fitted − answered) / answered."""
        return np.divide(self.fitted, self.answered) - 1

    @property
    def leave_one_out(self) -> float | None:
        """Mean of |left out − answered| / answered; ``None`` without ``left_out``."""
        if self.left_out is None:
            return None
        return float(np.abs(np.divide(self.left_out, self.answered) - 1).mean())


@dataclass(frozen=True)
class ServerLine:
    """seconds = intercept + samples × per_sample (+ batches × per_batch).

    Attributes:
        per_batch: seconds of a call of the classifier, whatever its size; ``None`` where the
            answers do not show any.
    """

    intercept: Estimate
    per_sample: Estimate
    per_batch: Estimate | None
    errors: Errors

    def seconds(self, samples: float, batches: float) -> float:
        """Seconds of one explanation."""
        further = 0.0 if self.per_batch is None else self.per_batch.value * batches
        return self.intercept.value + self.per_sample.value * samples + further


@dataclass(frozen=True)
class ServerFactors:
    """Factors that scale the runtime model of this machine to the server's seconds.

    Attributes:
        fixed: factor of segmentation and fit.
        per_sample: factor of perturbation and prediction.
        common: whether both are the same, because the answers do not tell them apart.
    """

    fixed: float
    per_sample: float
    common: bool
    errors: Errors


def fit_line(answers: Sequence[AnswerFacts]) -> ServerLine:
    """Fit the line by least squares, with a term for batches only where the answers show one.

    That needs four answers, more than one mean batch size, and a smaller leave-one-out error than
    without the term.

    Raises:
        InvalidInput: there are fewer than two different mean numbers of samples.
    """
    samples, sizes = ([getattr(a, name) for a in answers] for name in ("samples", "batch_size"))
    seconds = np.array([answer.avg_time for answer in answers])
    design = np.column_stack([np.ones(len(answers)), samples, [a.batches for a in answers]])
    if _different(samples) < 2:
        some = "one answer" if len(answers) == 1 else f"{len(answers)} answers"
        raise InvalidInput(
            f"{some} with {_different(samples)} mean number of samples determine no line: two are "
            "needed at least, so submit once more with another num_samples"
        )
    terms, errors = 2, _errors(design[:, :2], seconds, _least_squares)
    enough = len(answers) >= _LEAST_ANSWERS_OF_BATCHES and _different(sizes) > 1
    if enough and _least_squares(design, seconds) is not None:
        wider = _errors(design, seconds, _least_squares)
        one, other = wider.leave_one_out, errors.leave_one_out
        if one is not None and other is not None and one < other - _SAME:
            terms, errors = 3, wider
    estimates = _estimates(design[:, :terms], seconds)
    return ServerLine(estimates[0], estimates[1], dict(enumerate(estimates)).get(2), errors)


def _different(values: Sequence[float]) -> int:
    ordered = np.sort(values)
    return 1 + int((np.diff(ordered) > _SAME * np.maximum(np.abs(ordered[1:]), 1)).sum())


def _least_squares(design: Floats, seconds: Floats) -> Floats | None:
    scale = np.abs(design).max(axis=0, initial=0.0)
    scale[scale == 0] = 1
    found, _, rank, _ = np.linalg.lstsq(design / scale, seconds, rcond=_SAME)
    coefficients: Floats = found / scale
    return coefficients if rank == design.shape[1] else None


def _errors(design: Floats, seconds: Floats, solve: Solver) -> Errors:
    """The errors of a fit that the answers determine."""
    whole = solve(design, seconds)
    assert whole is not None
    others = [
        solve(np.delete(design, i, axis=0), np.delete(seconds, i)) for i in range(len(seconds))
    ]
    left_out = [float(row @ c) for row, c in zip(design, others, strict=True) if c is not None]
    return Errors(
        seconds.tolist(),
        (design @ whole).tolist(),
        left_out if len(left_out) == len(others) else None,
    )


def _estimates(design: Floats, seconds: Floats) -> list[Estimate]:
    """The coefficients of ordinary least squares, with their uncertainty if it is determined."""
    coefficients = _least_squares(design, seconds)
    assert coefficients is not None
    freedom = len(seconds) - len(coefficients)
    if freedom < 1:
        return [Estimate(float(value)) for value in coefficients]
    residuals, scale = seconds - design @ coefficients, np.abs(design).max(axis=0)
    covariance = np.linalg.inv((design / scale).T @ (design / scale)) / np.outer(scale, scale)
    spread = np.sqrt(residuals @ residuals / freedom * np.diag(covariance))
    reach = stats.t.ppf((1 + _CONFIDENCE) / 2, freedom) * spread
    return [
        Estimate(value, error, (value - half, value + half))
        for value, error, half in np.transpose([coefficients, spread, reach]).tolist()
    ]


def fit_factors(parts: Sequence[tuple[float, float]], seconds: Sequence[float]) -> ServerFactors:
    """Non-negative least squares for seconds ≈ fixed × its factor + per_sample × its factor.

    If the answers do not tell the two apart (fewer than two different submissions, or one of the
    factors would be zero), both are the same.

    Args:
        parts: for each submission the seconds of this machine's runtime model, as
            ``tuner.server.runs.mean_parts`` gives them: (fixed, per_sample), mean over images.
        seconds: the server's seconds of each submission.
    """
    rows, answered = np.array(parts, dtype=np.float64), np.array(seconds, dtype=np.float64)
    factors = _factors(rows, answered)
    assert factors is not None
    fixed, per_sample = factors.tolist()
    errors = _errors(rows, answered, _factors)
    return ServerFactors(fixed, per_sample, common=fixed == per_sample, errors=errors)


def _factors(rows: Floats, seconds: Floats) -> Floats | None:
    """(2,) factors; equal where the answers do not tell them apart."""
    if not len(seconds):
        return None
    scale = rows.max(axis=0)
    if scale.all() and np.linalg.matrix_rank(rows / scale, tol=_SAME) == 2:
        found = optimize.nnls(rows / scale, seconds)[0]
        if (found > _SAME * seconds.max()).all():  # rounding may turn zero into a tiny value
            factors: Floats = found / scale
            return factors
    total = rows.sum(axis=1)
    return np.full(2, float(total @ seconds) / float(total @ total))


def factors_of_line(
    line: ServerLine, fixed: float, per_sample: float, samples: float, batches: float
) -> tuple[float, float]:
    """Factors with which this machine's model gives a line's seconds for one parameter set.

    For calibrations that fitted only the line, without a runtime model.

    Args:
        fixed: this machine's seconds of segmentation and fit with that parameter set.
        per_sample: this machine's seconds of perturbation and prediction, for all its samples.
        samples, batches: numbers of that parameter set.

    Returns:
        The factors of the fixed part and of the part by the sample. Both are the same if the line's
        intercept or slope is not positive.

    Raises:
        InvalidInput: the line's seconds for that parameter set are not positive.
    """
    whole = line.seconds(samples, batches)
    if not whole > 0:
        raise InvalidInput(
            f"the line through the server's seconds gives lime's defaults {whole:.2f} s: "
            "give more answers to lime-tuner calibrate"
        )
    once = line.intercept.value
    if 0 < once < whole:
        return once / fixed, (whole - once) / per_sample
    both = whole / (fixed + per_sample)
    return both, both
