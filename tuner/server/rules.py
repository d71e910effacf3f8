"""Finds the reference and the mask rule that explain the IoUs a grading server has answered.

The server compares with hidden masks. If these are class activation maps cut by a rule, the rule
can be found: the known submissions are explained again here and scored against each rule. The right
one gives the answered IoUs up to chance, as the server used other explainer seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from explainers.errors import InvalidInput, UnusableReference
from explainers.masks import (
    MASK_RULE,
    MaskRule,
    check_reference,
    intersection_over_union,
    selected_superpixels,
)
from explainers.references import overlap_counts, parse_heat_map_rule, parse_reference

__all__ = [
    "MASK_RULES", "METHODS", "Candidate", "ImageRun", "Verdict", "chosen_rule", "cut_masks",
    "decide", "parse_take", "rank_candidates",
]  # fmt: skip

METHODS: tuple[str, ...] = (
    "gradcam", "gradcam++", "hirescam", "xgradcam", "layercam", "eigencam", "multiscale",
)  # fmt: skip
"""The default heat maps: those that need only a few passes of the network."""

CUTS = ("0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "otsu", "top20", "top30")
"""How each heat map becomes a mask; see ``explainers.references.heat_map_rules``."""

MASK_RULES: Mapping[str, MaskRule] = {
    "positive5": MASK_RULE,
    "positive10": MaskRule(num_features=10),
    "heaviest5": MaskRule(positive_only=False),
    "heaviest10": MaskRule(positive_only=False, num_features=10),
}
"""Ways to read masks, by name. ``positive5`` takes the five heaviest of the positive superpixels,
``heaviest5`` the positive ones of the five heaviest."""

_LEAST_ANSWERS = 4
"""Fewer answers are explained by too many rules."""

_WITHIN = 2.0  # standard errors
_ROUNDING = 1e-9
# Least IoU of masks that count as the same. On networks that end in an average, several methods are
# the same formula (Draelos and Carin 2020), so their masks differ by rounding only.
_SAME_MASKS = 0.99

Masks = Mapping[str, NDArray[np.bool_]]
"""(H, W) bool masks by key of the image."""


@dataclass(frozen=True, eq=False)
class ImageRun:
    """An image explained with one parameter set and some seeds.

    Attributes:
        segments: (H, W) superpixel numbers, contiguous from 0.
        weights: lime's ``local_exp`` of the first label, for each seed.
    """

    segments: NDArray[np.int64]
    weights: tuple[Sequence[tuple[int, float]], ...]


@dataclass(frozen=True)
class Candidate:
    """A reference and a way to read masks, with the answers that they would give.

    Attributes:
        reference: ``METHOD@RULE``.
        mask_rule: name in :data:`MASK_RULES`.
        predicted: mean IoU of each submission.
        standard_errors: those of answered − predicted, with one seed of the server's and our mean
            over seeds.
        error: mean of |predicted − answered|.
        rank_correlation: Spearman's, with the answers; ``None`` where it is not defined.
        explains: whether every answer is within two standard errors.
        same: further references with the same masks (IoU at least 0.99 on every image).
    """

    reference: str
    mask_rule: str
    predicted: Sequence[float]
    standard_errors: Sequence[float]
    error: float
    rank_correlation: float | None
    explains: bool
    same: Sequence[str] = ()

    @property
    def text(self) -> str:
        """``METHOD@RULE:MASK``."""
        return f"{self.reference}:{self.mask_rule}"

    @property
    def rank(self) -> tuple[float, float]:
        """Sort key: lowest error first, then highest rank correlation."""
        correlation = self.rank_correlation
        return round(self.error, 9), math.inf if correlation is None else -correlation


@dataclass(frozen=True)
class Verdict:
    """What the answers say about the rules.

    Attributes:
        text: the verdict in words.
        reference, mask_rule: ``None`` where the answers cannot decide.
    """

    text: str
    reference: str | None = None
    mask_rule: str | None = None


def cut_masks(
    heat_maps: Mapping[str, Mapping[str, NDArray[np.float32]]],
    images: Mapping[str, NDArray[np.uint8]],
    cuts: Sequence[str] = CUTS,
) -> tuple[dict[str, Masks], list[str]]:
    """The masks of every method and rule.

    Args:
        heat_maps: (H, W) in [0, 1] by method and key of the image.
        images: (H, W, 3) by key.

    Returns:
        The masks by ``METHOD@RULE``, and the rules that give an image an empty or a full mask.
    """
    masks: dict[str, Masks] = {}
    unusable = []
    for method, maps in heat_maps.items():
        for cut in cuts:
            rule, name = parse_heat_map_rule(cut), f"{method}@{cut}"
            made = {key: rule(found, images[key]) for key, found in maps.items()}
            try:
                for key, mask in made.items():
                    check_reference(mask, key)
            except UnusableReference:
                unusable.append(name)
            else:
                masks[name] = made
    return masks, unusable


def rank_candidates(
    answered: Sequence[float],
    runs: Sequence[Mapping[str, ImageRun]],
    references: Mapping[str, Masks],
    mask_rules: Mapping[str, MaskRule] = MASK_RULES,
) -> list[Candidate]:
    """All references with all ways to read masks, best first.

    They are sorted by mean absolute error, then by rank correlation. References with the same masks
    are merged.

    Args:
        answered: the server's mean IoU of each submission.
        runs: for each submission, its runs by key of the image; all with the same number of seeds,
            at least two.
    """
    chosen = [
        {
            (key, name): [selected_superpixels(weights, rule) for weights in run.weights]
            for key, run in images.items()
            for name, rule in mask_rules.items()
        }
        for images in runs
    ]
    candidates = []
    for reference, same in _same_masks(references).items():
        masks = references[reference]
        counts = [
            {key: overlap_counts(run.segments, masks[key]) for key, run in images.items()}
            for images in runs
        ]
        for name in mask_rules:
            ious = [
                np.array([[_iou(one, *c) for one in picked[key, name]] for key, c in of.items()])
                for picked, of in zip(chosen, counts, strict=True)
            ]
            candidates.append(_candidate(reference, name, np.asarray(answered), ious, same))
    return sorted(candidates, key=lambda candidate: candidate.rank)


def _same_masks(references: Mapping[str, Masks]) -> dict[str, list[str]]:
    """Groups of references with the same masks: the first of each, with the others."""
    same: dict[str, list[str]] = {}
    for name, masks in references.items():
        for first, others in same.items():
            pairs = ((mask, references[first][key]) for key, mask in masks.items())
            if all(intersection_over_union(*pair) >= _SAME_MASKS for pair in pairs):
                others.append(name)
                break
        else:
            same[name] = []
    return same


def _iou(chosen: Sequence[int], inside: NDArray[np.int64], outside: NDArray[np.int64]) -> float:
    picked = np.array(chosen, dtype=np.int64)
    return float(inside[picked].sum() / (inside.sum() + outside[picked].sum()))


def _candidate(
    reference: str,
    mask_rule: str,
    answered: NDArray[np.float64],
    ious: list[NDArray[np.float64]],
    same: Sequence[str],
) -> Candidate:
    """The candidate from (images, seeds) IoUs of each submission.

    The standard errors are those of the difference between the server's mean over images with one
    seed each, and ours over all seeds.
    """
    images, seeds = ious[0].shape
    predicted = np.array([each.mean() for each in ious])
    of_one_seed = np.array([each.var(axis=1, ddof=1).sum() for each in ious]) / images**2
    errors = np.sqrt(of_one_seed * (1 + 1 / seeds))
    misses = np.abs(predicted - answered)
    ranked = len(answered) >= 3 and np.ptp(predicted) > 0 and np.ptp(answered) > 0
    return Candidate(
        reference=reference,
        mask_rule=mask_rule,
        predicted=predicted.tolist(),
        standard_errors=errors.tolist(),
        error=float(misses.mean()),
        rank_correlation=float(stats.spearmanr(predicted, answered)[0]) if ranked else None,
        explains=bool((misses <= _WITHIN * errors + _ROUNDING).all()),
        same=same,
    )


def decide(candidates: Sequence[Candidate]) -> Verdict:
    """The verdict of the answers: whether only one reference explains them.

    Args:
        candidates: best first.

    Raises:
        InvalidInput: there are no candidates.
    """
    if not candidates:
        raise InvalidInput(
            "no reference rule gives every image a usable mask: name other methods with --methods"
        )
    best, answers = candidates[0], len(candidates[0].predicted)
    explaining = [candidate for candidate in candidates if candidate.explains]
    of_all = f"{len(explaining)} of {len(candidates)} candidates"
    if answers < _LEAST_ANSWERS:
        return Verdict(
            f"undecided: {answers} answers cannot tell {len(candidates)} candidates apart, at "
            f"least {_LEAST_ANSWERS} are needed ({of_all} explain them)"
        )
    if not explaining:
        return Verdict(
            f"undecided: none of {len(candidates)} candidates explains the answers; the nearest, "
            f"{best.text}, is {best.error:.3f} off on average"
        )
    references = dict.fromkeys(candidate.reference for candidate in explaining)
    if len(references) > 1:
        return Verdict(
            f"undecided: {of_all} explain the answers, with {len(references)} references; more "
            "answers, of parameters that differ more, could tell them apart"
        )
    first = explaining[0]
    others = [candidate.mask_rule for candidate in explaining[1:]]
    doubt = f" ({', '.join(others)} would do as well)" if others else ""
    equals = f" (the same as {', '.join(first.same)})" if first.same else ""
    return Verdict(
        f"{first.reference}{equals} alone explains the answers, masks being read by "
        f"{first.mask_rule}{doubt}",
        first.reference,
        first.mask_rule,
    )


def parse_take(text: str) -> tuple[str, str | None]:
    """Read the value of ``--take``: ``REFERENCE`` or ``REFERENCE:MASK``.

    Returns:
        The reference, and the name of the mask rule if one was given.

    Raises:
        InvalidInput: the method or a rule is unknown.
    """
    reference, _, mask_rule = text.partition(":")
    if mask_rule and mask_rule not in MASK_RULES:
        raise InvalidInput(
            f"mask rule '{mask_rule}' is unknown: use one of {', '.join(MASK_RULES)}"
        )
    if reference != "masks" and not Path(reference).exists():
        reference = parse_reference(reference).text
    return reference, mask_rule or None


def chosen_rule(candidates: Sequence[Candidate], reference: str, mask_rule: str | None) -> Verdict:
    """The verdict for the user's own choice, with what the answers say about it.

    Args:
        candidates: best first; empty if rules were not compared.
        mask_rule: ``None`` for the best one with this reference.

    Raises:
        InvalidInput: the reference leaves an image without a usable mask.
    """
    if not candidates:
        text = f"{reference} is taken; it was not compared with the answers"
        return Verdict(text, reference, mask_rule or next(iter(MASK_RULES)))
    found = next(
        (
            each
            for each in candidates
            if reference in (each.reference, *each.same) and mask_rule in (None, each.mask_rule)
        ),
        None,
    )
    if found is None:
        raise InvalidInput(
            f"{reference} leaves an image of the catalogue without a usable mask: take another rule"
        )
    says = "explains" if found.explains else "does not explain"
    few = ", which are too few to decide" if len(found.predicted) < _LEAST_ANSWERS else ""
    return Verdict(
        f"{reference}:{found.mask_rule} is taken; it {says} the answers{few}, and is "
        f"{found.error:.3f} off on average",
        reference,
        found.mask_rule,
    )
