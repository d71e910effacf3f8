"""Units and concepts with evidence for a class inside an explanation's mask.

For a feature map A (U, h, w) and the logit y of a class, with G = dy/dA:

- a unit's activation *inside* the mask is the mean of A over its cells, weighted by how much of
  each cell the mask covers, *outside* it the mean over the rest;
- its *effect* is the sum of G over cells: how the logit would change if the unit's activation were
  one higher everywhere;
- its *contrast* is (inside - outside) × effect: above 0 where the unit's difference between mask
  and rest raises the logit;
- its *evidence* is A × G, summed over the cells inside and outside. Where the rest of the network
  is linear (the last stage of ResNet and MobileNet: average, then a linear layer) all evidence adds
  up to the logit without its bias; elsewhere that is a first-order approximation (gradient × input,
  Shrikumar et al. 2017).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dissection.probing import check_layers
from explainers.classifiers import Classifier
from explainers.errors import InvalidInput

__all__ = ["MaskEvidence", "UnitEvidence", "mask_evidence"]

_NAMED = 3  # concepts in the sentence


@dataclass(frozen=True)
class UnitEvidence:
    """The evidence of one unit for a class in one image.

    Attributes:
        concept: label of the unit; ``None`` where it has none that counts.
        inside, outside: mean activation.
        effect: change of the logit per unit of activation.
        evidence_inside, evidence_outside: sums of activation × gradient.
    """

    unit: int
    concept: str | None
    inside: float
    outside: float
    effect: float
    evidence_inside: float
    evidence_outside: float

    @property
    def contrast(self) -> float:
        """(inside - outside) × effect."""
        return (self.inside - self.outside) * self.effect


@dataclass(frozen=True)
class MaskEvidence:
    """The evidence of a layer's units for a class, inside and outside the mask of one image.

    Attributes:
        key: of the image.
        units: all of the layer, those of the largest contrast first.
    """

    key: str
    layer: str
    class_name: str
    units: tuple[UnitEvidence, ...]

    @property
    def for_the_class(self) -> float:
        """Sum of all positive evidence, inside and outside."""
        return sum(
            max(0.0, value) for u in self.units for value in (u.evidence_inside, u.evidence_outside)
        )

    @property
    def inside_share(self) -> float:
        """Share of :attr:`for_the_class` inside the mask, in [0, 1]; 0 where there is none."""
        total = self.for_the_class
        inside = sum(max(0.0, unit.evidence_inside) for unit in self.units)
        return inside / total if total > 0 else 0.0

    @property
    def concept_shares(self) -> Mapping[str, float]:
        """Share of :attr:`for_the_class` inside the mask by concept, the largest first; only of
        units with positive contrast and evidence."""
        total = self.for_the_class
        shares: dict[str, float] = {}
        for unit in self.units:
            if unit.concept is not None and unit.contrast > 0 and unit.evidence_inside > 0:
                shares[unit.concept] = shares.get(unit.concept, 0.0) + unit.evidence_inside / total
        return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))

    @property
    def sentence(self) -> str:
        """The result as a sentence for the report."""
        best = dict(list(self.concept_shares.items())[:_NAMED])
        if not best:
            return (
                f"{self.key}: {self.inside_share:.0%} of the evidence for {self.class_name} lies "
                "inside the mask; no labelled unit sets it apart."
            )
        names = ", ".join(f"'{name}'" for name in best)
        share = sum(best.values())
        carried = f"{share:.0%}" if share >= 0.01 else "less than 1%"
        return (
            f"{self.key}: units for {names} inside the mask carry {carried} of the "
            f"evidence for {self.class_name}; {self.inside_share:.0%} of it lies inside."
        )


def mask_evidence(
    classifier: Classifier,
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    layer: str,
    class_index: int,
    *,
    key: str,
    concepts: Sequence[str | None],
) -> MaskEvidence:
    """Evidence of a layer's units for a class, inside and outside a mask.

    Args:
        image: (H, W, 3) uint8.
        mask: (H, W) bool, neither empty nor full.
        class_index: of the logit.
        key: of the image, for messages.
        concepts: label of every unit, ``None`` where it has none.

    Raises:
        InvalidInput: the layer does not exist, has no feature maps or another number of units, or
            the mask is empty or full, or of another shape.
    """
    check_layers(classifier, [layer])
    if mask.shape != image.shape[:2] or not mask.any() or mask.all():
        raise InvalidInput(
            f"the mask of '{key}' has shape {mask.shape} and covers {mask.mean():.0%} of the "
            "image: it needs the image's shape, an inside and an outside"
        )
    activations, gradient = _maps(classifier, image, layer, class_index)
    if len(concepts) != len(activations):
        raise InvalidInput(
            f"layer '{layer}' of {classifier.name} has {len(activations)} units, {len(concepts)} "
            "are labelled: dissect the same network"
        )
    covered = torch.nn.functional.adaptive_avg_pool2d(
        torch.from_numpy(mask).to(activations)[None], (activations.shape[1], activations.shape[2])
    )[0]
    inside, outside = covered / covered.sum(), (1 - covered) / (1 - covered).sum()
    evidence = activations * gradient
    numbers = torch.stack(
        (
            (activations * inside).sum(dim=(1, 2)),
            (activations * outside).sum(dim=(1, 2)),
            gradient.sum(dim=(1, 2)),
            (evidence * covered).sum(dim=(1, 2)),
            (evidence * (1 - covered)).sum(dim=(1, 2)),
        ),
        dim=1,
    ).tolist()
    units = [
        UnitEvidence(unit, concept, *row)
        for unit, (concept, row) in enumerate(zip(concepts, numbers, strict=True))
    ]
    units.sort(key=lambda unit: -unit.contrast)
    return MaskEvidence(key, layer, classifier.class_name(class_index), tuple(units))


def _maps(
    classifier: Classifier, image: NDArray[np.uint8], layer: str, class_index: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(U, h, w) feature maps of the layer, and the logit's gradient by them, both float64."""
    kept: list[torch.Tensor] = []

    def watched(module: torch.nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
        # A leaf of its own: nothing before the layer is differentiated, and an operation after it
        # that works in place does not change what was kept.
        kept.append(output.detach().requires_grad_())
        return kept[-1] * 1.0

    handle = classifier.module.get_submodule(layer).register_forward_hook(watched)
    try:
        with torch.enable_grad():
            inputs = classifier.normalise(image[None])
            scores = classifier.map_scores(classifier.module(inputs), inputs)
            gradient = torch.autograd.grad(scores[0, class_index], kept[-1])[0]
    finally:
        handle.remove()
    maps = [kept[-1].detach(), gradient]
    if classifier.reshape_transform is not None:
        maps = [classifier.reshape_transform(each) for each in maps]
    if maps[0].ndim != 4:
        raise InvalidInput(
            f"layer '{layer}' of {classifier.name} has no feature maps: nothing is inside a mask"
        )
    return maps[0][0].to(torch.float64), maps[1][0].to(torch.float64)
