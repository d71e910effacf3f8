"""What is told once."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from explainers.classifiers import class_number, same_name
from explainers.errors import InvalidInput
from explainers.references import Decisions, decisions_logged
from explainers.references.decisions import mask_source


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


# A class's name has one meaning, or is refused with the numbers to choose from.


IMAGENET = (
    "tench", "Cardigan", "crane", "cardigan", "crane", "golden retriever", "jack-o'-lantern",
    "café au lait", "projectile, missile", "missile", "rock beauty, Holocanthus tricolor", "007",
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "number", "loose"),
    [
        ("cardigan", 3, False),
        ("Cardigan", 1, False),
        ("  Tench ", 0, False),
        ("golden  Retriever", 5, False),
        ("golden_retriever", 5, True),
        ("Golden-Retriever", 5, True),
        ("jack-o’-lantern", 6, True),
        ("jack o lantern", 6, True),
        ("cafe\u0301 au lait", 7, True),
        ("cafe au lait", 7, True),
        ("missile", 9, False),
        ("projectile", 8, False),
        ("holocanthus tricolor", 10, False),
        ("tench, Tinca tinca", 0, True),
        ("4", 4, False),
        ("007", 11, False),
        ("7", 7, False),
    ],
)
def test_one_plain_meaning(name: str, number: int, loose: bool) -> None:
    assert class_number(name, IMAGENET) == (number, loose)


@pytest.mark.parametrize(
    ("name", "names", "says"),
    [
        ("crane", IMAGENET, r'2 classes are called .*class_name = "2" .*class_name = "4"'),
        ("CARDIGAN", IMAGENET, r'"1" \(Cardigan\) or class_name = "3" \(cardigan\)'),
        ("tench, missile", IMAGENET, "3 classes"),
        ("CAR", ("car", "cart, Car"), "2 classes"),
        ("car_digan", ("car digan", "car-digan"), "2 classes"),
        ("golden retreiver", IMAGENET, "did you mean 'golden retriever'"),
        ("zebra", IMAGENET, "the 12 names are tench"),
        ("12", IMAGENET, "classes 0 to 11"),
        ("-1", IMAGENET, "classes 0 to 11"),
        ("4.0", IMAGENET, "no class is called"),
        ("", IMAGENET, "no class is called ''"),
        ("'", IMAGENET, "no class is called"),
        ("cat", (), 'no class names: give its number, e.g. class_name = "3"'),
        ("-1", (), "classes 0 up"),
    ],
)
def test_what_has_none_is_refused(name: str, names: Sequence[str], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        class_number(name, names)


def test_numbers_where_there_are_no_names() -> None:
    assert class_number(" 474 ", ()) == (474, False)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("golden_retriever", "Golden Retriever", True),
        ("tench", "tench, Tinca tinca", True),
        ("Tinca tinca", "tench, Tinca tinca", True),
        ("cat", "cat1", False),
        ("", ", ", False),
    ],
)
def test_names_of_one_thing(one: str, other: str, same: bool) -> None:
    assert same_name(one, other) == same_name(other, one) == same
