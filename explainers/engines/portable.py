"""A classifier as one graph from bytes to probabilities, for engines that compile graphs."""

from __future__ import annotations

import torch

from explainers.classifier import Classifier
from explainers.convention import LUMINANCE
from explainers.model_outputs import as_probabilities, class_scores

__all__ = ["PortableModule", "example_input"]


class PortableModule(torch.nn.Module):
    """(N, 3, H, W) uint8 → (N, C) probabilities: scaling and softmax are part of the graph.

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


def example_input(height: int, width: int) -> torch.Tensor:
    """Two black images; a batch of one would be taken for a fixed size by some exporters."""
    return torch.zeros((2, 3, height, width), dtype=torch.uint8)
