"""What the benchmarks share: inputs, a task, raw and vanilla throughput, and how they report.

Each benchmark is a command, ``python -m tests.benchmarks.NAME``, that prints one line of JSON on
stdout; progress goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from explainers.classifiers import Classifier, import_torchvision, load_classifier
from explainers.engines import Engine, make_engine
from explainers.errors import LimeTunerError, MissingAsset
from explainers.lime import LimeParameters, PredictionCache
from explainers.machine_load import LoadMeter
from explainers.references import parse_reference
from studies.catalog import load_catalog
from studies.catalog.assets import StudyImage, cache_folder, load_study_image
from studies.results.score import score
from tuner.problem import TuningTask
from tuner.runtime.calibration import runtime_model_for
from tuner.runtime.model import RuntimeModel

__all__ = [
    "CATALOG", "REFERENCE", "add_common_options", "benchmark_classifier", "child_environment",
    "fresh_score", "photographs", "positive", "raw_throughput", "run_benchmark", "say",
    "seconds_of", "tuning_task", "vanilla_classifier_fn", "vanilla_rate", "weights_file",
]  # fmt: skip

CATALOG = "tml25"
REFERENCE = "gradcam@0.3"
_ROOT = Path(__file__).resolve().parents[2]
_MOBILENET = "mobilenet_v2"
# Explanations with many samples vary less, and their answers are the dearest of all.
_FRESH_SEEDS, _FRESH_SEEDS_OF_MANY, _MANY = range(10_000, 10_030), range(10_000, 10_010), 150


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """``--assets``, ``--model`` and ``--device``."""
    named = os.environ.get("LIME_TUNER_ASSETS")
    beside = _ROOT.parent / "shared" / "data"
    parser.add_argument(
        "--assets",
        type=Path,
        default=Path(named) if named else (beside if beside.is_dir() else None),
        help="folder with images/tml25 and models; default: LIME_TUNER_ASSETS, ../shared/data",
    )
    parser.add_argument(
        "--model",
        default=_MOBILENET,
        help=f"{_MOBILENET} (ImageNet weights, default) or another of torchvision's classifiers, "
        "untrained",
    )
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, mps or auto")


def positive(text: str) -> int:
    """For ``type=`` of an option that is a number of something."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return number


def run_benchmark(
    parser: argparse.ArgumentParser,
    body: Callable[[argparse.Namespace, Path], dict[str, Any]],
    *,
    real_inputs: bool = True,
) -> None:
    """Parse, measure, print one line of JSON; what goes wrong is one line on stderr.

    Args:
        body: (options, temporary folder) → the document. ``options.assets`` exists.
        real_inputs: False for one that makes up its inputs: it has none of the common options.
    """
    if real_inputs:
        add_common_options(parser)
    options = parser.parse_args()
    load = LoadMeter()
    try:
        if real_inputs:
            _check_assets(options.assets)
            options.assets = options.assets.resolve()
        with tempfile.TemporaryDirectory(prefix="lime-tuner-benchmark-") as folder:
            document = body(options, Path(folder))
    except LimeTunerError as error:
        say(f"{parser.prog}: {error}")
        sys.exit(error.exit_status)
    share = load.others_share()
    machine = {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "others_share": None if share is None else round(share, 3),
    }
    model = {"model": options.model} if real_inputs else {}
    document = {"benchmark": parser.prog.rsplit(".", 1)[-1], **model, **document}
    print(json.dumps({**document, "machine": machine}, allow_nan=False))


def _check_assets(folder: Path | None) -> None:
    if folder is None or not (folder / "images" / CATALOG).is_dir():
        given = "no folder given" if folder is None else f"{folder} has none"
        raise MissingAsset(
            f"the photographs are not there, images/{CATALOG} ({given}): "
            "give --assets DIR or set LIME_TUNER_ASSETS"
        )


def say(text: str) -> None:
    """Progress, or an error."""
    print(text, file=sys.stderr, flush=True)


