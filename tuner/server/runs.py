"""Explains known submissions again, image by image and seed by seed, with cached predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from explainers.errors import InvalidInput
from explainers.lime import (
    LimeParameters,
    PredictionCache,
    Predictor,
    Segmentation,
    explain,
    segment,
)
from studies.catalog.assets import StudyImage
from tuner.runtime.model import RuntimeModel
from tuner.server.answers import KnownAnswer
from tuner.server.rules import ImageRun

__all__ = ["explained_again", "mean_parts", "superpixel_maps"]

Maps = Mapping[tuple[str, Segmentation | None], NDArray[np.int64]]
"""(H, W) superpixel numbers by key of the image and segmentation."""

Progress = Callable[[str, float, float], None]
"""Called with (what, done, in all)."""


def superpixel_maps(
    segmentations: Sequence[Segmentation | None],
    images: Sequence[StudyImage],
    cache: PredictionCache,
    on_progress: Progress = lambda *_: None,
) -> Maps:
    """The superpixels of every image by every segmentation; ``None`` is lime's default."""
    maps: dict[tuple[str, Segmentation | None], NDArray[np.int64]] = {}
    different = list(dict.fromkeys(segmentations))
    for number, image in enumerate(images):
        on_progress(image.key, number, len(images))
        for each in different:
            parameters = LimeParameters(segmentation=each, random_seed=0)
            state = np.random.RandomState(0)
            maps[image.key, each] = segment(image.pixels, parameters, state, cache, image.digest)
    return maps


def mean_parts(
    parameters: Mapping[str, LimeParameters], maps: Maps, model: RuntimeModel
) -> tuple[float, float]:
    """Modelled seconds of parameters by image, as means over images.

    Returns:
        Seconds of segmentation and fit, and seconds of perturbation and prediction.
    """
    fixed, per_sample = [], []
    for key, each in parameters.items():
        segments = maps[key, each.segmentation]
        parts = model.parts(each, int(segments.max()) + 1, segments.size)
        fixed.append(parts.segmentation + parts.fit)
        per_sample.append(parts.perturbation + parts.prediction)
    return float(np.mean(fixed)), float(np.mean(per_sample))


def explained_again(
    answers: Sequence[KnownAnswer],
    images: Sequence[StudyImage],
    maps: Maps,
    source: Predictor,
    cache: PredictionCache,
    seeds: int,
    on_progress: Progress = lambda *_: None,
) -> list[dict[str, ImageRun]]:
    """Explain every image by every submission, with the explainer seeds 0, 1, ...

    Returns:
        For each submission its runs by key of the image.

    Raises:
        InvalidInput: lime cannot explain an image with one of the parameter sets.
    """
    runs: list[dict[str, ImageRun]] = [{} for _ in answers]
    done, total = 0, len(answers) * len(images) * seeds
    for image in images:
        for answer, found in zip(answers, runs, strict=True):
            parameters = answer.parameters[image.key]
            weights = []
            for seed in range(seeds):
                on_progress(f"{image.key}, {answer.name}", done, total)
                done += 1
                try:
                    explanation = explain(
                        image.pixels, source, parameters, seed=seed, cache=cache,
                        first_label_only=True, image_digest=image.digest,
                    )  # fmt: skip
                except (ValueError, np.linalg.LinAlgError, FloatingPointError) as error:
                    # scikit-learn refuses some combinations.
                    why = (str(error) or type(error).__name__).splitlines()[0][:120]
                    raise InvalidInput(
                        f"lime cannot explain '{image.key}' with the parameters of {answer.name} "
                        f"({why}): leave that answer out"
                    ) from error
                weights.append(explanation.local_exp[explanation.top_labels[0]])
            segments = maps[image.key, parameters.segmentation]
            found[image.key] = ImageRun(segments, tuple(weights))
    return runs
