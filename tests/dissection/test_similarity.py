"""What every similarity must do, and the reference's own numbers."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dissection.probing import read_features
from dissection.similarity import (
    SIMILARITIES,
    Probing,
    Similarity,
    UnitSimilarity,
    similarity_method,
    top_images,
)
from explainers.errors import InvalidInput
from tests.dissection.plain_similarities import PLAIN

IMAGES, CONCEPTS, UNITS, WIDTH = 240, 37, 11, 16
FEATURES = "resnet18_clip_vitb16_1000.npz"


def tables(
    seed: int = 0, dtype: torch.dtype = torch.float32, concepts: int = CONCEPTS
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features that lean one way, as CLIP's do, and activations of either sign."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    lean = noise(1, WIDTH)
    images, texts = noise(IMAGES, WIDTH) + lean, noise(concepts, WIDTH) + lean
    return images.to(dtype), texts.to(dtype), noise(IMAGES, UNITS).to(dtype)


def score(name: str, *three: torch.Tensor) -> UnitSimilarity:
    return similarity_method(name).score(Probing.of(*three))


def real_layer(assets: Path, layer: str) -> Probing:
    features = read_features(assets / "dissection" / FEATURES)
    activations = features.activations["imagenet", layer]
    return Probing.of(features.image_features, features.text_features, activations)


every = pytest.mark.parametrize("name", SIMILARITIES)


def concrete(base: type[Similarity]) -> set[type[Similarity]]:
    below = {each for direct in base.__subclasses__() for each in concrete(direct)}
    return below if base.__abstractmethods__ else below | {base}


def test_every_similarity_is_registered_and_has_a_plain_formulation() -> None:
    assert set(SIMILARITIES.values()) == concrete(Similarity)
    assert set(SIMILARITIES) == set(PLAIN)


@every
def test_equal_to_the_formula_as_it_reads(name: str) -> None:
    found = score(name, *tables())
    expected = PLAIN[name](*tables(dtype=torch.float64)).to(torch.float32)
    assert found.similarity.shape == (UNITS, CONCEPTS)
    assert found.similarity.dtype == torch.float32
    assert not found.dead.any()
    torch.testing.assert_close(found.similarity, expected, rtol=2e-5, atol=2e-5)
    images, texts, activations = tables()
    rounded = images.half(), texts.half(), activations
    exact = score(name, *(table.float() for table in rounded))
    half = score(name, *rounded)
    torch.testing.assert_close(half.similarity, exact.similarity, rtol=1e-4, atol=1e-5)


@every
def test_blocks_of_concepts_change_nothing(name: str) -> None:
    probing, method = Probing.of(*tables(1, concepts=300)), similarity_method(name)
    whole = method.score(probing)
    expected = PLAIN[name](*tables(1, torch.float64, 300)).to(torch.float32)
    known = ~expected.isnan()  # the plain rank_reorder takes roots of negative numbers
    assert float(known.float().mean()) > 0.99
    torch.testing.assert_close(whole.similarity[known], expected[known], rtol=2e-5, atol=5e-5)
    shares: list[float] = []
    scores, numbers, marginal = method.top_concepts(probing, 5, on_progress=shares.append)
    assert shares == [256 / 300, 1.0]
    best = torch.sort(whole.similarity, dim=1, descending=True, stable=True)
    assert torch.equal(numbers, best.indices[:, :5])
    assert torch.equal(scores, best.values[:, :5])
    assert (marginal is None) == (whole.marginal is None)


@every
def test_the_order_of_images_does_not_matter(name: str) -> None:
    images, texts, activations = tables(2)
    order = torch.randperm(IMAGES, generator=torch.Generator().manual_seed(3))
    one = score(name, images, texts, activations)
    other = score(name, images[order], texts, activations[order])
    torch.testing.assert_close(one.similarity, other.similarity, rtol=1e-4, atol=1e-5)


@every
def test_some_units_of_a_layer_get_the_layer_s_numbers(name: str) -> None:
    probing, method = Probing.of(*tables(4)), similarity_method(name)
    whole = method.score(probing)
    for size in (4, 1):
        for some in torch.arange(UNITS).split(size):
            part = probing.with_units(probing.activations[:, some])
            found = method.score(part, marginal=whole.marginal).similarity
            torch.testing.assert_close(found, whole.similarity[some], rtol=1e-5, atol=1e-5)


@every
def test_a_unit_that_answers_everything_equally_is_dead(name: str) -> None:
    images, texts, activations = tables(5)
    dead = torch.cat((activations, torch.full((IMAGES, 1), 0.25)), dim=1)
    found = score(name, images, texts, dead)
    assert found.dead.tolist() == [False] * UNITS + [True]
    assert found.similarity[-1].isnan().all()
    # and it does not change what is said of the others
    alive = score(name, images, texts, activations)
    torch.testing.assert_close(found.similarity[:-1], alive.similarity)
    scores, numbers, _ = similarity_method(name).top_concepts(Probing.of(images, texts, dead), 3)
    assert numbers[-1].tolist() == [-1, -1, -1]
    assert scores[-1].isnan().all()


def test_the_reference_s_own_numbers(assets: Path) -> None:
    with (assets / "dissection" / "expected_resnet18_imagenet.csv").open() as file:
        rows = list(csv.DictReader(file))
    concepts = read_features(assets / "dissection" / FEATURES).concepts
    right = 0
    for layer in ("layer2", "layer3", "layer4"):
        scores, numbers, _ = similarity_method("soft_wpmi").top_concepts(
            real_layer(assets, layer), 1
        )
        expected = [row for row in rows if row["layer"] == layer]
        for row, best, number in zip(expected, scores[:, 0], numbers[:, 0], strict=True):
            right += concepts[int(number)] == row["description"]
            assert float(best) == pytest.approx(float(row["similarity"]), abs=3e-4)
    assert right == 896


@pytest.mark.parametrize("size", [256, 64, 8, 1])
def test_chunks_of_a_real_layer_have_its_labels(size: int, assets: Path) -> None:
    probing, method = real_layer(assets, "layer4"), similarity_method("soft_wpmi")
    whole = method.score(probing)
    parts = torch.cat(
        [
            method.score(probing.with_units(some), marginal=whole.marginal).similarity
            for some in probing.activations.split(size, dim=1)
        ]
    )
    torch.testing.assert_close(parts, whole.similarity, rtol=0, atol=1e-6)
    assert torch.equal(parts.argmax(1), whole.similarity.argmax(1))


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

    def shuffled(shuffles: int) -> torch.Tensor:
        return similarity_method("rank_reorder", shuffles=shuffles).score(probing).similarity

    exact, few = shuffled(0), shuffled(5)
    torch.testing.assert_close(shuffled(2000), exact, rtol=0.05, atol=0)
    assert not torch.allclose(few, exact, rtol=1e-3)
    assert torch.equal(few, shuffled(5))


@pytest.mark.parametrize(
    ("wrong", "message"),
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
def test_tables_that_cannot_be_scored(
    wrong: Callable[..., tuple[torch.Tensor, ...]], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        score("soft_wpmi", *wrong(*tables()))


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
        similarity_method("soft_wpmi").score(probing, marginal=torch.zeros(3))
    with pytest.raises(InvalidInput, match="rank_reorder compares"):
        similarity_method("rank_reorder", top_fraction=0.001).score(probing)
