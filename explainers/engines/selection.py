"""Choosing an engine; converted networks are checked against PyTorch and kept on disk."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import logging
import os
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from explainers.classifiers import BlackBox, Classifier
from explainers.engines.interface import Engine, FunctionEngine, cpu_batches, fastest_batch
from explainers.engines.onnx_engine import OnnxEngine
from explainers.engines.torch_engine import ACCELERATOR_BATCHES, TorchEngine
from explainers.errors import InvalidInput
from explainers.lime import Perturbation
from explainers.machine_load import LoadMeter
from explainers.messages import warn_once

_logger = logging.getLogger(__name__)

ENGINES = ("auto", "torch", OnnxEngine.name)
"""Names for ``--engine``; ``auto`` is ONNX Runtime on a CPU where it is installed, else torch."""

_TOLERANCE = 1e-4
_SAME_ANSWER = 1e-6  # two predictions of one image differ by less through rounding
_SAME_IN_A_BATCH = 0.01  # alone or beside others; TF32 and half precision differ by less
_CHECKED_IMAGES = 8
_CHECK_GRID = 6  # superpixels a side


def make_engine(
    classifier: Classifier,
    name: str = "auto",
    *,
    image: NDArray[np.uint8],
    cache: Path | None = None,
) -> Engine:
    """Make the engine of a name for images of one size.

    A compiled engine is checked on perturbed images when it is made: where its probabilities
    differ from PyTorch's by more than 1e-4, or the network cannot be converted, a warning is
    logged and PyTorch is used. A kept engine is checked on the image only.

    The image is predicted twice alone and once beside another one: a warning is logged where the
    predictions are random (dropout that is never switched off) or depend on the batch (batch
    normalisation in train mode).

    Args:
        name: one of ``ENGINES``.
        image: (H, W, 3) uint8, prepared; the engine is made for its size and checked with it.
        cache: folder that keeps converted networks; ``None`` converts every time.

    Raises:
        InvalidInput: an unknown engine, or one that is not installed.
        LimeTunerError: the classifier fails on the image, or does not return probabilities.
    """
    if name == "openvino":
        raise InvalidInput(
            "engine 'openvino' is gone: onnxruntime does the same job, give --engine onnxruntime "
            "or auto"
        )
    if name not in ENGINES:
        raise InvalidInput(f"engine '{name}' is unknown: use one of {', '.join(ENGINES)}")
    if isinstance(classifier, BlackBox):
        if name not in ("auto", "torch"):
            raise InvalidInput(
                f"engine '{name}' cannot convert {classifier.name}, a black box: use --engine auto"
            )
        _ask_twice(classifier, image)
        return FunctionEngine(classifier)
    device = classifier.device
    installed = all(importlib.util.find_spec(module) for module in OnnxEngine.requires)
    if name == OnnxEngine.name and not installed:
        raise InvalidInput(
            f"engine '{name}' is not installed: pip install {' '.join(OnnxEngine.requires)}, "
            "or use --engine torch"
        )
    if name == OnnxEngine.name and device.type != "cpu":
        raise InvalidInput(
            f"engine '{name}' computes on the CPU, the classifier is on {device}: "
            "use --engine torch or --device cpu"
        )
    answer = _ask_twice(classifier, image)
    if name != "torch" and installed and device.type == "cpu":
        converted = _converted(classifier, image, answer, cache)
        if converted is not None:
            return converted
    engine = TorchEngine(classifier)
    if device.type != "cpu":
        engine.batch_size = fastest_batch(engine.predict_proba, image, ACCELERATOR_BATCHES)
    return engine


def _ask_twice(classifier: Classifier, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(1, C) probabilities of the image.

    Warns where they change from call to call or beside another image, and where there are too few
    or too many class names.
    """
    answer = classifier.predict_proba(image[None])
    names, classes = len(classifier.class_names), answer.shape[1]
    if names not in (0, classes):
        line = f"{classifier.name} has {names} class names for {classes} classes: some are wrong"
        warn_once(_logger, line)
    difference = float(np.abs(classifier.predict_proba(image[None]) - answer).max())
    if difference > _SAME_ANSWER:
        warn_once(
            _logger,
            f"{classifier.name} answers by chance: asked twice about one image, its probabilities "
            f"differ by {difference:.2g}; explanations and scores will not be the same again (put "
            "it into eval mode, switch dropout and noise off)",
            f"{classifier.name} answers by chance",
        )
        return answer
    # A darker image, of other statistics; not a blank one, on which standardisation fails.
    beside = classifier.predict_proba(np.stack([image, image // 2]))[0]
    difference = float(np.abs(beside - answer).max())
    if difference > _SAME_IN_A_BATCH:
        warn_once(
            _logger,
            f"{classifier.name} answers differently when it is asked about two images at once: its "
            f"probabilities of one differ by {difference:.2g}; explanations will depend on the "
            "batch (put batch normalisation into eval mode, with running statistics)",
            f"{classifier.name} answers by batch",
        )
    return answer


def _converted(
    classifier: Classifier,
    image: NDArray[np.uint8],
    answer: NDArray[np.float32],
    cache: Path | None,
) -> Engine | None:
    """A converted and checked engine; ``None`` after a warning where that fails.

    Args:
        answer: (1, C) the classifier's probabilities of the image.
    """
    size = (image.shape[0], image.shape[1])
    versions = [metadata.version(module) for module in ("torch", *OnnxEngine.requires)]
    key = hashlib.sha256(json.dumps([classifier.fingerprint, size, versions]).encode())
    stem = None if cache is None else cache / f"{OnnxEngine.name}-{key.hexdigest()[:24]}"
    if stem is not None:
        with contextlib.suppress(Exception):  # missing or damaged: convert again
            facts = json.loads(stem.with_suffix(".json").read_text())
            content = stem.with_suffix(OnnxEngine.suffix).read_bytes()
            # ONNX Runtime does not notice damaged weights.
            if facts["sha256"] == hashlib.sha256(content).hexdigest():
                kept = OnnxEngine(classifier, size, content)
                # Not everything that decides a prediction can be part of the file's name.
                if _difference(kept.predict_proba(image[None]), answer) <= _TOLERANCE:
                    _choose_batch(kept, image, facts, stem)
                    return kept
    images = _checking_images(image)
    expected = classifier.predict_proba(images)
    try:
        content = OnnxEngine.convert(classifier, size)
        engine = OnnxEngine(classifier, size, content)
        # In two batches, one of them of a single image: the batch size must be free.
        found = [engine.predict_proba(some) for some in (images[:1], images[1:])]
        difference = _difference(np.concatenate(found), expected)
    except Exception as error:  # noqa: BLE001  exporters raise anything; PyTorch goes on
        reason = str(error).strip().splitlines() or [type(error).__name__]
        _logger.warning(
            "%s cannot be converted for %s (%s); PyTorch is used",
            classifier.name, OnnxEngine.name, reason[0][:200],
        )  # fmt: skip
        return None
    if not difference <= _TOLERANCE:
        _logger.warning(
            "%s answers differently for %s: by %.2g in probability, %g is allowed; "
            "PyTorch is used", OnnxEngine.name, classifier.name, difference, _TOLERANCE,
        )  # fmt: skip
        return None
    facts = {
        "largest_difference": difference,
        "sha256": hashlib.sha256(content).hexdigest(),
        "batch_sizes": {},
    }
    if stem is not None:
        _keep(stem.with_suffix(OnnxEngine.suffix), content)
        _keep(stem.with_suffix(".json"), json.dumps(facts).encode())
    _choose_batch(engine, image, facts, stem)
    return engine


def _choose_batch(
    engine: OnnxEngine,
    image: NDArray[np.uint8],
    facts: dict[str, Any],
    stem: Path | None,
) -> None:
    """Set the fastest batch size for the number of threads; kept if the machine was quiet.

    Args:
        facts: of the engine; the content of ``stem``'s file.
    """
    threads = str(torch.get_num_threads())
    candidates = cpu_batches(torch.get_num_threads())
    known = facts["batch_sizes"].get(threads)
    if known is not None:
        engine.batch_size = int(known)
        return
    load = LoadMeter()
    engine.batch_size = fastest_batch(engine.predict_proba, image, candidates)
    if stem is not None and load.was_quiet():
        facts["batch_sizes"][threads] = engine.batch_size
        _keep(stem.with_suffix(".json"), json.dumps(facts).encode())


def _checking_images(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width, _ = image.shape
    grid = _CHECK_GRID
    labels = (np.arange(height) * grid // height)[:, None] * grid
    segments = (labels + (np.arange(width) * grid // width)[None, :]).astype(np.int64)
    rows = np.random.default_rng(0).integers(0, 2, (_CHECKED_IMAGES, grid * grid))
    rows[0] = 1
    return np.concatenate(
        [Perturbation(image, segments, hide_color).images(rows) for hide_color in (None, 0)]
    )


def _difference(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    if found.shape != expected.shape or not np.isfinite(found).all():
        return float("inf")
    return float(np.abs(found - expected).max())


def _keep(path: Path, content: bytes) -> None:
    """Write a file of the cache atomically; if that fails, the next process converts again."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        _logger.debug("%s was not kept: %s", path, error)
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
