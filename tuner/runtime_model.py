"""What one explanation costs in seconds, without running it.

seconds = superpixels + samples × (perturb + classify at that batch size) + fits. The constants
are measured once on a machine, in a few seconds, with the classifier that will be used. So the
runtime of a parameter set does not depend on what the bank holds or on who else uses the machine,
and the same stored model gives the same scores.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from explainers.classifier import Classifier
from explainers.lime_parameters import LimeParameters
from explainers.segmentation import Segmentation

__all__ = ["RuntimeModel", "RuntimeParts", "calibrate", "device_name"]

_DEFAULT_SEGMENTATION = Segmentation.of("quickshift", kernel_size=4, max_dist=200, ratio=0.2)
_BATCHES = (1, 2, 5, 10, 16, 32)
_ROUNDS, _PREDICT_SECONDS = 7, 6.0
_PROBES: Mapping[str, Segmentation] = {
    "quickshift": _DEFAULT_SEGMENTATION,
    "slic": Segmentation.of("slic", n_segments=20, compactness=10),
    "felzenszwalb": Segmentation.of("felzenszwalb", scale=200, sigma=1.0, min_size=200),
}
_FORWARD_SELECTION_UP_TO = 6  # lime's 'auto' selects greedily up to so many features


@dataclass(frozen=True)
class RuntimeParts:
    """Seconds of one explanation, by cause."""

    segmentation: float
    perturbation: float
    prediction: float
    fit: float

    @property
    def total(self) -> float:
        """Seconds in all."""
        return self.segmentation + self.perturbation + self.prediction + self.fit

    def as_dict(self) -> dict[str, float]:
        """By name, for storage."""
        return asdict(self)


@dataclass(frozen=True)
class RuntimeModel:
    """Measured constants; see the module's formula.

    Attributes:
        device: what they were measured on.
        segmentation: seconds per unit of ``Segmentation.work``, by algorithm.
        perturb: seconds a sample, and seconds a sample and superpixel (lime compares the whole
            map once for every superpixel that is off).
        predict: seconds a sample at each measured batch size; log-interpolated between.
        fit: seconds of one small Ridge fit: constant, and per sample × feature.
    """

    device: str
    segmentation: Mapping[str, float]
    perturb: tuple[float, float]
    predict: Mapping[int, float]
    fit: tuple[float, float]

    def parts(self, parameters: LimeParameters, superpixels: int, pixels: int) -> RuntimeParts:
        """Seconds of stock lime with these parameters.

        Args:
            superpixels: how many the segmentation gives on the image.
            pixels: height × width of the image.
        """
        segmentation = parameters.segmentation or _DEFAULT_SEGMENTATION
        samples = parameters.num_samples
        per_sample, per_superpixel = self.perturb
        perturb = samples * (per_sample + per_superpixel * superpixels / 2)
        if parameters.hide_color is None:
            perturb += 4 * per_superpixel * superpixels  # the mean colours, once
        labels = len(parameters.labels) if not parameters.top_labels else parameters.top_labels
        return RuntimeParts(
            segmentation=self.segmentation[segmentation.algorithm] * segmentation.work(pixels),
            perturbation=perturb,
            prediction=samples * self._predict_seconds(min(parameters.batch_size, samples)),
            fit=labels * self._fit_seconds(parameters, superpixels),
        )

    def _predict_seconds(self, batch: int) -> float:
        sizes = sorted(self.predict)
        return float(np.interp(np.log(batch), np.log(sizes), [self.predict[s] for s in sizes]))

    def _fit_seconds(self, parameters: LimeParameters, superpixels: int) -> float:
        constant, slope = self.fit
        samples, count = parameters.num_samples, min(parameters.num_features, superpixels)
        seconds = constant + slope * samples * count  # the explanation itself
        if parameters.num_features <= _FORWARD_SELECTION_UP_TO:
            for chosen in range(count):
                seconds += (superpixels - chosen) * (constant + slope * samples * (chosen + 1))
        else:
            seconds += constant + slope * samples * superpixels
        return seconds

    def scaled(self, *, fixed: float, per_sample: float) -> RuntimeModel:
        """The same constants on a machine that is slower or faster.

        Args:
            fixed: factor of segmentation and fit, which are paid once an explanation.
            per_sample: factor of perturbation and prediction.
        """
        return replace(
            self,
            segmentation={name: fixed * value for name, value in self.segmentation.items()},
            perturb=(per_sample * self.perturb[0], per_sample * self.perturb[1]),
            predict={size: per_sample * value for size, value in self.predict.items()},
            fit=(fixed * self.fit[0], fixed * self.fit[1]),
        )

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> RuntimeModel:
        """The inverse of :meth:`to_json`."""
        document = json.loads(text)
        return cls(
            device=document["device"],
            segmentation=document["segmentation"],
            perturb=tuple(document["perturb"]),
            predict={int(k): float(v) for k, v in document["predict"].items()},
            fit=tuple(document["fit"]),
        )


def device_name(classifier: Classifier) -> str:
    """What computes: the GPU's name, or the processor and its threads."""
    import torch

    if classifier.device.type == "cuda":
        return str(torch.cuda.get_device_name(classifier.device))
    return f"{platform.machine()} {classifier.device.type}, {torch.get_num_threads()} threads"


