"""What every similarity must do, and the reference's own numbers."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from dissection import similarity as room
from dissection.probing import read_features
from dissection.similarity import (
    SIMILARITIES,
    Probing,
    score_units,
    similarity_method,
    soft_wpmi,
    top_concepts,
    top_images,
)
from dissection.similarity import probing as probing_module
from dissection.similarity.rank_reorder import RankReorder
from explainers.errors import InvalidInput
from tests.dissection.plain_similarities import PLAIN

IMAGES, CONCEPTS, UNITS, WIDTH = 240, 37, 11, 16


def tables(seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
    """Features that lean one way, as CLIP's do, and activations of either sign."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    lean = noise(1, WIDTH)
    found = noise(IMAGES, WIDTH) + lean, noise(CONCEPTS, WIDTH) + lean, noise(IMAGES, UNITS)
    return tuple(table.to(dtype) for table in found)


every = pytest.mark.parametrize("name", SIMILARITIES)


def test_every_similarity_has_a_plain_formulation_and_a_function() -> None:
    assert set(SIMILARITIES) == set(PLAIN)
    for name in SIMILARITIES:
        assert name in room.__all__


@every
def test_equal_to_the_formula_as_it_reads(name: str) -> None:
    images, texts, activations = tables()
    found = getattr(room, name)(images, texts, activations)
    expected = PLAIN[name](*tables(dtype=torch.float64)).to(torch.float32)
    assert found.similarity.shape == (UNITS, CONCEPTS)
    assert found.similarity.dtype == torch.float32
    assert not found.dead.any()
    torch.testing.assert_close(found.similarity, expected, rtol=2e-5, atol=2e-5)


@every
def test_blocks_of_concepts_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    probing = Probing.of(*tables(1))
    whole = score_units(similarity_method(name), probing)
    monkeypatch.setattr(probing_module, "_MOST_CONCEPTS", 16)
    told: list[float] = []
    blocks = score_units(similarity_method(name), probing, told=told.append)
    torch.testing.assert_close(blocks.similarity, whole.similarity, rtol=1e-5, atol=5e-5)
    assert told == [16 / 37, 32 / 37, 1.0]
    scores, numbers, marginal = top_concepts(similarity_method(name), probing, 5)
    expected_scores, expected = blocks.top(5)
    assert torch.equal(numbers, expected)
    assert torch.equal(scores, expected_scores)
    assert (marginal is None) == (whole.marginal is None)


@every
def test_the_order_of_images_does_not_matter(name: str) -> None:
    images, texts, activations = tables(2)
    order = torch.randperm(IMAGES, generator=torch.Generator().manual_seed(3))
    one = score_units(similarity_method(name), Probing.of(images, texts, activations))
    other = score_units(
        similarity_method(name), Probing.of(images[order], texts, activations[order])
    )
    torch.testing.assert_close(one.similarity, other.similarity, rtol=1e-4, atol=1e-5)


@every
def test_some_units_of_a_layer_get_the_layer_s_numbers(name: str) -> None:
    probing = Probing.of(*tables(4))
    method = similarity_method(name)
    whole = score_units(method, probing)
    for size in (4, 1):
        for start in range(0, UNITS, size):
            some = torch.arange(start, min(start + size, UNITS))
            part = score_units(method, probing.chosen_units(some), marginal=whole.marginal)
            expected = whole.similarity[some]
            torch.testing.assert_close(part.similarity, expected, rtol=1e-5, atol=1e-5)


@every
def test_a_unit_that_answers_everything_equally_is_dead(name: str) -> None:
    images, texts, activations = tables(5)
    alive = getattr(room, name)(images, texts, activations)
    dead = torch.cat((activations, torch.full((IMAGES, 1), 0.25)), dim=1)
    found = getattr(room, name)(images, texts, dead)
    assert found.dead.tolist() == [False] * UNITS + [True]
    assert found.similarity[-1].isnan().all()
    # and it does not change what is said of the others
    torch.testing.assert_close(found.similarity[:-1], alive.similarity)
    scores, numbers = found.top(3)
    assert numbers[-1].tolist() == [-1, -1, -1]
    assert scores[-1].isnan().all()
    assert top_concepts(similarity_method(name), Probing.of(images, texts, dead), 3)[1][
        -1
    ].tolist() == [-1, -1, -1]


@every
def test_half_precision_features_are_read(name: str) -> None:
    images, texts, activations = tables(6)
    rounded = images.half(), texts.half(), activations
    exact = getattr(room, name)(*(table.float() for table in rounded))
    found = getattr(room, name)(*rounded)
    torch.testing.assert_close(found.similarity, exact.similarity, rtol=1e-4, atol=1e-5)


