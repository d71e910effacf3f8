"""ONNX Runtime on the CPU."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from explainers.classifiers import LUMINANCE, Classifier, as_probabilities, class_scores
from explainers.telemetry import switch_off_telemetry


class PortableModule(torch.nn.Module):
    """(N, 3, H, W) uint8 → (N, C) probabilities: the graph includes scaling and softmax.

    ``(x / 255 − mean) / std`` is folded into one multiplication and one addition, which an
    inference engine folds into the first layer where it can.

    Args:
        size: (height, width) of the images.
    """

    scale: torch.Tensor
    shift: torch.Tensor
    shares: torch.Tensor

    def __init__(self, classifier: Classifier, size: tuple[int, int]) -> None:
        super().__init__()
        self.module = classifier.module
        convention = classifier.convention(*size)
        self.output, self.input_dtype = convention.output, classifier.input_dtype
        self.grey = convention.grey
        mean, std = (
            torch.tensor(v, dtype=torch.float64) for v in (convention.mean, convention.std)
        )
        self.register_buffer("scale", (1 / (255 * std)).float().view(1, -1, 1, 1))
        self.register_buffer("shift", (-mean / std).float().view(1, -1, 1, 1))
        self.register_buffer("shares", torch.tensor(LUMINANCE).view(1, 3, 1, 1))
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) uint8 → (N, C) float32."""
        pixels = images.to(torch.float32)
        if self.grey:
            pixels = (pixels * self.shares).sum(dim=1, keepdim=True)
        output = self.module((pixels * self.scale + self.shift).to(self.input_dtype))
        return as_probabilities(class_scores(output, len(images)), self.output)


class OnnxEngine:
    """A classifier exported to ONNX.

    Every thread computes its own share of the images: for small batches that is faster than threads
    that share every layer.

    Args:
        size: (height, width) of the images it will predict.
        model: the exported graph, from :meth:`convert`.
    """

    name = "onnxruntime"
    suffix = ".onnx"
    requires = ("onnxruntime", "onnx")

    def __init__(self, classifier: Classifier, size: tuple[int, int], model: bytes) -> None:
        switch_off_telemetry()
        import onnxruntime

        self._classifier = classifier
        self.size = size
        self._threads = torch.get_num_threads()
        self.batch_size = 2 * self._threads
        self._pool = ThreadPoolExecutor(self._threads)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4  # errors are raised as well
        self._session: Any = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )

    @classmethod
    def convert(cls, classifier: Classifier, size: tuple[int, int]) -> bytes:
        """The classifier as an ONNX graph with a free batch size."""
        buffer = io.BytesIO()
        # The exporter would take a batch of one for a fixed size.
        example = torch.zeros((2, 3, *size), dtype=torch.uint8)
        with _silent_stdout(), warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # tracing, and the exporter's own deprecation
            torch.onnx.export(
                PortableModule(classifier, size),
                (example,),
                buffer,  # type: ignore[arg-type]  # the annotation forgets file objects
                input_names=["images"],
                output_names=["probabilities"],
                dynamic_axes={"images": {0: "batch"}, "probabilities": {0: "batch"}},
                dynamo=False,
            )
        return buffer.getvalue()

    @property
    def fingerprint(self) -> str:
        """The classifier's fingerprint with the engine's name."""
        return f"{self._classifier.fingerprint}/{self.name}"

    def predict_proba(self, images: NDArray[np.uint8], /) -> NDArray[np.float32]:
        """(N, H, W, 3) uint8 → (N, C) float32 probabilities."""
        planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        parts = np.array_split(planes, max(1, min(self._threads, len(planes))))
        if len(parts) == 1:
            return self._run(planes)
        return np.concatenate(list(self._pool.map(self._run, parts)))

    def _run(self, planes: NDArray[np.uint8]) -> NDArray[np.float32]:
        answer: NDArray[np.float32] = self._session.run(None, {"images": planes})[0]
        return self._classifier.checked(answer)


@contextmanager
def _silent_stdout() -> Iterator[None]:
    """Silence stdout below Python: torch prints the graph where an operator has no export."""
    sys.stdout.flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
