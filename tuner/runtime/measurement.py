"""Measures the constants of the runtime model on this machine.

The model predicts the seconds of stock lime on a quiet machine. While other processes run, the wall
clock also counts their time. Superpixels, perturbing and fitting run in one thread, so they are
timed by that thread's processor time, which other processes do not affect. Classifiers use several
threads. The main thread's processor time counts its own share of the work, which takes as long as
each of the others', but also the time in which it spins while other threads wait for a core. So the
classifier is timed

- on a quiet machine by the wall clock, in this process, as for a user;
- otherwise by the main thread's processor time in a separate process, whose threads sleep instead
  of spinning (``OMP_WAIT_POLICY=PASSIVE``, which is read when OpenMP is loaded). This is an
  estimate, and the model's ``doubt`` says so. Beside one or two busy processes the median of five
  such measurements was 5 to 25 % below the median of five on a quiet machine, and those five
  differed by up to 28 % from their median (mobilenet_v2, two cores).

Each figure is the minimum of several calls, and the batch sizes take turns.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lime import lime_image
from lime.lime_image import LimeImageExplainer
from numpy.typing import NDArray
from sklearn.isotonic import isotonic_regression
from sklearn.linear_model import Ridge
from threadpoolctl import threadpool_limits

from explainers.classifiers import BlackBox, Classifier, load_classifier
from explainers.lime import Segmentation
from explainers.machine_load import LoadMeter
from tuner.runtime.model import DEFAULT_SEGMENTATION, RuntimeModel

__all__ = ["PROBES", "calibrate", "device_name", "no_bar", "ordered_by_batch"]

PROBES: Mapping[str, Segmentation] = {
    "quickshift": DEFAULT_SEGMENTATION,
    "slic": Segmentation.of("slic", n_segments=20, compactness=10),
    "felzenszwalb": Segmentation.of("felzenszwalb", scale=200, sigma=1.0, min_size=200),
}
"""The parameters that each segmentation algorithm is timed with."""


@dataclass(frozen=True)
class _Rounds:
    """How many rounds over all batch sizes to time: until ``seconds`` are over, within bounds."""

    fewest: int
    most: int
    seconds: float

    def another(self, done: int, spent: float) -> bool:
        """Whether to time one more round: not if it would probably end too late."""
        if done < self.fewest:
            return True
        return done < self.most and spent * (done + 1) / done <= self.seconds


_BATCHES = (1, 2, 5, 10, 16, 32)
_QUIET_ROUNDS, _BUSY_ROUNDS = _Rounds(2, 7, 6.0), _Rounds(5, 9, 15.0)
_LOOK_SECONDS = 0.3
_SLEEPING_THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0", "TQDM_DISABLE": "1"}
# A batch cannot take less time than a smaller one. Good measurements contradict this by noise of up
# to this share.
_DISORDER = 0.15

_Clock = Callable[[], float]


def device_name(classifier: Classifier) -> str:
    """The GPU's name, or the processor's architecture and torch's number of threads."""
    if classifier.device.type == "cuda":
        return str(torch.cuda.get_device_name(classifier.device))
    return f"{platform.machine()} {classifier.device.type}, {torch.get_num_threads()} threads"


def calibrate(classifier: Classifier, image: NDArray[np.uint8]) -> RuntimeModel:
    """Measure the constants on this machine; takes a few seconds, longer for slow classifiers.

    Args:
        image: (H, W, 3) uint8, any image of the study's geometry.

    Returns:
        The model; its ``doubt`` says why its seconds should not be trusted, if so.
    """
    load = LoadMeter()
    time.sleep(_LOOK_SECONDS)
    predict = None
    if load.was_quiet():
        load = LoadMeter()
        predict = _by_the_clock(classifier, image)
    doubt = None
    if predict is None or not load.was_quiet():
        share = load.others_share() or 0.0
        doubt = f"other processes used {share:.0%} of the machine while they were measured"
        by_processor_time = _elsewhere(classifier, image)
        if by_processor_time is not None:
            predict = by_processor_time
            doubt += ", so the classifier's share is estimated from processor time"
        else:
            predict = predict or _by_the_clock(classifier, image)
    ordered, disorder = ordered_by_batch(predict)
    if disorder > _DISORDER:
        doubt = doubt or f"batches of different sizes contradict each other by {disorder:.0%}"
    return RuntimeModel(
        device=device_name(classifier),
        segmentation={
            name: _seconds(partial(probe, image), repeats=3) / probe.work(image[..., 0].size)
            for name, probe in PROBES.items()
        },
        perturb=_perturb_seconds(image),
        predict=ordered,
        fit=_fit_seconds(),
        doubt=doubt,
    )


def _by_the_clock(classifier: Classifier, image: NDArray[np.uint8]) -> dict[int, float]:
    return _predict_seconds(classifier, image, time.perf_counter, _QUIET_ROUNDS)


