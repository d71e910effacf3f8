"""A comparison of made-up explanations, with every kind of value that is recorded."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timezone

import numpy as np

from explainers.lime import LimeParameters, Segmentation
from explainers.metrics import (
    LIME_DEFAULT,
    LIME_TUNED,
    Comparison,
    Explanation,
    Measured,
    PictureFacts,
    Surrogate,
    agreement,
    superpixel_map,
)
from studies.records import ComparedImage, ComparisonRun

HEIGHT, WIDTH = 24, 20
PARAMETERS = LimeParameters(segmentation=Segmentation.of("slic", n_segments=20))
WEIGHTS = {3: 0.25, 7: -0.125, 119: 1e-9}


def compared_image(
    key: str, seed: int, *, tuned: bool = True, other_classes: bool = False
) -> ComparedImage:
    """Noise with measures; image 0 has one that is missing."""
    generator = np.random.default_rng(seed)
    segments = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) // 4
    found: list[Explanation] = []
    for method in ("gradcam", "scorecam", "ablationcam"):
        heat = generator.integers(0, 256, (HEIGHT, WIDTH)) / 255.0
        found.append(Explanation(method, 4, heat, heat, heat > 0.5, 0.25 + generator.random()))
    for method in (LIME_DEFAULT, LIME_TUNED)[: 1 + tuned]:
        model = Surrogate(PARAMETERS, segments, WEIGHTS, 0.1, 17)
        ranking = superpixel_map(segments, WEIGHTS)
        evidence = superpixel_map(segments, WEIGHTS, density=True)
        mask = generator.random((HEIGHT, WIDTH)) > 0.5
        found.append(Explanation(method, 4, ranking, evidence, mask, 2.5, model))
    measured = []
    for each in found:
        measures = {
            "deletion": 0.1 * generator.random(), "insertion": 0.5 + 0.5 * generator.random(),
            "iou": generator.random(), "pointing": math.nan if seed == 0 else 1.0,
            "energy": 0.25, "background": 0.75, "centre_distance": 0.125, "seconds": each.seconds,
        }  # fmt: skip
        if each.surrogate is not None:
            measures |= {"r2": generator.random(), "mask_stability": 1.0, "rank_stability": 0.75}
        measured.append(Measured(each, measures))
    others = tuple(
        replace(each, class_index=2, seconds=math.nan, mask=~each.mask)
        for each in (found[0], found[-1])
        if other_classes
    )
    facts = PictureFacts(
        ((4, 0.75), (2, 0.125)), 0.01 * seed, float(generator.random()), 100 + seed
    )
    return ComparedImage(
        key=key,
        type=("animate", "inanimate", None)[seed % 3],
        catalog_class="kite" if seed % 2 else "cock",
        pixels=generator.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8),
        class_names=("kite", "vulture"),
        reference=generator.random((HEIGHT, WIDTH)) > 0.3,
        reference_rule="gradcam@0.3",
        comparison=Comparison(facts, tuple(measured), agreement(found), others),
        reliability=0.2,
        doubt="maps disagree <& so on>",
    )


def comparison_run(
    study: str, *keys: str, tuned: bool = True, other_classes: bool = False
) -> ComparisonRun:
    """A run of some images."""
    return ComparisonRun(
        at=datetime(2026, 11, 22, 3, 4, 5, tzinfo=timezone.utc),
        catalog="tml25",
        study=study,
        classifier="mobilenet_v2",
        classifier_sha256="a" * 64,
        device="cpu",
        seed=7,
        arguments={"rule": "0.3", "seeds": 3},
        package_versions={"lime": "0.2.0.1"},
        images=tuple(
            compared_image(key, number, tuned=tuned, other_classes=other_classes)
            for number, key in enumerate(keys)
        ),
    )
