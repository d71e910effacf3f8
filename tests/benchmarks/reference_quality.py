"""How well references agree with object masks drawn by hand.

``python -m tests.benchmarks.reference_quality [--references a,b,c] [--images extra|demo]``

For each reference: the mean IoU with the masks and its 95 % bootstrap interval, the pointing game
(Zhang et al. 2016: is the map's maximum in the object?), seconds an image (without judging it), and
Spearman's correlation of the reliability with the IoU.

``extra`` are the twenty photographs of the real inputs with the masks of ``tests/object_masks``;
``demo`` the demo scenes with their exact masks and their own small classifier.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from explainers.cam import heat_map
from explainers.classifiers import Classifier, load_classifier
from explainers.errors import InvalidInput, UnusableReference
from explainers.masks import check_reference, intersection_over_union
from explainers.references import estimate_reliability, parse_reference
from studies.catalog import load_catalog
from studies.catalog.assets import StudyImage, load_study_image
from tests.benchmarks.common import benchmark_classifier, run_benchmark, say
from tests.object_masks import object_masks

_REFERENCES = (
    "gradcam@0.3,layercam@0.3,eigencam@0.2,multiscale@0.3,multiscale@otsu,affinity@otsu,"
    "affinity@walker,affinity@superpixels,gradcam@grabcut,multiscale@grabcut,affinity@grabcut,"
    "region@otsu,region@grabcut-half"
)
_RESAMPLES = 10_000


def _extra(
    options: argparse.Namespace, folder: Path
) -> tuple[Classifier, list[StudyImage], Mapping[str, NDArray[np.bool_]]]:
    classifier = benchmark_classifier(options, folder)
    catalog = load_catalog(str(options.assets / "images" / "extra"))
    images = [
        load_study_image(catalog, e, classifier.geometry, options.assets) for e in catalog.images
    ]
    return classifier, images, object_masks(classifier.geometry)


def _demo(
    options: argparse.Namespace, folder: Path
) -> tuple[Classifier, list[StudyImage], Mapping[str, NDArray[np.bool_]]]:
    catalog = load_catalog("demo")
    classifier = load_classifier(catalog.model)
    images = [load_study_image(catalog, e, classifier.geometry) for e in catalog.images]
    return classifier, images, {i.key: i.own_mask for i in images if i.own_mask is not None}


_SETS = {"extra": _extra, "demo": _demo}


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    means = rng.choice(values, (_RESAMPLES, len(values))).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _measured(
    text: str,
    classifier: Classifier,
    images: list[StudyImage],
    masks: Mapping[str, NDArray[np.bool_]],
) -> dict[str, Any]:
    reference = parse_reference(text)
    ious, hits, seconds, scores = {}, [], [], []
    for image in images:
        start = time.perf_counter()
        found = heat_map(classifier, image.pixels, reference.method, at_scale=image.at_scale)
        mask = reference.rule(found, image.pixels)
        seconds.append(time.perf_counter() - start)
        try:
            check_reference(mask, image.key)
        except UnusableReference as error:
            say(str(error))
        truth = masks[image.key]
        ious[image.key] = round(intersection_over_union(mask, truth), 3)
        hits.append(bool(truth.ravel()[int(found.argmax())]))
        scores.append(estimate_reliability(classifier, image.pixels, mask, image.at_scale).score)
    low, high = _interval(np.array(list(ious.values())))
    return {
        "iou": round(float(np.mean(list(ious.values()))), 4),
        "interval": [round(low, 3), round(high, 3)],
        "pointing": round(float(np.mean(hits)), 3),
        "seconds": round(float(np.median(seconds)), 2),
        "reliability_spearman": round(float(spearmanr(scores, list(ious.values()))[0]), 3),
        "images": ious,
        "reliability": {k: round(s, 3) for k, s in zip(ious, scores, strict=True)},
    }


def _body(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    if options.images not in _SETS:
        raise InvalidInput(f"--images {options.images}: use one of {', '.join(_SETS)}")
    classifier, images, masks = _SETS[options.images](options, folder)
    results = {}
    for text in options.references.split(","):
        results[text] = _measured(text, classifier, images, masks)
        shown = {
            name: value for name, value in results[text].items() if not isinstance(value, dict)
        }
        say(f"{text}: {shown}")
    return {"images": options.images, "references": results}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.reference_quality")
    parser.add_argument("--references", default=_REFERENCES, help="METHOD@RULE, commas")
    parser.add_argument("--images", default="extra", help="extra (default) or demo")
    run_benchmark(parser, _body)


if __name__ == "__main__":
    main()
