"""LIME explanations that equal stock lime's, from cached predictions.

:func:`explain` draws the same rows as ``LimeImageExplainer(random_state=seed)`` and hands them to
lime's own surrogate; only the classifier's predictions come from the cache. Same
parameters, seed and predictions → the same explanation, bit for bit.
"""

from __future__ import annotations

import numpy as np
from lime.lime_image import ImageExplanation
from numpy.typing import NDArray

from explainers.errors import InvalidInput
from explainers.images import array_digest
from explainers.lime.parameters import LimeParameters
from explainers.lime.prediction_cache import PredictionCache, Predictor
from explainers.lime.segmentation import lime_algorithm
from explainers.lime.surrogate import FastLimeBase, distances_to_first, lime_kernel
from explainers.masks import MASK_RULE, MaskRule


def segment(
    image: NDArray[np.uint8],
    parameters: LimeParameters,
    random_state: np.random.RandomState,
    cache: PredictionCache,
    image_digest: str | None = None,
) -> NDArray[np.int64]:
    """The superpixels lime would compute, drawing from ``random_state`` as lime does.

    Returns:
        (H, W) labels, contiguous from 0.
    """
    random_seed = parameters.random_seed
    if random_seed is None:
        random_seed = int(random_state.randint(0, high=1000))
    return cache.superpixels(
        image, lime_algorithm(parameters.segmentation, random_seed), image_digest
    )


def top_label(answer: NDArray[np.floating]) -> int:
    """The class that lime takes for the likeliest; of equal ones not always the first.

    Args:
        answer: (C,) probabilities.
    """
    return int(np.argsort(answer)[-1])


def explained_label(explanation: ImageExplanation) -> int:
    """The class whose mask is read: the top label, or else the first of ``labels``."""
    top = getattr(explanation, "top_labels", None)
    return int(top[0] if top else next(iter(explanation.local_exp)))


def draw_rows(
    random_state: np.random.RandomState, num_samples: int, superpixels: int
) -> NDArray[np.int64]:
    """(num_samples, superpixels) 0/1 rows as lime draws them; the first shows all superpixels."""
    rows: NDArray[np.int64] = random_state.randint(0, 2, num_samples * superpixels).reshape(
        (num_samples, superpixels)
    )
    rows[0, :] = 1
    return rows


def explain(
    image: NDArray[np.uint8],
    predictor: Predictor,
    parameters: LimeParameters,
    *,
    seed: int,
    cache: PredictionCache | None = None,
    first_label_only: bool = False,
    image_digest: str | None = None,
) -> ImageExplanation:
    """Explain a classification as ``LimeImageExplainer(random_state=seed).explain_instance``.

    For S samples of n superpixels and K explained classes:

    1. :func:`segment`: (H, W, 3) image → (H, W) labels, 0 to n - 1.
    2. :func:`draw_rows`: (S, n) 0/1, which superpixels each sample shows; the first row, all.
    3. :meth:`PredictionCache.predictions`: (S, n) → (S, K) probabilities of the images in which
       a :class:`Perturbation` hides the others.
    4. :func:`lime_kernel` of the distances to the first row: (S, n) → (S,) weights.
    5. :class:`FastLimeBase`, once a class: choose ``num_features`` columns and fit the regressor
       to rows, probabilities and weights. Its coefficients are the explanation.

    The method: `Ribeiro, Singh and Guestrin 2016 <https://arxiv.org/abs/1602.04938>`__.

    For example::

        parameters = LimeParameters(num_samples=200, top_labels=1)
        explanation = explain(image, classifier, parameters, seed=0)
        mask = explanation_mask(explanation)  # (H, W) bool

    Args:
        image: (H, W, 3) uint8, in the classifier's geometry.
        predictor: its predictions are cached under its fingerprint.
        parameters: everything else that ``explain_instance`` takes.
        seed: ``random_state`` of the explainer.
        cache: where predictions are kept; a fresh one in memory when ``None``.
        first_label_only: fit the surrogate of :func:`explained_label` only, which is the one masks
            are read from. ``score`` and ``local_pred``, which lime overwrites label by label, are
            then that label's.
        image_digest: :func:`explainers.images.array_digest` of the image, when known.

    Returns:
        lime's own: ``segments``, and ``local_exp[label]``, (superpixel, coefficient) pairs.

    Raises:
        InvalidInput: the image is not (H, W, 3) uint8, or a label is not one of the classifier's.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InvalidInput(
            f"an image of shape {image.shape} and dtype {image.dtype} cannot be explained: "
            "give (H, W, 3) uint8, to stock lime too; explainers.images.as_image converts others"
        )
    cache = PredictionCache() if cache is None else cache
    digest = array_digest(image) if image_digest is None else image_digest
    random_state = np.random.RandomState(seed)
    segments = segment(image, parameters, random_state, cache, digest)
    superpixels = int(np.count_nonzero(np.bincount(segments.ravel())))  # np.unique is slow
    rows = draw_rows(random_state, parameters.num_samples, superpixels)

    original = cache.original(predictor, image, digest)
    explanation = ImageExplanation(image, segments)
    if parameters.top_labels:
        explained = [int(c) for c in np.argsort(original)[-parameters.top_labels :]]
        explanation.top_labels = explained[::-1]
        first = explanation.top_labels[:1]
    else:
        explained = list(parameters.labels)
        first = explained[:1]
        if any(label >= len(original) for label in explained):
            raise InvalidInput(
                f"labels={parameters.labels} are not all below {len(original)}, "
                "the number of the classifier's classes"
            )
    if first_label_only:
        explained = first
    predictions = cache.predictions(
        predictor, image, segments, parameters.hide_color, rows, np.array(explained), digest
    )
    distances = distances_to_first(rows, parameters.distance_metric)
    base = FastLimeBase(lime_kernel, random_state=random_state)
    regressor = None if parameters.regressor is None else parameters.regressor.as_sklearn()
    for column, label in enumerate(explained):
        (
            explanation.intercept[label],
            explanation.local_exp[label],
            explanation.score,
            explanation.local_pred,
        ) = base.explain_instance_with_data(
            rows, predictions, distances, column, parameters.num_features,
            model_regressor=regressor, feature_selection="auto",
        )  # fmt: skip
    return explanation


def explanation_mask(
    explanation: ImageExplanation, rule: MaskRule = MASK_RULE, label: int | None = None
) -> NDArray[np.bool_]:
    """(H, W) bool: the mask of a label, by default of the explained one, read by ``rule``."""
    label = explained_label(explanation) if label is None else label
    _, mask = explanation.get_image_and_mask(label, **rule.as_kwargs())
    return np.asarray(mask > 0)
