"""Networks made up so that every number is known."""

from __future__ import annotations

import math

import pytest

from dissection.labels import (
    CATEGORIES,
    OTHER,
    LayerDescription,
    Unit,
    best_rule,
    category,
    category_shares,
    concept_counts,
    counted_units,
    layer_concepts,
    overlap,
)
from explainers.errors import InvalidInput


def layer(name: str, *labels: str, survive: tuple[int, ...] | None = None) -> LayerDescription:
    """Units whose similarity falls with their number; an empty label is a dead unit."""
    units = tuple(
        Unit(
            number, (label, "second") if label else (), (1 - number / 10, 0.0) if label else (),
            survives=None if survive is None or not label else number in survive,
        )
        for number, label in enumerate(labels)
    )  # fmt: skip
    return LayerDescription("net", name, units)


def test_counting_by_rule() -> None:
    found = layer("a", "dog", "cat", "", "dog", "red", survive=(0, 4))
    assert [unit.number for unit in counted_units(found, "all")] == [0, 1, 3, 4]
    assert [unit.number for unit in counted_units(found, "surviving")] == [0, 4]
    assert [unit.number for unit in counted_units(found, "top:2")] == [0, 1]
    assert concept_counts([found]) == {"dog": 2, "cat": 1, "red": 1}
    assert list(concept_counts([found, layer("b", "red", "red")])) == ["red", "dog", "cat"]
    assert best_rule([found]) == "surviving"
    assert best_rule([found, layer("b", "red")]) == "all"
    with pytest.raises(InvalidInput, match="no p-values"):
        counted_units(layer("b", "red"), "surviving")
    for wrong in ("top:0", "top:x", "best"):
        with pytest.raises(InvalidInput, match="counts no units"):
            counted_units(found, wrong)


def test_what_a_layer_has_learned() -> None:
    found = layer_concepts(layer("a", "dog", "cat", "", "dog", "cat"))
    assert (found.units, found.dead, found.distinct, found.specialisation) == (4, 1, 2, 2.0)
    assert found.effective == pytest.approx(2.0)
    assert found.highest is not None
    assert found.highest.number == 0
    uneven = layer_concepts(layer("a", "dog", "dog", "dog", "cat"))
    assert uneven.effective == pytest.approx(math.exp(0.75 * math.log(4 / 3) + 0.25 * math.log(4)))
    nothing = layer_concepts(layer("a", "", ""))
    assert (nothing.units, nothing.distinct, nothing.highest) == (0, 0, None)


def test_what_two_networks_share() -> None:
    one = [layer("a", "dog", "cat", "red"), layer("b", "dog", "sky")]
    other = [layer("a", "red", "red", "dog"), layer("b", "church")]
    found = overlap(one, other)
    assert found.shared == ("dog", "red")
    assert found.only_first == ("cat", "sky")
    assert found.only_second == ("church",)
    assert found.jaccard == 2 / 5
    # Wilson's interval of 2 in 5
    assert (found.low, found.high) == pytest.approx((0.1176, 0.7693), abs=1e-4)
    same = overlap(one, one)
    assert (same.jaccard, same.high) == (1.0, pytest.approx(1.0))
    assert overlap(one, [layer("a", "")]).jaccard == 0.0
    nothing = overlap([layer("a", "")], [layer("a", "")])
    assert (nothing.jaccard, nothing.low, nothing.high) == (0.0, 0.0, 0.0)


def test_categories() -> None:
    for concept, expected in {
        "polar bear": "animal", "Red": "colour", "polka-dotted": "pattern", "dotted": "pattern",
        "tabby cat": "animal", "church": "scene", "traffic light": OTHER, "wooden": "material",
        "furry": "texture", "bedrooms": "scene",
        "churches": "scene", "grass": OTHER, "steering wheel": "part", "": OTHER,
        "underwater": "scene",
    }.items():  # fmt: skip
        assert category(concept) == expected, concept
    shares = category_shares(layer("a", "dog", "cat", "", "red", "lampshade"))
    assert shares == {**dict.fromkeys(CATEGORIES, 0.0), "animal": 0.5, "colour": 0.25, OTHER: 0.25}
    assert sum(shares.values()) == 1.0
