"""The price list of a grading server, from its answers."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explainers.errors import InvalidInput
from explainers.lime import LimeParameters, Segmentation
from tests.tuner.scenes import RUNTIME_MODEL
from tuner.runtime.model import RuntimeModel
from tuner.server.runtime import AnswerFacts, factors_of_line, fit_factors, fit_line

# What a real server answered to three public parameter sets: mean samples, batch size, seconds.
KNOWN = (
    (1000.0, 10.0, 4.651949858665466),
    (310.0, 8.0, 1.9471065044403075),
    (680.0, 10.0, 3.3749428033828734),
)
PIXELS = 128 * 128


def timed(samples: float, seconds: float, batch_size: float = 10.0) -> AnswerFacts:
    return AnswerFacts("", "", 0.5, seconds, samples, batch_size, samples / batch_size)


def known() -> list[AnswerFacts]:
    return [timed(samples, seconds, batch) for samples, batch, seconds in KNOWN]


def test_a_line_is_recovered() -> None:
    answers = [timed(n, 0.5 + 0.004 * n) for n in (100, 400, 1000)]
    line = fit_line(answers)
    assert line.intercept.value == pytest.approx(0.5)
    assert line.per_sample.value == pytest.approx(0.004)
    assert line.per_batch is None
    assert line.seconds(250, 25) == pytest.approx(1.5)
    assert line.errors.leave_one_out == pytest.approx(0, abs=1e-9)
    assert line.per_sample.standard_error == pytest.approx(0, abs=1e-9)
    two = fit_line(answers[:2])
    assert two.per_sample.value == pytest.approx(0.004)
    assert (two.per_sample.standard_error, two.per_sample.interval) == (None, None)
    assert two.errors.leave_one_out is None
    # Without the second, the others determine no line.
    assert fit_line([answers[0], answers[1], answers[0]]).errors.left_out is None


def test_three_answers_of_a_real_server() -> None:
    line = fit_line(known())
    assert max(abs(error) for error in line.errors.relative) <= 0.05
    # By hand: each from the straight line through the other two.
    expected = []
    for out in range(3):
        (x0, _, y0), (x1, _, y1) = (KNOWN[i] for i in range(3) if i != out)
        x, _, y = KNOWN[out]
        expected.append(abs(y0 + (x - x0) * (y1 - y0) / (x1 - x0) - y) / y)
    assert line.errors.leave_one_out == pytest.approx(np.mean(expected))
    assert line.errors.leave_one_out == pytest.approx(0.0136, abs=1e-4)
    # One degree of freedom: the 97.5 % point of Student's t is 12.706.
    low, high = line.per_sample.interval or (0.0, 0.0)
    assert line.per_sample.standard_error is not None
    assert high - low == pytest.approx(2 * 12.706 * line.per_sample.standard_error, rel=1e-4)
    assert low < 0.0039 < high


def test_uncertainty_is_that_of_ordinary_least_squares() -> None:
    from scipy import stats

    rng = np.random.default_rng(0)
    samples = rng.integers(50, 1000, 9).astype(float)
    seconds = 0.7 + 0.003 * samples + rng.normal(0, 0.1, 9)
    line = fit_line([timed(x, y) for x, y in zip(samples, seconds, strict=True)])
    expected = stats.linregress(samples, seconds)
    assert line.per_sample.value == pytest.approx(expected.slope)
    assert line.per_sample.standard_error == pytest.approx(expected.stderr)
    assert line.intercept.standard_error == pytest.approx(expected.intercept_stderr)


def test_batches_count_only_where_they_show() -> None:
    sizes = [(100, 5), (300, 10), (500, 20), (800, 10), (1000, 50)]
    answers = [timed(n, 0.5 + 0.003 * n + 0.01 * n / size, size) for n, size in sizes]
    line = fit_line(answers)
    assert line.per_batch is not None
    assert line.per_batch.value == pytest.approx(0.01)
    assert line.per_sample.value == pytest.approx(0.003)
    assert line.seconds(200, 20) == pytest.approx(1.3)
    assert fit_line(answers[:3]).per_batch is None  # three answers cannot tell
    flat = [timed(n, 0.5 + 0.003 * n, size) for n, size in sizes]
    assert fit_line(flat).per_batch is None  # it predicts nothing better
    one_size = [replace(a, batch_size=10, batches=a.samples / 10) for a in answers]
    assert fit_line(one_size).per_batch is None


@pytest.mark.parametrize("answers", [[timed(300, 2.0)], [timed(300, 2.0), timed(300, 2.1)]])
def test_one_number_of_samples_is_no_line(answers: list[AnswerFacts]) -> None:
    with pytest.raises(InvalidInput, match="another num_samples"):
        fit_line(answers)


SETS = [
    LimeParameters(num_samples=1000),
    LimeParameters(num_samples=200, num_features=4),
    LimeParameters(num_samples=500, segmentation=Segmentation.of("slic", n_segments=20)),
    LimeParameters(num_samples=64, num_features=6, batch_size=32),
]


def parts_of(parameters: LimeParameters) -> tuple[float, float]:
    parts = RUNTIME_MODEL.parts(parameters, 30, PIXELS)
    return parts.segmentation + parts.fit, parts.perturbation + parts.prediction


def test_made_up_factors_are_recovered() -> None:
    server = RUNTIME_MODEL.scaled(fixed=3.0, per_sample=0.25)
    seconds = [server.parts(p, 30, PIXELS).total for p in SETS]
    found = fit_factors([parts_of(p) for p in SETS], seconds)
    assert (found.fixed, found.per_sample) == pytest.approx((3.0, 0.25))
    assert not found.common
    assert max(abs(error) for error in found.errors.relative) < 1e-9
    assert found.errors.leave_one_out == pytest.approx(0, abs=1e-9)
    model = RUNTIME_MODEL.scaled(fixed=found.fixed, per_sample=found.per_sample)
    other = LimeParameters(num_samples=77, segmentation=Segmentation.of("felzenszwalb"))
    expected = server.parts(other, 12, PIXELS).as_dict()
    assert model.parts(other, 12, PIXELS).as_dict() == pytest.approx(expected)
    assert RuntimeModel.from_json(model.to_json()) == model
    here = RUNTIME_MODEL.parts(other, 12, PIXELS)
    assert expected["segmentation"] == pytest.approx(3.0 * here.segmentation)
    assert expected["fit"] == pytest.approx(3.0 * here.fit)
    assert expected["prediction"] == pytest.approx(0.25 * here.prediction)
    assert expected["perturbation"] == pytest.approx(0.25 * here.perturbation)


def test_what_cannot_be_told_apart_is_one_factor() -> None:
    one = fit_factors([(1.0, 9.0)], [5.0])
    assert (one.fixed, one.per_sample, one.common) == (0.5, 0.5, True)
    assert one.errors.leave_one_out is None
    twice = fit_factors([(1.0, 9.0)] * 2, [5.0, 5.0])
    assert (twice.fixed, twice.common) == (pytest.approx(0.5), True)
    # Least squares would give the fixed part a negative price.
    negative = fit_factors([(2.0, 4.0), (2.0, 12.0)], [4.0, 14.0])
    assert negative.common
    assert negative.fixed == negative.per_sample > 0


def test_a_line_alone_prices_the_defaults_as_it_says() -> None:
    line = fit_line(known())
    fixed, per_sample = factors_of_line(line, 0.2, 20.0, 1000, 100)
    assert fixed * 0.2 == pytest.approx(line.intercept.value)
    assert fixed * 0.2 + per_sample * 20.0 == pytest.approx(line.seconds(1000, 100))
    downhill = fit_line([timed(100, 0.3), timed(1000, 4.5)])  # an intercept below zero
    assert factors_of_line(downhill, 0.2, 20.0, 1000, 100) == pytest.approx((4.5 / 20.2,) * 2)
    with pytest.raises(InvalidInput, match="more answers"):
        factors_of_line(fit_line([timed(100, 4.0), timed(500, 0.3)]), 0.2, 20.0, 1000, 100)


measured = st.tuples(st.integers(10, 2000), st.sampled_from([5, 10, 32]), st.floats(0.1, 60))


@given(st.lists(measured, min_size=3, max_size=7), st.randoms())
def test_the_order_of_answers_does_not_matter(
    values: list[tuple[int, int, float]], random: Random
) -> None:
    values[0] = (2500, *values[0][1:])  # two numbers of samples at least
    answers = [timed(n, seconds, size) for n, size, seconds in values]
    parts = [(0.2 + n % 7, n * 0.01) for n, _, _ in values]
    paid = [seconds for *_, seconds in values]
    order = list(range(len(values)))
    random.shuffle(order)
    line, mixed = fit_line(answers), fit_line([answers[i] for i in order])
    close = {"rel": 1e-6, "abs": 1e-9}
    assert mixed.seconds(700, 70) == pytest.approx(line.seconds(700, 70), **close)
    assert (mixed.per_batch is None) == (line.per_batch is None)
    fitted = [line.errors.fitted[i] for i in order]
    assert mixed.errors.fitted == pytest.approx(fitted, **close)
    one = fit_factors(parts, paid)
    other = fit_factors([parts[i] for i in order], [paid[i] for i in order])
    assert (other.fixed, other.per_sample) == pytest.approx((one.fixed, one.per_sample), **close)
