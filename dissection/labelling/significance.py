"""Significance of labels: permutation tests, and rates of false discoveries.

**Null.** Under the hypothesis that a unit's activations are unrelated to what the images show, they
could belong to the images in any order. Random orders give, for every concept, the mean
and the spread of the similarity under the hypothesis. The statistic of a unit is its label's
similarity in these units, z = (s - mean) / spread; its p-value is the share of orders whose
*highest* z over all concepts is at least as high (with one added to both counts, never zero:
Phipson & Smyth 2010). So the choice among concepts is accounted for, whatever rule made it, and a
concept that is similar to everything is worth no more than another.

The similarity itself would be a poor statistic: soft WPMI cannot exceed the logarithm of the number
of units, and where concepts are well separated noise comes as near to that as a true label.

Where a similarity uses nothing but the order of the activations, and ties are broken by chance,
the null is the same for every unit: one set of orders serves all. Otherwise each unit has its own.

**False discoveries.** Benjamini & Hochberg (1995) over the living units of the layer.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from dissection.progress import Progress
from dissection.similarity import Probing, Similarity

__all__ = ["false_discovery_rates", "p_values"]

_COLUMNS = 2048  # random orders of a unit's activations that are held at a time
_LEAST_SPREAD = 1e-12


@torch.inference_mode()
def p_values(
    method: Similarity,
    probing: Probing,
    scores: torch.Tensor,
    labels: torch.Tensor,
    *,
    marginal: torch.Tensor | None,
    permutations: int,
    seed: int,
    on_progress: Progress = lambda share: None,
) -> NDArray[np.float64]:
    """The p-value of each unit's label, by the test described above.

    Args:
        scores: (U,) similarity of the label.
        labels: (U,) int64 number of the concept, -1 for dead units.
        marginal: (C,) of the whole layer, where the similarity has one.
        permutations: orders drawn; for all units together where only ranks count, else for each.

    Returns:
        (U,) in [1 / (permutations + 1), 1], NaN for dead units.
    """
    generator = torch.Generator().manual_seed(seed)
    found = np.full(len(labels), np.nan)
    living = (labels >= 0).nonzero()[:, 0]
    images = len(probing.images)
    device = probing.images.device
    if method.by_ranks:
        chance = torch.rand((images, permutations), generator=generator).to(device)
        null, observed = _standardised(
            method, probing.with_units(chance), scores[None, living], labels[None, living],
            marginal, on_progress,
        )  # fmt: skip
        found[living.cpu().numpy()] = _share_at_least(null[0], observed[0])
        return found
    at_once = max(1, _COLUMNS // permutations)
    for start in range(0, len(living), at_once):
        some = living[start : start + at_once]
        orders = torch.rand((images, len(some) * permutations), generator=generator).argsort(0)
        repeated = probing.activations[:, some].repeat_interleave(permutations, dim=1)
        columns = repeated.gather(0, orders.to(device))
        null, observed = _standardised(
            method, probing.with_units(columns), scores[some, None], labels[some, None], marginal
        )
        for unit, highest, value in zip(some.tolist(), null, observed, strict=True):
            found[unit] = _share_at_least(highest, value)[0]
        on_progress((start + len(some)) / len(living))
    return found


def _standardised(
    method: Similarity,
    null: Probing,
    scores: torch.Tensor,
    labels: torch.Tensor,
    marginal: torch.Tensor | None,
    on_progress: Progress = lambda share: None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """z of G groups, each with M random orders and L labels that are compared with them.

    Args:
        null: its G × M units are the orders.
        scores, labels: (G, L).

    Returns:
        The highest z of each order over all concepts, (G, M), and z of the labels, (G, L).
    """
    groups = len(labels)
    highest = torch.full((groups, null.activations.shape[1] // groups), -torch.inf)
    highest = highest.to(scores.device)
    observed = torch.empty_like(scores)
    concepts = len(null.texts)
    for block in method.blocks(null, marginal=marginal):
        size = block.scores.shape[1]
        drawn = block.scores.reshape(groups, -1, size)
        mean = drawn.mean(dim=1, keepdim=True)
        spread = drawn.std(dim=1, keepdim=True).clamp_min(_LEAST_SPREAD)
        torch.maximum(highest, ((drawn - mean) / spread).amax(dim=2), out=highest)
        inside = (labels >= block.start) & (labels < block.start + size)
        group, place = inside.nonzero(as_tuple=True)
        concept = labels[group, place] - block.start
        centred = scores[group, place] - mean[group, 0, concept]
        observed[group, place] = centred / spread[group, 0, concept]
        on_progress((block.start + size) / concepts)
    return _numbers(highest), _numbers(observed)


def _numbers(values: torch.Tensor) -> NDArray[np.float64]:
    return values.to("cpu", torch.float64).numpy()


def _share_at_least(
    null: NDArray[np.float64], observed: NDArray[np.float64]
) -> NDArray[np.float64]:
    at_least = len(null) - np.searchsorted(np.sort(null), observed, side="left")
    share: NDArray[np.float64] = (1 + at_least) / (len(null) + 1)
    return share


def false_discovery_rates(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Benjamini-Hochberg adjusted p-values, (U,); NaN where ``p`` is.

    Taking all units at or below a level as labelled, the expected share of wrong ones among them is
    at most that level.
    """
    rates = np.full(len(p), np.nan)
    living = ~np.isnan(p)
    if living.any():
        rates[living] = false_discovery_control(p[living])
    return rates
