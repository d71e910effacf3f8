"""Explain with stock lime, timed and scored, for both ``verify`` and the grading server."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from lime.lime_image import LimeImageExplainer
from numpy.typing import NDArray

from explainers.lime import PredictionCache, as_lime_hides, explained_label
from explainers.masks import intersection_over_union
from explainers.metrics import insertion_minus_deletion, superpixel_map, surrogate_r2

__all__ = ["StockExplanation", "explain_with_stock_lime", "stock_faithfulness"]

Predict = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@dataclass(frozen=True)
class StockExplanation:
    """Result of one run of stock lime.

    Attributes:
        iou: of the mask with the reference, in [0, 1].
        seconds: of ``explain_instance`` alone.
        label: index of the class that was explained.
        mask: (H, W) bool.
        explanation: lime's own object.
    """

    iou: float
    seconds: float
    label: int
    mask: NDArray[np.bool_]
    explanation: Any = None

    @property
    def never_hidden(self) -> bool:
        """Whether lime never hides a part of the picture, because labels do not start at 0."""
        segments, features = as_lime_hides(np.asarray(self.explanation.segments))
        return bool((segments == features).any())


def explain_with_stock_lime(
    image: NDArray[np.uint8],
    reference: NDArray[np.bool_],
    predict: Predict,
    kwargs: Mapping[str, Any],
    *,
    seed: int,
    mask_rule: Mapping[str, Any],
) -> StockExplanation:
    """Explain an image with stock lime, without any cache or engine of this program.

    Args:
        image: (H, W, 3) uint8.
        reference: (H, W) bool.
        predict: (N, H, W, 3) uint8 → (N, C) probabilities.
        kwargs: for ``explain_instance``; lime fits a regressor in place.
        seed: of the explainer.
        mask_rule: keyword arguments of ``get_image_and_mask``.
    """
    explainer = LimeImageExplainer(random_state=seed)
    start = time.perf_counter()
    explanation = explainer.explain_instance(image, predict, **kwargs)
    seconds = time.perf_counter() - start
    label = explained_label(explanation)
    _, shown = explanation.get_image_and_mask(label, **mask_rule)
    mask = shown > 0
    iou = intersection_over_union(mask, reference)
    return StockExplanation(iou, seconds, label, mask, explanation)


def stock_faithfulness(
    explanation: Any,
    label: int,
    image: NDArray[np.uint8],
    hide_color: Any,
    predict: Predict,
) -> tuple[float, float]:
    """Return the held-out R² of an explanation's surrogate, and its insertion minus deletion area.

    Args:
        explanation: of stock lime.
        label: index of the class whose surrogate is measured.
        image: (H, W, 3) uint8.
        hide_color: the one that the explanation was made with.
        predict: (N, H, W, 3) uint8 → (N, C) probabilities.
    """

    class Source:
        fingerprint = "the verified one"

        def predict_proba(self, images: NDArray[np.uint8], /) -> NDArray[Any]:
            return predict(images)

    weights = {int(s): float(w) for s, w in explanation.local_exp[label]}
    segments, _ = as_lime_hides(np.asarray(explanation.segments))
    r2 = surrogate_r2(
        segments, weights, float(explanation.intercept[label]), hide_color, label, image,
        Source(), PredictionCache(),
    )  # fmt: skip
    ranking = superpixel_map(segments, weights)
    return r2, insertion_minus_deletion(predict, image, ranking, label)