def _elsewhere(classifier: Classifier, image: NDArray[np.uint8]) -> dict[int, float] | None:
    """Seconds a sample by batch size, as processor time in a process whose threads do not spin.

    Returns:
        ``None`` where processor time does not measure the classifier (on an accelerator, or over a
        network), or where another process cannot load it.
    """
    on_cpu = classifier.device.type == "cpu" and not isinstance(classifier, BlackBox)
    if classifier.spec is None or not on_cpu:
        return None
    with tempfile.TemporaryDirectory(prefix="lime-tuner-runtime-") as name:
        folder = Path(name)
        np.save(folder / "image.npy", image)
        request = {"classifier": classifier.spec, "threads": torch.get_num_threads()}
        (folder / "request.json").write_text(json.dumps(request))
        here = str(Path(__file__).resolve().parent.parent)
        path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")]))
        done = subprocess.run(
            [sys.executable, "-m", "tuner.runtime.measurement", name],
            env={**os.environ, **_SLEEPING_THREADS, "PYTHONPATH": path},
            capture_output=True,
            check=False,
        )
        answer = folder / "answer.json"
        if done.returncode != 0 or not answer.is_file():
            return None
        return {int(size): float(each) for size, each in json.loads(answer.read_text()).items()}


def _run(folder: Path) -> None:
    """Measure in the separate process, whose threads sleep instead of spinning."""
    request = json.loads((folder / "request.json").read_text())
    torch.set_num_threads(request["threads"])
    classifier = load_classifier(**request["classifier"])
    image = np.load(folder / "image.npy", allow_pickle=False)
    seconds = _predict_seconds(classifier, image, time.thread_time, _BUSY_ROUNDS)
    (folder / "answer.json").write_text(json.dumps(seconds))


def _predict_seconds(
    classifier: Classifier, image: NDArray[np.uint8], clock: _Clock, rounds: _Rounds
) -> dict[int, float]:
    """Seconds a sample at each batch size: the quickest of several calls.

    The sizes take turns until the time is over, so that a temporary slowdown does not bias one of
    them. In its turn a size is called several times in a row, as by lime, after one warm-up call,
    because the turn before has left memory of another size.
    """
    calls: dict[int, list[float]] = {batch: [] for batch in _BATCHES}
    begin = time.perf_counter()
    done = 0
    while rounds.another(done, time.perf_counter() - begin):
        done += 1
        for batch in _BATCHES:
            images = np.repeat(image[None], batch, axis=0)
            classifier.predict_proba(images)
            for _ in range(max(1, 10 // batch)):
                start = clock()
                classifier.predict_proba(images)
                calls[batch].append(clock() - start)
    return {batch: min(times) / batch for batch, times in calls.items()}


def ordered_by_batch(predict: Mapping[int, float]) -> tuple[dict[int, float], float]:
    """Correct seconds a sample so that no batch takes less time in all than a smaller one.

    Returns:
        The nearest such figures (isotonic regression on the logarithms of seconds a batch), and
        the largest correction as a share.
    """
    sizes = sorted(predict)
    totals = np.log([max(predict[size] * size, 1e-9) for size in sizes])
    ordered = np.asarray(isotonic_regression(totals), dtype=np.float64)
    moved = float(np.expm1(np.abs(ordered - totals)).max())
    return {s: float(np.exp(t)) / s for s, t in zip(sizes, ordered, strict=True)}, moved


def _perturb_seconds(image: NDArray[np.uint8]) -> tuple[float, float]:
    """Seconds of stock lime's loop without the classifier: (a sample, a sample and superpixel)."""
    height, width = image.shape[:2]
    explainer = LimeImageExplainer(random_state=0)
    answer = np.full((1, 2), 0.5, dtype=np.float32)

    def perturb(grid: int, samples: int = 24) -> float:
        """Seconds a sample, with a square grid of superpixels."""
        rows = np.arange(height)[:, None] * grid // height
        columns = np.arange(width)[None, :] * grid // width
        segments = (rows * grid + columns).astype(np.int64)

        def work() -> None:
            explainer.data_labels(
                image, image, segments, lambda batch: answer.repeat(len(batch), 0), samples
            )

        return _seconds(work, repeats=3) / samples

    with no_bar():
        few, many = perturb(3), perturb(9)
    per_superpixel = max((many - few) / ((81 - 9) / 2), 1e-7)
    return max(few - per_superpixel * 9 / 2, 1e-6), per_superpixel


@contextmanager
def no_bar() -> Iterator[None]:
    """Switch off lime's progress bar, for which it has no argument."""
    drawn = lime_image.tqdm
    lime_image.tqdm = iter
    try:
        yield
    finally:
        lime_image.tqdm = drawn


def _fit_seconds() -> tuple[float, float]:
    """Seconds of a weighted Ridge fit and its score: (constant, a sample and feature)."""
    rng = np.random.default_rng(0)

    def one(samples: int, features: int) -> float:
        x = rng.integers(0, 2, (samples, features))
        y, weights = rng.random(samples), rng.random(samples)

        def fit() -> None:
            model = Ridge(alpha=1.0).fit(x, y, sample_weight=weights)
            model.score(x, y, sample_weight=weights)

        return _seconds(fit, repeats=5)

    with threadpool_limits(1, "blas"):  # several threads would spin while they wait for a core
        small, large = one(32, 2), one(1000, 40)
    slope = max((large - small) / (1000 * 40 - 32 * 2), 0.0)
    return max(small - slope * 64, 1e-5), slope


def _seconds(work: Callable[[], object], repeats: int) -> float:
    """The least processor time of several calls of single-threaded work."""
    times = []
    for _ in range(repeats):
        start = time.thread_time()
        work()
        times.append(time.thread_time() - start)
    return min(times)


if __name__ == "__main__":
    _run(Path(sys.argv[1]))
