"""Which reference and which way to read a mask explain the IoUs that a grading server answered.

A server compares with masks that it keeps. If they are class activation maps cut by a rule, then
the known submissions, explained again here and scored against each such rule, get the answered
IoUs from the right one, as far as chance allows: the server's run had seeds of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from explainers.errors import InvalidInput, UnusableReference
from explainers.masks import (
    MASK_RULE,
    MaskRule,
    check_reference,
    intersection_over_union,
    selected_superpixels,
)
from explainers.references import overlap_counts, parse_heat_map_rule

__all__ = [
    "CUTS", "LEAST_ANSWERS", "MASK_RULES", "METHODS", "Candidate", "ImageRun", "Verdict",
    "cut_masks", "decide", "rank_candidates", "ranked_first",
]  # fmt: skip

METHODS: tuple[str, ...] = (
    "gradcam", "gradcam++", "hirescam", "xgradcam", "layercam", "eigencam", "multiscale",
)  # fmt: skip
"""Heat maps that are looked at unless others are named: those that ask for a few passes only."""

CUTS = ("0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "otsu", "top20", "top30")
"""How each heat map becomes a mask; see ``explainers.references.heat_map_rules``."""

MASK_RULES: Mapping[str, MaskRule] = {
    "positive5": MASK_RULE,
    "positive10": MaskRule(num_features=10),
    "heaviest5": MaskRule(positive_only=False),
    "heaviest10": MaskRule(positive_only=False, num_features=10),
}
"""``positive5`` are the five heaviest of the positive superpixels; ``heaviest5`` those of the five
heaviest that are positive."""

LEAST_ANSWERS = 4
"""Fewer are explained by too many rules."""

_WITHIN = 2.0  # standard errors
_ROUNDING = 1e-9
# Several methods are one formula on networks that end in an average (Draelos and Carin 2020): what
# is equal but for rounding is one reference.
_SAME_MASKS = 0.99

Masks = Mapping[str, NDArray[np.bool_]]
"""(H, W) by image."""


@dataclass(frozen=True, eq=False)
class ImageRun:
    """An image explained with one parameter set and some seeds.

    Attributes:
        segments: (H, W) superpixels, contiguous from 0.
        weights: lime's ``local_exp`` of the first label, of each seed.
    """

    segments: NDArray[np.int64]
    weights: tuple[Sequence[tuple[int, float]], ...]


@dataclass(frozen=True)
class Candidate:
    """A reference and a way to read masks, and what it would have answered.

    Attributes:
        reference: ``METHOD@RULE``.
        mask_rule: one of :data:`MASK_RULES`.
        predicted: mean IoU of each submission.
        standard_errors: of answered − predicted: our mean over seeds, and the server's single run.
        error: mean of |predicted − answered|.
        rank_correlation: Spearman's, with the answers; ``None`` where it is not defined.
        explains: every answer is within two standard errors.
        same: further references with the same masks (an IoU of 0.99 on every image at least).
    """

    reference: str
    mask_rule: str
    predicted: tuple[float, ...]
    standard_errors: tuple[float, ...]
    error: float
    rank_correlation: float | None
    explains: bool
    same: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """``METHOD@RULE:MASK``."""
        return f"{self.reference}:{self.mask_rule}"


@dataclass(frozen=True)
class Verdict:
    """What the answers say about the rules.

    Attributes:
        text: one sentence or two.
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
        heat_maps: method → image → (H, W) in [0, 1].
        images: (H, W, 3) by image.

    Returns:
        ``METHOD@RULE`` → masks, and those that leave an image an empty or a full one.
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

    By mean absolute error; ties by rank correlation. References with the same masks are one.

    Args:
        answered: mean IoU of each submission.
        runs: of each submission, by image; all with the same number of seeds, two at least.
    """
    chosen = [
        {
            key: {
                name: [selected_superpixels(weights, rule) for weights in run.weights]
                for name, rule in mask_rules.items()
            }
            for key, run in images.items()
        }
        for images in runs
    ]
    found = []
    same = _same_masks(references)
    for reference in same:
        masks = references[reference]
        overlaps: dict[tuple[str, int], tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        for images in runs:
            for key, run in images.items():
                if (key, id(run.segments)) not in overlaps:  # submissions share superpixels
                    overlaps[key, id(run.segments)] = overlap_counts(run.segments, masks[key])
        for name in mask_rules:
            ious = [
                np.array(
                    [
                        [_iou(picked, *overlaps[key, id(run.segments)]) for picked in read[name]]
                        for (key, run), read in zip(images.items(), reads.values(), strict=True)
                    ]
                )
                for images, reads in zip(runs, chosen, strict=True)
            ]
            found.append(replace(_candidate(reference, name, answered, ious), same=same[reference]))
    return sorted(found, key=_rank)


def _same_masks(references: Mapping[str, Masks]) -> dict[str, tuple[str, ...]]:
    """The first of every group of references with the same masks, and the others of it."""
    same: dict[str, tuple[str, ...]] = {}
    for name, masks in references.items():
        for first in same:
            pairs = ((mask, references[first][key]) for key, mask in masks.items())
            if all(intersection_over_union(*pair) >= _SAME_MASKS for pair in pairs):
                same[first] += (name,)
                break
        else:
            same[name] = ()
    return same


def _iou(chosen: Sequence[int], inside: NDArray[np.int64], outside: NDArray[np.int64]) -> float:
    picked = np.array(chosen, dtype=np.int64)
    union = int(inside.sum()) + int(outside[picked].sum())
    return int(inside[picked].sum()) / union


def _candidate(
    reference: str, mask_rule: str, answered: Sequence[float], ious: list[NDArray[np.float64]]
) -> Candidate:
    """From (images, seeds) IoUs of each submission."""
    predicted = np.array([each.mean() for each in ious])
    errors = np.array([_standard_error(each) for each in ious])
    misses = np.abs(predicted - np.asarray(answered))
    return Candidate(
        reference=reference,
        mask_rule=mask_rule,
        predicted=tuple(float(value) for value in predicted),
        standard_errors=tuple(float(value) for value in errors),
        error=float(misses.mean()),
        rank_correlation=_spearman(predicted, np.asarray(answered)),
        explains=bool((misses <= _WITHIN * errors + _ROUNDING).all()),
    )


def _standard_error(ious: NDArray[np.float64]) -> float:
    """Of the difference between a server's mean over images, one seed each, and ours over seeds."""
    images, seeds = ious.shape
    of_one_seed = float(ious.var(axis=1, ddof=1).sum()) / images**2
    return math.sqrt(of_one_seed * (1 + 1 / seeds))