def calibrate(classifier: Classifier, image: NDArray[np.uint8]) -> RuntimeModel:
    """Measure the constants on this machine; a few seconds, longer for slow classifiers.

    Args:
        image: (H, W, 3) uint8, any image of the study's geometry.
    """
    from lime.lime_image import LimeImageExplainer

    height, width = image.shape[:2]
    pixels = height * width
    segmentation = {
        name: _seconds(partial(probe, image), repeats=3) / probe.work(pixels)
        for name, probe in _PROBES.items()
    }
    predict = _calibrate_predict(classifier, image)
    explainer = LimeImageExplainer(random_state=0)
    answer = np.full((1, 2), 0.5, dtype=np.float32)

    def perturb(grid: int, samples: int = 24) -> float:
        """Seconds a sample, with a square grid of superpixels."""
        rows = np.arange(height)[:, None] * grid // height
        columns = np.arange(width)[None, :] * grid // width
        segments = (rows * grid + columns).astype(np.int64)
        return (
            _seconds(
                lambda: explainer.data_labels(
                    image, image, segments, lambda batch: answer.repeat(len(batch), 0), samples
                ),
                repeats=3,
            )
            / samples
        )

    with _no_bar():
        few, many = perturb(3), perturb(9)
    per_superpixel = max((many - few) / ((81 - 9) / 2), 1e-7)
    per_sample = max(few - per_superpixel * 9 / 2, 1e-6)
    return RuntimeModel(
        device=device_name(classifier),
        segmentation=segmentation,
        perturb=(per_sample, per_superpixel),
        predict=predict,
        fit=_calibrate_fit(),
    )


@contextmanager
def _no_bar() -> Iterator[None]:
    """lime draws a progress bar for every call and takes no argument against it."""
    from lime import lime_image

    drawn = lime_image.tqdm
    lime_image.tqdm = iter
    try:
        yield
    finally:
        lime_image.tqdm = drawn


def _calibrate_predict(classifier: Classifier, image: NDArray[np.uint8]) -> dict[int, float]:
    """Seconds a sample at each batch size.

    The sizes take turns until the time is over, at least once, so that a slow moment of the
    machine is nobody's fate. In its turn a size is asked several times in a row, as lime does, and
    once before that, because memory of another size has just been in use.
    """
    turns: dict[int, list[float]] = {batch: [] for batch in _BATCHES}
    begin = time.perf_counter()
    for number in range(_ROUNDS):
        if number and time.perf_counter() - begin > _PREDICT_SECONDS * number / (number + 1):
            break  # another round would end too late
        for batch in _BATCHES:
            images = np.repeat(image[None], batch, axis=0)
            classifier.predict_proba(images)
            calls = max(1, 10 // batch)
            start = time.perf_counter()
            for _ in range(calls):
                classifier.predict_proba(images)
            turns[batch].append((time.perf_counter() - start) / calls)
    return {batch: float(np.median(times)) / batch for batch, times in turns.items()}


def _calibrate_fit() -> tuple[float, float]:
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(0)

    def one(samples: int, features: int) -> float:
        x = rng.integers(0, 2, (samples, features))
        y, weights = rng.random(samples), rng.random(samples)

        def fit() -> None:
            model = Ridge(alpha=1.0).fit(x, y, sample_weight=weights)
            model.score(x, y, sample_weight=weights)

        return _seconds(fit, repeats=5)

    small, large = one(32, 2), one(1000, 40)
    slope = max((large - small) / (1000 * 40 - 32 * 2), 0.0)
    return max(small - slope * 64, 1e-5), slope


def _seconds(work: Callable[[], object], repeats: int) -> float:
    """Median wall time of some calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times))
