"""Units with a planted concept are found; noise and dead units are not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from dissection.labelling import Labelling, describe_layer, false_discovery_rates, p_values
from dissection.labels import Unit
from dissection.similarity import Probing, similarity_method
from explainers.errors import InvalidInput

CONCEPTS = tuple(f"concept {number}" for number in range(25))
IMAGES, PLANTED, NOISE = 500, 12, 40


def labelled(probing: Probing, name: str = "soft_wpmi", **settings: int) -> Sequence[Unit]:
    labelling = Labelling(similarity_method(name), **settings)
    return describe_layer("net", "layer", probing, CONCEPTS, labelling).units


def planted(seed: int) -> Probing:
    """Twelve units that fire for concepts 0 to 11, forty of noise, one dead."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    texts = noise(len(CONCEPTS), 32)
    shown = torch.randint(len(CONCEPTS), (IMAGES,), generator=generator)
    images = texts[shown] + noise(IMAGES, 32)
    fires = (shown[:, None] == torch.arange(PLANTED)).float() + 0.3 * noise(IMAGES, PLANTED)
    units = torch.cat((fires, noise(IMAGES, NOISE), torch.zeros(IMAGES, 1)), dim=1)
    return Probing.of(images, texts, units)


@pytest.mark.parametrize("name", ["soft_wpmi", "wpmi"])
def test_false_discoveries_stay_within_the_level(name: str) -> None:
    found = wrong = right_label = surviving_planted = 0
    for seed in range(20):
        units = labelled(planted(seed), name, permutations=400, bootstrap=0, seed=seed)
        assert units[-1].dead
        assert units[-1].survives is None
        right_label += sum(units[n].concept == CONCEPTS[n] for n in range(PLANTED))
        surviving_planted += sum(bool(units[n].survives) for n in range(PLANTED))
        found += sum(bool(unit.survives) for unit in units)
        wrong += sum(bool(unit.survives) for unit in units[PLANTED:])
    assert right_label == 20 * PLANTED
    assert surviving_planted >= 0.95 * 20 * PLANTED
    assert wrong <= 0.05 * found


@pytest.mark.parametrize("name", ["cos_similarity", "cos_similarity_cubed"])
def test_similarities_of_values_have_a_null_for_each_unit(name: str) -> None:
    units = labelled(planted(0), name, permutations=200, bootstrap=0)
    assert [unit.concept for unit in units[:PLANTED]] == list(CONCEPTS[:PLANTED])
    assert all(unit.survives for unit in units[:PLANTED])
    assert sum(bool(unit.survives) for unit in units[PLANTED:]) <= 2


def test_p_values_of_noise_are_no_smaller_than_chance() -> None:
    generator = torch.Generator().manual_seed(1)
    probing = planted(1)
    noise = probing.with_units(torch.randn((IMAGES, 600), generator=generator))
    method = similarity_method("soft_wpmi")
    scores, numbers, marginal = method.top_concepts(noise, 1)
    p = p_values(
        method, noise, scores[:, 0], numbers[:, 0], marginal=marginal, permutations=600, seed=2
    )
    for level in (0.01, 0.05, 0.2, 0.5):
        assert (p <= level).mean() <= level + 3 * np.sqrt(level * (1 - level) / 600)
    assert p.min() >= 1 / 601


def test_units_that_fire_rarely_are_judged_like_others() -> None:
    """Their ties, broken by chance, look like an order by chance."""
    probing = planted(2)
    rare = torch.zeros(IMAGES, 200)
    generator = torch.Generator().manual_seed(3)
    for unit in range(200):
        rare[torch.randperm(IMAGES, generator=generator)[:5], unit] = 1.0
    units = labelled(probing.with_units(rare), permutations=400, bootstrap=0)
    assert sum(bool(unit.survives) for unit in units) <= 2


def test_stability_tells_planted_units_from_noise() -> None:
    units = labelled(planted(4), permutations=0, bootstrap=10)
    stable = [unit.stability for unit in units if unit.stability is not None]
    assert min(stable[:PLANTED]) >= 0.9
    assert np.mean(stable[PLANTED:]) < 0.6
    assert units[0].p is None
    assert units[0].gap is not None
    assert units[0].gap > 0


def test_false_discovery_rates_by_hand() -> None:
    found = false_discovery_rates(np.array([0.01, np.nan, 0.04, 0.03, 0.5]))
    np.testing.assert_allclose(found, [0.04, np.nan, 0.16 / 3, 0.16 / 3, 0.5])
    assert np.isnan(false_discovery_rates(np.full(3, np.nan))).all()


def test_wrong_calls() -> None:
    with pytest.raises(InvalidInput, match="24 concepts have 25 text features"):
        describe_layer("net", "layer", planted(0), CONCEPTS[:-1], Labelling())
    for wrong, message in (({"level": 2}, "level 2"), ({"top": 0}, "top=0")):
        with pytest.raises(InvalidInput, match=message):
            Labelling(**wrong)