def _spearman(predicted: NDArray[np.float64], answered: NDArray[np.float64]) -> float | None:
    if len(answered) < 3 or np.ptp(predicted) == 0 or np.ptp(answered) == 0:
        return None
    from scipy import stats

    return float(stats.spearmanr(predicted, answered)[0])


def _rank(candidate: Candidate) -> tuple[float, float]:
    correlation = candidate.rank_correlation
    return round(candidate.error, 9), math.inf if correlation is None else -correlation


def decide(candidates: Sequence[Candidate]) -> Verdict:
    """Whether the answers single out a reference.

    Args:
        candidates: ranked.

    Raises:
        InvalidInput: there is none.
    """
    if not candidates:
        raise InvalidInput(
            "no reference rule gives every image a usable mask: name other methods with --methods"
        )
    best, answers = candidates[0], len(candidates[0].predicted)
    explaining = [candidate for candidate in candidates if candidate.explains]
    of_all = f"{len(explaining)} of {len(candidates)} candidates"
    if answers < LEAST_ANSWERS:
        return Verdict(
            f"undecided: {answers} answers cannot tell {len(candidates)} candidates apart, at "
            f"least {LEAST_ANSWERS} are needed ({of_all} explain them)"
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


def ranked_first(
    candidates: Sequence[Candidate], reference: str, mask_rule: str | None
) -> Candidate | None:
    """The best of a reference, or of it with one way to read masks; ``None`` where it has none."""
    for candidate in candidates:
        known = (candidate.reference, *candidate.same)
        if reference in known and mask_rule in (None, candidate.mask_rule):
            return candidate
    return None