def seconds_of(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def child_environment(**additions: str) -> dict[str, str]:
    """For processes that import the project from wherever they run, and draw no bars."""
    inherited = os.environ.get("PYTHONPATH", "")
    path = os.pathsep.join(filter(None, [str(_ROOT), inherited]))
    return {**os.environ, "PYTHONPATH": path, "TQDM_DISABLE": "1", **additions}


def weights_file(model: str, assets: Path, folder: Path) -> Path:
    """A state dict file: MobileNet's of the assets, or a fresh one in ``folder``.

    Weights of the others cannot be had offline, and speed does not depend on them. They are the
    same in every run, so that converted engines and runtime models are found again.
    """
    if model == _MOBILENET:
        return assets / "models" / f"{_MOBILENET}_imagenet.pth"
    path = folder / f"{model}_untrained.pth"
    if not path.is_file():
        load = import_torchvision().models.get_model
        torch.manual_seed(0)
        try:
            torch.save(load(model, weights=None).state_dict(), path)
        except ValueError as error:
            raise LimeTunerError(f"--model {model}: {error}") from error
    return path


def benchmark_classifier(options: argparse.Namespace, folder: Path) -> Classifier:
    """The classifier that the options name."""
    weights = weights_file(options.model, options.assets, folder)
    return load_classifier(options.model, weights=str(weights), device=options.device)


def photographs(
    classifier: Classifier, assets: Path, keys: tuple[str, ...] | None = None
) -> list[StudyImage]:
    """The ten photographs, or those of some keys."""
    catalog = load_catalog(CATALOG).only(keys)
    return [load_study_image(catalog, e, classifier.geometry, assets) for e in catalog.images]


def tuning_task(
    image: StudyImage,
    classifier: Classifier,
    *,
    cache: Path | None = None,
    engine: str = "auto",
    runtime_model: RuntimeModel | None = None,
) -> TuningTask:
    """The image's task, with a cache of its own.

    Args:
        cache: its folder; ``None`` keeps it in memory.
        engine: its converted network is looked for in the cache, as ``tune`` does.
        runtime_model: the cache's when ``None``.
    """
    return TuningTask(
        image=image.pixels,
        source=make_engine(
            classifier, engine, image=image.pixels, cache=cache_folder() / "engines"
        ),
        reference=parse_reference(REFERENCE).of(classifier, image.pixels, image.key),
        cache=PredictionCache(cache),
        runtime_model=runtime_model or runtime_model_for(classifier, image.pixels),
        threads=torch.get_num_threads(),
    )


def fresh_score(task: TuningTask, parameters: LimeParameters, weight: float) -> float:
    """The score on explainer seeds that no study uses.

    Args:
        weight: of the runtime, as the study's.
    """
    seeds = _FRESH_SEEDS if parameters.num_samples < _MANY else _FRESH_SEEDS_OF_MANY
    iou = float(np.mean(task.ious(parameters, seeds)))
    return score(iou, task.runtime_ratio(parameters), weight)


def raw_throughput(engine: Engine, images: NDArray[np.uint8], *, repeats: int = 5) -> float:
    """Images a second of an engine that has nothing to do but answer; the best of some repeats.

    Args:
        images: (N, H, W, 3) uint8, as ``Perturbation.images`` builds them.
    """
    batch = engine.batch_size
    engine.predict_proba(images[:batch])  # warm up

    def ask() -> None:
        for start in range(0, len(images), batch):
            engine.predict_proba(images[start : start + batch])

    return len(images) / min(seconds_of(ask) for _ in range(repeats))


def vanilla_classifier_fn(
    classifier: Classifier,
) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """What a user of stock lime writes, after lime's own PyTorch tutorial."""
    transforms = import_torchvision().transforms
    preprocess = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize(classifier.mean, classifier.std)]
    )

    def predict(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        batch = torch.stack(tuple(preprocess(image) for image in images), dim=0)
        with torch.no_grad():
            output = classifier.module(batch.to(classifier.device))
        if not classifier.outputs_probabilities:
            output = torch.softmax(output, dim=1)
        answer: NDArray[np.float32] = output.detach().cpu().numpy()
        return answer

    return predict


def vanilla_rate(
    predict: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    image: NDArray[np.uint8],
    hidden: NDArray[np.uint8],
    segments: NDArray[np.int64],
    samples: int,
) -> float:
    """Perturbed images a second of stock lime's own loop, at its default batch size.

    Args:
        hidden: (H, W, 3) uint8, what shows where a superpixel is off.
    """
    from unittest import mock

    from lime import lime_image

    explainer = lime_image.LimeImageExplainer(random_state=0)
    with mock.patch.object(lime_image, "tqdm", iter):  # its bar is not what is measured
        return samples / seconds_of(
            lambda: explainer.data_labels(image, hidden, segments, predict, samples, batch_size=10)
        )
