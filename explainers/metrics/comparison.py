"""One picture explained by several methods, side by side, with measures of each explanation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from explainers.classifiers import Classifier
from explainers.images import AtScale
from explainers.lime import (
    LimeParameters,
    PredictionCache,
    Predictor,
    explain,
    lime_default_segmentation,
)
from explainers.metrics.explanation import (
    Explanation,
    explain_by_cam,
    explain_by_lime,
    lime_explanation,
)
from explainers.metrics.localisation import edge_density, entropy
from explainers.metrics.measures import agreement, measure, measure_surrogate
from explainers.references import HeatMapRule

CAMS: Sequence[str] = ("gradcam", "scorecam", "ablationcam")
LIME_DEFAULT, LIME_TUNED = "lime default", "lime tuned"
_TOP_CLASSES = 5


@dataclass(frozen=True)
class PictureFacts:
    """Properties of a picture that do not depend on an explanation.

    Attributes:
        top_classes: (class number, probability) of the likeliest five, likeliest first.
        edge_density: share of the pixels on edges, in [0, 1].
        entropy: of the classifier's probabilities, in bits.
        superpixels: number of superpixels of lime's default segmentation.
    """

    top_classes: tuple[tuple[int, float], ...]
    edge_density: float
    entropy: float
    superpixels: int


@dataclass(frozen=True, eq=False)
class Measured:
    """An explanation with its measures, by the names of ``explainers.metrics.MEASURES``."""

    explanation: Explanation
    measures: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Comparison:
    """All explanations of a picture.

    Attributes:
        explanations: of one class, see :func:`compare`.
        agreement: IoU of two methods' masks, by (method, method).
        other_classes: explanations of the next likely classes by one heat map and one LIME, if
            there are any, without measures.
    """

    facts: PictureFacts
    explanations: tuple[Measured, ...]
    agreement: Mapping[tuple[str, str], float]
    other_classes: tuple[Explanation, ...] = ()


def picture_facts(classifier: Classifier, image: NDArray[np.uint8]) -> PictureFacts:
    """Facts of an (H, W, 3) uint8 image and of the classifier's prediction."""
    answer = classifier.predict_proba(image[None])[0]
    likeliest = np.argsort(answer)[::-1][:_TOP_CLASSES]  # of equal ones lime takes the last
    return PictureFacts(
        top_classes=tuple((int(index), float(answer[index])) for index in likeliest),
        edge_density=edge_density(image),
        entropy=entropy(answer),
        superpixels=int(lime_default_segmentation(0)(image).max()) + 1,
    )


def compare(
    classifier: Classifier,
    image: NDArray[np.uint8],
    reference: NDArray[np.bool_],
    tuned: LimeParameters | None,
    *,
    source: Predictor,
    cache: PredictionCache,
    rule: HeatMapRule,
    seed: int,
    stability_seeds: int = 2,
    classes: int = 1,
    cams: Sequence[str] = CAMS,
    at_scale: AtScale | None = None,
    on_progress: Callable[[str], None] = lambda what: None,
) -> Comparison:
    """Explain one class by every method and measure all of them.

    The class is the one that ``tuned`` explains; the likeliest if ``tuned`` is missing or explains
    no particular class.

    Heat maps and LIME are timed as a user would call them, on the classifier itself; the further
    seeds for the stability take their predictions from the cache.

    Args:
        image: (H, W, 3) uint8.
        reference: (H, W) bool.
        tuned: the parameters found by a study; ``None`` leaves out that explanation.
        source: predicts what the cache does not hold.
        rule: makes masks of heat maps; LIME's masks are read by the protocol's rule.
        seed: of the explainer; the seeds after it serve for the stability.
        stability_seeds: number of seeds for the stability.
        classes: number of the likeliest classes that are explained, at most five; see
            :attr:`Comparison.other_classes`.
        on_progress: called with the name of what comes next.
    """
    facts = picture_facts(classifier, image)
    label = None if tuned is None else tuned.label
    index = facts.top_classes[0][0] if label is None else label
    classifier.predict_proba(np.repeat(image[None], 10, axis=0))  # warm up
    cam = partial(explain_by_cam, classifier, image, rule=rule, at_scale=at_scale)
    explanations = []
    for method in cams:
        on_progress(method)
        explanations.append(cam(method=method, class_index=index))
    settings = {LIME_DEFAULT: LimeParameters().about(label), LIME_TUNED: tuned}
    for name, parameters in settings.items():
        if parameters is not None:
            on_progress(name)
            explanations.append(explain_by_lime(classifier, image, parameters, seed, name))
    on_progress("measures")
    measured = []
    for explanation in explanations:
        found = measure(explanation, image, source.predict_proba, reference)
        if explanation.surrogate is not None:
            further = range(seed + 1, seed + 1 + stability_seeds)
            found |= measure_surrogate(
                explanation.surrogate, explanation.class_index, image, source, cache, further
            )
        measured.append(Measured(explanation, found))
    others: list[Explanation] = []
    indices = [other for other, _ in facts.top_classes if other != index][: classes - 1]
    if indices:
        on_progress("other classes")
        others = [cam(method=method, class_index=index) for method in cams[:1] for index in indices]
        others += _lime_of_classes(indices, image, source, cache, tuned, seed)
    return Comparison(facts, tuple(measured), agreement(explanations), tuple(others))


def _lime_of_classes(
    indices: Sequence[int],
    image: NDArray[np.uint8],
    source: Predictor,
    cache: PredictionCache,
    tuned: LimeParameters | None,
    seed: int,
) -> list[Explanation]:
    """LIME's explanations of some classes, from one set of predictions; tuned or by default."""
    name, parameters = (LIME_DEFAULT, LimeParameters()) if tuned is None else (LIME_TUNED, tuned)
    asked = replace(parameters, labels=tuple(indices), top_labels=None)
    found = explain(image, source, asked, seed=seed, cache=cache)
    return [lime_explanation(found, index, parameters, seed, name) for index in indices]
