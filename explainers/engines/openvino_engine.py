"""OpenVINO on the CPU."""

from __future__ import annotations

import importlib
import logging
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from explainers.classifier import Classifier
from explainers.engines.portable import PortableModule, example_input

__all__ = ["OpenVinoEngine"]


class OpenVinoEngine:
    """A classifier converted to OpenVINO.

    Args:
        size: (height, width) of the images it will be asked about.
        model: what :meth:`convert` made: the structure, a zero byte, the weights.
    """

    name = "openvino"
    suffix = ".ov"
    requires = ("openvino",)

    def __init__(self, classifier: Classifier, size: tuple[int, int], model: bytes) -> None:
        openvino = _import_openvino()
        self._classifier = classifier
        self.size = size
        self.batch_size = 4
        structure, _, weights = model.partition(b"\0")
        core = openvino.Core()
        read = core.read_model(structure, openvino.Tensor(np.frombuffer(weights, np.uint8)))
        compiled = core.compile_model(
            read,
            "CPU",
            {
                "PERFORMANCE_HINT": "LATENCY",
                # Without it, processors that have bfloat16 use it, and answers change.
                "INFERENCE_PRECISION_HINT": "f32",
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            },
        )
        self._request: Any = compiled.create_infer_request()

    @classmethod
    def convert(cls, classifier: Classifier, size: tuple[int, int]) -> bytes:
        """The classifier as an OpenVINO graph with a free batch size, weights in float32."""
        openvino = _import_openvino()
        with _quiet_tracing(), torch.inference_mode():
            model = openvino.convert_model(
                PortableModule(classifier, size),
                example_input=example_input(*size),
                input=[([-1, 3, *size], openvino.Type.u8)],
            )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.xml"
            openvino.save_model(model, path, compress_to_fp16=False)
            return path.read_bytes() + b"\0" + path.with_suffix(".bin").read_bytes()

    @property
    def fingerprint(self) -> str:
        """The classifier's, and the engine's name."""
        return f"{self._classifier.fingerprint}/{self.name}"

    def predict_proba(self, images: NDArray[np.uint8], /) -> NDArray[np.float32]:
        """(N, H, W, 3) uint8 → (N, C) float32 probabilities."""
        planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        self._request.infer({0: planes}, share_inputs=True)
        # The request's own memory is overwritten by the next call.
        answer: NDArray[np.float32] = self._request.get_output_tensor(0).data.copy()
        return self._classifier.checked(answer)


def _import_openvino() -> Any:
    """OpenVINO without its telemetry, which sends a message for every import and conversion.

    Where the package for that is missing OpenVINO uses a stand-in, and keeps it.
    """
    name = "openvino_telemetry"
    if "openvino" in sys.modules or name in sys.modules:
        return importlib.import_module("openvino")
    sys.modules[name] = None  # type: ignore[assignment]  # importing it fails
    try:
        return importlib.import_module("openvino")
    finally:
        del sys.modules[name]


@contextmanager
def _quiet_tracing() -> Iterator[None]:
    """Without torch's warnings, and with the root logger as it was.

    A conversion silences that logger, and one that fails leaves it so.
    """
    root = logging.getLogger()
    level, filters, handlers = root.level, list(root.filters), list(root.handlers)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
        root.filters, root.handlers = filters, handlers
