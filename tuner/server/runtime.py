"""What an explanation costs on a grading server, learned from the seconds that it has answered.

A line through seconds and samples says what the server's machine does, whatever happens there. For
pricing other superpixels and fits than those that were submitted, the runtime model of this
machine is scaled by two factors until it gives the server's seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explainers.errors import InvalidInput

__all__ = [
    "Errors", "Estimate", "LocalParts", "ServerFactors", "ServerLine", "TimedAnswer",
    "factors_of_line", "fit_factors", "fit_line",
]  # fmt: skip

_CONFIDENCE = 0.95
_LEAST_ANSWERS_OF_BATCHES = 4
_SAME = 1e-9  # relative; what differs by less is one value

_Predictor = Callable[[NDArray[np.float64]], float]


@dataclass(frozen=True)
class TimedAnswer:
    """What was submitted, as means over its images, and the server's mean seconds.

    Attributes:
        batches: calls of the classifier.
    """

    samples: float
    batch_size: float
    batches: float
    seconds: float


@dataclass(frozen=True)
class Estimate:
    """A coefficient; ``None`` where there are too few answers for its uncertainty.

    Attributes:
        interval: 95 % by Student's t.
    """

    value: float
    standard_error: float | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Errors:
    """How far a fit is from the answers, in seconds and answer by answer.

    Attributes:
        left_out: what a fit to the other answers says; ``None`` where they do not determine one.
    """

    answered: tuple[float, ...]
    fitted: tuple[float, ...]
    left_out: tuple[float, ...] | None

    @property
    def relative(self) -> tuple[float, ...]:
        """Fitted against answered, as a share of what was answered; positive is too much."""
        pairs = zip(self.fitted, self.answered, strict=True)
        return tuple(fitted / answered - 1 for fitted, answered in pairs)

    @property
    def leave_one_out(self) -> float | None:
        """Mean of |left out − answered| / answered."""
        if self.left_out is None:
            return None
        pairs = zip(self.left_out, self.answered, strict=True)
        return float(np.mean([abs(found / answered - 1) for found, answered in pairs]))


@dataclass(frozen=True)
class ServerLine:
    """seconds = intercept + samples × per_sample (+ batches × per_batch, where that shows).

    Attributes:
        per_batch: seconds of a call of the classifier, whatever its size.
    """

    intercept: Estimate
    per_sample: Estimate
    per_batch: Estimate | None
    errors: Errors

    def seconds(self, samples: float, batches: float) -> float:
        """Of one explanation."""
        further = 0.0 if self.per_batch is None else self.per_batch.value * batches
        return self.intercept.value + self.per_sample.value * samples + further


@dataclass(frozen=True)
class LocalParts:
    """What a submission costs by the runtime model of this machine, and what the server said.

    Means over images, in seconds.

    Attributes:
        fixed: segmentation and fit. per_sample: perturbation and prediction, of all samples.
    """

    fixed: float
    per_sample: float
    seconds: float


@dataclass(frozen=True)
class ServerFactors:
    """What the runtime model of this machine is multiplied by.

    Attributes:
        common: the answers do not tell the two apart, so both are the same.
    """

    fixed: float
    per_sample: float
    common: bool
    errors: Errors


def fit_line(answers: Sequence[TimedAnswer]) -> ServerLine:
    """Least squares; an effect of the batch size only where the answers show one.

    That takes four answers, more than one mean batch size, and a smaller leave-one-out error than
    without it.

    Raises:
        InvalidInput: fewer than two answers with different numbers of samples.
    """
    different = _different([answer.samples for answer in answers])
    if different < 2:
        some = "one answer" if len(answers) == 1 else f"{len(answers)} answers"
        raise InvalidInput(
            f"{some} with {different} mean number of samples determine no line: two are needed at "
            "least, so submit once more with another num_samples"
        )
    seconds = np.array([answer.seconds for answer in answers], dtype=np.float64)
    columns = [[1.0, answer.samples] for answer in answers]
    plain = _least_squares(np.array(columns), seconds)
    assert plain is not None
    found = plain
    batches = [[*row, answer.batches] for row, answer in zip(columns, answers, strict=True)]
    sizes = _different([answer.batch_size for answer in answers])
    if len(answers) >= _LEAST_ANSWERS_OF_BATCHES and sizes > 1:
        wider = _least_squares(np.array(batches), seconds)
        if wider is not None and _better(wider[1], plain[1]):
            found = wider
    estimates, errors = found
    return ServerLine(
        intercept=estimates[0],
        per_sample=estimates[1],
        per_batch=estimates[2] if len(estimates) > 2 else None,
        errors=errors,
    )


def _different(values: Sequence[float]) -> int:
    ordered = sorted(values)
    return 1 + sum(b - a > _SAME * max(abs(b), 1.0) for a, b in pairwise(ordered))


def _better(one: Errors, other: Errors) -> bool:
    if one.leave_one_out is None or other.leave_one_out is None:
        return False
    return one.leave_one_out < other.leave_one_out - _SAME


def _least_squares(
    design: NDArray[np.float64], seconds: NDArray[np.float64]
) -> tuple[list[Estimate], Errors] | None:
    """Coefficients of (answers, terms), and errors; ``None`` where the answers determine none."""
    coefficients = _solved(design, seconds)
    if coefficients is None:
        return None

    def fit(rows: NDArray[np.float64], target: NDArray[np.float64]) -> _Predictor | None:
        found = _solved(rows, target)
        return None if found is None else lambda row: float(row @ found)

    fitted = design @ coefficients
    errors = Errors(_floats(seconds), _floats(fitted), _left_out(design, seconds, fit))
    spread = _standard_errors(design, seconds - fitted)
    estimates = [Estimate(float(value)) for value in coefficients]
    if spread is not None:
        from scipy import stats

        freedom = len(seconds) - design.shape[1]
        reach = float(stats.t.ppf((1 + _CONFIDENCE) / 2, freedom)) * spread
        estimates = [
            Estimate(float(value), float(error), (float(value - half), float(value + half)))
            for value, error, half in zip(coefficients, spread, reach, strict=True)
        ]
    return estimates, errors


def _solved(
    design: NDArray[np.float64], seconds: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    scale = np.abs(design).max(axis=0, initial=0.0)
    if len(design) < design.shape[1] or not scale.all():
        return None
    scaled = design / scale
    if np.linalg.matrix_rank(scaled, tol=_SAME) < design.shape[1]:
        return None
    found: NDArray[np.float64] = np.linalg.lstsq(scaled, seconds, rcond=None)[0] / scale
    return found


def _standard_errors(
    design: NDArray[np.float64], residuals: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    freedom = len(design) - design.shape[1]
    if freedom < 1:
        return None
    scale = np.abs(design).max(axis=0)
    covariance = np.linalg.inv((design / scale).T @ (design / scale))
    variance = float(residuals @ residuals) / freedom
    errors: NDArray[np.float64] = np.sqrt(variance * np.diag(covariance)) / scale
    return errors


def _left_out(
    rows: NDArray[np.float64],
    seconds: NDArray[np.float64],
    fit: Callable[[NDArray[np.float64], NDArray[np.float64]], _Predictor | None],
) -> tuple[float, ...] | None:
    """Each answer as the others predict it; ``None`` where some others predict nothing."""
    found = []
    for number in range(len(rows)):
        others = np.arange(len(rows)) != number
        predictor = fit(rows[others], seconds[others]) if others.any() else None
        if predictor is None:
            return None
        found.append(predictor(rows[number]))
    return tuple(found)


def fit_factors(answers: Sequence[LocalParts]) -> ServerFactors:
    """Non-negative least squares for seconds ≈ fixed × its factor + per_sample × its factor.

    Where the answers do not tell the two apart (fewer than two different submissions, or one of
    the factors would be zero), it is one factor for both.

    Raises:
        InvalidInput: there is no answer.
    """
    if not answers:
        raise InvalidInput("no answer of the server: give --answers FILE, or submit first")
    rows = np.array([[answer.fixed, answer.per_sample] for answer in answers], dtype=np.float64)
    seconds = np.array([answer.seconds for answer in answers], dtype=np.float64)
    factors, common = _factors(rows, seconds)

    def fit(some: NDArray[np.float64], target: NDArray[np.float64]) -> _Predictor:
        found, _ = _factors(some, target)
        return lambda row: float(row @ found)

    errors = Errors(_floats(seconds), _floats(rows @ factors), _left_out(rows, seconds, fit))
    return ServerFactors(float(factors[0]), float(factors[1]), common, errors)


def _factors(
    rows: NDArray[np.float64], seconds: NDArray[np.float64]
) -> tuple[NDArray[np.float64], bool]:
    """(2,) factors, and whether they are one."""
    from scipy import optimize

    scale = rows.max(axis=0)
    if scale.all() and np.linalg.matrix_rank(rows / scale, tol=_SAME) == 2:
        found: NDArray[np.float64] = optimize.nnls(rows / scale, seconds)[0]
        if (found > _SAME * seconds.max()).all():  # rounding makes a price of nothing
            return found / scale, False
    total = rows.sum(axis=1)
    return np.full(2, float(total @ seconds) / float(total @ total)), True


def factors_of_line(
    line: ServerLine, fixed: float, per_sample: float, samples: float, batches: float
) -> tuple[float, float]:
    """Factors with which this machine's model gives a line's seconds for one parameter set.

    For a line that was fitted where this machine's model was not at hand.

    Args:
        fixed: seconds of segmentation and fit here, of that parameter set.
        per_sample: seconds of perturbation and prediction here, of all its samples.
        samples, batches: of that parameter set.

    Returns:
        Of the fixed part and of what is paid by the sample; the same where the line's intercept or
        slope is no cost at all.

    Raises:
        InvalidInput: the line gives that parameter set no seconds.
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


def _floats(values: NDArray[Any]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
