"""Explanations of one class of one picture, with one form for heat maps and LIME."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from lime.lime_image import ImageExplanation, LimeImageExplainer
from numpy.typing import NDArray

from explainers.cam import heat_map
from explainers.classifiers import Classifier
from explainers.images import AtScale
from explainers.lime import LimeParameters, explained_label, explanation_mask
from explainers.metrics.fidelity import superpixel_map
from explainers.references import HeatMapRule


@dataclass(frozen=True, eq=False)
class Surrogate:
    """LIME's linear model of superpixels.

    Attributes:
        segments: (H, W) superpixels, contiguous from 0.
        weights: by superpixel; those that were not selected are missing.
        seed: of the explainer.
    """

    parameters: LimeParameters
    segments: NDArray[np.int64]
    weights: Mapping[int, float]
    intercept: float
    seed: int


@dataclass(frozen=True, eq=False)
class Explanation:
    """A method's explanation of one class of one picture.

    Attributes:
        class_index: the class that is explained.
        ranking: (H, W) float64, pixels by importance; a superpixel's pixels have its weight.
        evidence: (H, W) float64, adding up to the evidence; a superpixel's weight is shared out
            among its pixels.
        mask: (H, W) bool.
        seconds: wall clock of the method as a user would call it; ``nan`` where it was not
            measured.
        surrogate: LIME's model; ``None`` for heat maps.
    """

    method: str
    class_index: int
    ranking: NDArray[np.float64]
    evidence: NDArray[np.float64]
    mask: NDArray[np.bool_]
    seconds: float
    surrogate: Surrogate | None = field(default=None)


def explain_by_cam(
    classifier: Classifier,
    image: NDArray[np.uint8],
    method: str,
    rule: HeatMapRule,
    class_index: int,
    at_scale: AtScale | None = None,
) -> Explanation:
    """A class activation map, and its mask by a rule, timed; arguments as of ``heat_map``."""
    start = time.perf_counter()
    cam = heat_map(classifier, image, method, class_index, at_scale=at_scale)
    seconds = time.perf_counter() - start
    values = cam.astype(np.float64)
    return Explanation(method, class_index, values, values, rule(cam, image), seconds)


def explain_by_lime(
    classifier: Classifier,
    image: NDArray[np.uint8],
    parameters: LimeParameters,
    seed: int,
    name: str = "lime",
) -> Explanation:
    """Stock lime on the user's own classifier, timed; ``name`` is that of the method."""
    explainer = LimeImageExplainer(random_state=seed)
    start = time.perf_counter()
    explanation = explainer.explain_instance(
        image, classifier.predict_proba, **parameters.as_kwargs()
    )
    seconds = time.perf_counter() - start
    return lime_explanation(
        explanation, explained_label(explanation), parameters, seed, name, seconds
    )


def lime_explanation(
    explanation: ImageExplanation,
    label: int,
    parameters: LimeParameters,
    seed: int,
    name: str = "lime",
    seconds: float = math.nan,
) -> Explanation:
    """Convert one label of lime's explanation.

    Args:
        parameters, seed: with which the explanation was made.
        name: of the method.
        seconds: wall clock; ``nan`` where it was not measured.
    """
    weights = {
        int(superpixel): float(weight) for superpixel, weight in explanation.local_exp[label]
    }
    segments = np.asarray(explanation.segments, dtype=np.int64)
    return Explanation(
        name,
        label,
        superpixel_map(segments, weights),
        superpixel_map(segments, weights, density=True),
        explanation_mask(explanation, label=label),
        seconds,
        Surrogate(parameters, segments, weights, float(explanation.intercept[label]), seed),
    )