def test_the_reference_s_own_numbers(assets: Path) -> None:
    features = read_features(assets / "dissection" / "resnet18_clip_vitb16_1000.npz")
    with (assets / "dissection" / "expected_resnet18_imagenet.csv").open() as file:
        rows = list(csv.DictReader(file))
    right = 0
    for layer in ("layer2", "layer3", "layer4"):
        found = score_units(similarity_method("soft_wpmi"), features.probing("imagenet", layer))
        scores, numbers = found.top(1)
        expected = [row for row in rows if row["layer"] == layer]
        assert len(expected) == len(scores)
        for row, score, number in zip(expected, scores[:, 0], numbers[:, 0], strict=True):
            right += features.concepts[int(number)] == row["description"]
            assert float(score) == pytest.approx(float(row["similarity"]), abs=3e-4)
    assert right == 896


@pytest.mark.parametrize("size", [256, 64, 8, 1])
def test_chunks_of_a_real_layer_have_its_labels(size: int, assets: Path) -> None:
    features = read_features(assets / "dissection" / "resnet18_clip_vitb16_1000.npz")
    probing, method = features.probing("imagenet", "layer4"), similarity_method("soft_wpmi")
    whole = score_units(method, probing)
    parts = [
        score_units(method, probing.chosen_units(some), marginal=whole.marginal).similarity
        for some in torch.arange(512).split(size)
    ]
    torch.testing.assert_close(torch.cat(parts), whole.similarity, rtol=0, atol=1e-6)
    assert torch.equal(torch.cat(parts).argmax(1), whole.similarity.argmax(1))


def test_images_answered_equally_are_in_an_order_by_chance() -> None:
    activations = torch.zeros(500, 2)
    activations[7] = 1.0
    first = top_images(activations, 20)
    assert first[0].tolist() == [7, 7]
    assert torch.equal(first[:, 0], first[:, 1])  # equal activations, equal order
    assert first[1:, 0].tolist() != sorted(first[1:, 0].tolist())
    assert int(first[1:, 0].max()) > 100  # not just the first pictures of the folder
    activations[11, 1] = 0.5
    second = top_images(activations, 20)
    assert torch.equal(second[:, 0], first[:, 0])
    assert second[:2, 1].tolist() == [7, 11]
    distinct = torch.rand(500, 3, generator=torch.Generator().manual_seed(1))
    assert torch.equal(top_images(distinct, 50), distinct.topk(50, dim=0).indices)


def test_the_shuffled_baseline_of_rank_reorder_nears_the_exact_one() -> None:
    probing = Probing.of(*tables(7))
    exact = score_units(RankReorder(), probing).similarity
    shuffled = score_units(RankReorder(shuffles=2000), probing).similarity
    torch.testing.assert_close(shuffled, exact, rtol=0.05, atol=0)
    few = score_units(RankReorder(shuffles=5), probing).similarity
    assert not torch.allclose(few, exact, rtol=1e-3)
    assert torch.equal(few, score_units(RankReorder(shuffles=5), probing).similarity)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda i, t, a: (i[:, :-1], t, a), "15 dimensions, text features 16"),
        (lambda i, t, a: (i[:-1], t, a), "239 images have features, 240 have activations"),
        (lambda i, t, a: (i, t[:0], a), "text features have shape"),
        (lambda i, t, a: (i, t, a[:, 0]), "activations have shape"),
        (lambda i, t, a: (i, t, a.long()), "floating-point"),
        (lambda i, t, a: (i, t, a.index_fill(0, torch.tensor([3]), torch.nan)), "activations hold"),
        (lambda i, t, a: (i * torch.inf, t, a), "image features hold"),
        (lambda i, t, a: (i, t.index_fill(0, torch.tensor([5]), 0.0), a), "text feature 5 is zero"),
        (lambda i, t, a: (i[:50], t, a[:50]), "50 probing images are fewer than the 100"),
    ],
)
def test_tables_that_cannot_be_scored(wrong: object, told: str) -> None:
    assert callable(wrong)
    with pytest.raises(InvalidInput, match=told):
        soft_wpmi(*wrong(*tables()))


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(InvalidInput, match="similarity 'best' is unknown: use one of soft_wpmi"):
        similarity_method("best")
    for name, settings in (
        ("soft_wpmi", {"top_k": 0}), ("soft_wpmi", {"p_start": 1.5}), ("wpmi", {"a": 0.0}),
        ("rank_reorder", {"top_fraction": 0.0}), ("cos_similarity_cubed", {"min_norm": 0.0}),
    ):  # fmt: skip
        with pytest.raises(InvalidInput):
            similarity_method(name, **settings)
    probing = Probing.of(*tables())
    with pytest.raises(InvalidInput, match="marginal has shape"):
        score_units(similarity_method("soft_wpmi"), probing, marginal=torch.zeros(3))
    with pytest.raises(InvalidInput, match="rank_reorder compares"):
        score_units(RankReorder(top_fraction=0.001), probing)
