"""What is told once."""

from __future__ import annotations

import pytest

from explainers.errors import InvalidInput
from explainers.messages import Decisions, decisions_logged, mask_source


def test_each_decision_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with decisions_logged() as decisions:
        for number in range(5):
            with mask_source(f"{number}.png", decisions) as source:
                source.record("cut at half")
                source.record("cut at half")
                source.record("united", f"labels {number}, 9")
        assert caplog.messages == []
    assert caplog.messages == [
        "cut at half: 0.png, 1.png, 2.png and 2 more",
        "united: 0.png (labels 0, 9), 1.png (labels 1, 9), 2.png (labels 2, 9) and 2 more",
    ]


def test_told_at_once_without_a_collector_and_after_an_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with (
        pytest.raises(InvalidInput, match=r"^a\.png is empty"),
        mask_source("a.png", None) as source,
    ):
        source.record("255 is void")
        raise source.error("is empty")
    assert caplog.messages == ["255 is void: a.png"]
    decisions = Decisions()
    decisions.log()
    assert len(caplog.messages) == 1
