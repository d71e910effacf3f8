"""What a submission may ask for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explainers.errors import InvalidParameters
from explainers.lime import DISTANCE_METRICS, LimeParameters, Regressor, Segmentation
from studies.export import plain_kwargs
from studies.web.evaluator import Limits
from studies.web.grading.limits import checked_submission
from tests.studies.export.hostile_pickles import entry, out_of_bounds


@pytest.mark.parametrize("name", out_of_bounds())
def test_what_is_out_of_bounds_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(InvalidParameters) as caught:
        checked_submission(out_of_bounds()[name], ("one",), Limits())
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("document", [None, [], 3, {"one": 3}, {"one": [entry()]}])
def test_other_documents_are_refused(document: object) -> None:
    with pytest.raises(InvalidParameters, match="no dictionary"):
        checked_submission(document, ("one",), Limits())


@given(
    samples=st.integers(2, 5000),
    batch=st.integers(1, 500),
    metric=st.sampled_from(DISTANCE_METRICS),
    segmentation=st.sampled_from([
        None,
        Segmentation.of("slic", n_segments=1000, compactness=0.001, sigma=20),
        Segmentation.of("felzenszwalb", scale=1, min_size=1),
        Segmentation.of("quickshift", kernel_size=30, max_dist=1000),
    ]),
    regressor=st.sampled_from([None, Regressor.of("Lasso", alpha=0.1)]),
)  # fmt: skip
def test_what_can_be_tuned_is_accepted(
    samples: int,
    batch: int,
    metric: str,
    segmentation: Segmentation | None,
    regressor: Regressor | None,
) -> None:
    kwargs = LimeParameters(
        segmentation=segmentation, num_samples=samples, batch_size=batch, distance_metric=metric,
        regressor=regressor,
    ).as_kwargs()  # fmt: skip
    assert checked_submission({"one": kwargs}, ("one",), Limits()) == {"one": plain_kwargs(kwargs)}


def test_limes_defaults_are_accepted() -> None:
    assert checked_submission({"one": LimeParameters().as_kwargs()}, ("one",), Limits())


def test_a_batch_is_never_larger_than_the_samples() -> None:
    document = {"one": entry(num_samples=100, batch_size=100_000)}
    assert checked_submission(document, ("one",), Limits(batch=100))
    with pytest.raises(InvalidParameters, match="batch_size"):
        checked_submission(document, ("one",), Limits(batch=99))
