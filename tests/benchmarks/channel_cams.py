"""Score-CAM and Ablation-CAM against grad-cam's own classes used plainly.

``python -m tests.benchmarks.channel_cams [--images N]``

For each of the two methods: seconds an image of ours and of grad-cam with its default batch sizes,
taken in turns on the same photographs, their ratio, and the largest difference of the maps.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explainers.cam import heat_map
from explainers.classifiers import Classifier, import_torchvision
from tests.benchmarks.common import benchmark_classifier, photographs, positive, run_benchmark, say

_PLAIN = {"scorecam": "ScoreCAM", "ablationcam": "AblationCAM"}


def _plain(classifier: Classifier, image: NDArray[np.uint8], method: str) -> NDArray[np.float32]:
    """What grad-cam's README tells people to write."""
    import_torchvision()
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    index = int(classifier.predict_proba(image[None])[0].argmax())
    kind = getattr(pytorch_grad_cam, _PLAIN[method])
    with kind(model=classifier.module, target_layers=[classifier.cam_target()]) as cam:
        found: NDArray[np.float32] = cam(
            input_tensor=classifier.normalise(image[None]),
            targets=[ClassifierOutputTarget(index)],
        )[0]
    return found


def _body(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    classifier = benchmark_classifier(options, folder)
    images = photographs(classifier, options.assets)[: options.images]
    methods: dict[str, Any] = {}
    for method in _PLAIN:
        ours, theirs, difference = [], [], 0.0
        for image in images:
            say(f"{method} {image.key}")
            start = time.perf_counter()
            found = heat_map(classifier, image.pixels, method)
            middle = time.perf_counter()
            plain = _plain(classifier, image.pixels, method)
            ours.append(middle - start)
            theirs.append(time.perf_counter() - middle)
            difference = max(difference, float(np.abs(found - plain).max()))
        methods[method] = {
            "seconds": round(float(np.mean(ours)), 3),
            "plain_seconds": round(float(np.mean(theirs)), 3),
            "ratio": round(float(np.sum(theirs) / np.sum(ours)), 2),
            "largest_difference": difference,
        }
    return {"images": len(images), "methods": methods}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="tests.benchmarks.channel_cams", description=__doc__)
    parser.add_argument("--images", type=positive, default=3, help="how many of the ten (3)")
    run_benchmark(parser, _body)
