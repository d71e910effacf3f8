"""A classifier as one graph from bytes to probabilities, for engines that compile graphs."""

from __future__ import annotations

import torch

from explainers.classifier import Classifier

__all__ = ["PortableModule", "example_input"]


class PortableModule(torch.nn.Module):
    """(N, 3, H, W) uint8 → (N, C) probabilities: scaling and softmax are part of the graph.

    ``(x / 255 − mean) / std`` is folded into one multiplication and one addition, which an
    inference engine folds into the first layer where it can.
    """

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.module = classifier.module
        self.outputs_probabilities = classifier.outputs_probabilities
        mean, std = (
            torch.tensor(v, dtype=torch.float64) for v in (classifier.mean, classifier.std)
        )
        self.register_buffer("scale", (1 / (255 * std)).float().view(1, 3, 1, 1))
        self.register_buffer("shift", (-mean / std).float().view(1, 3, 1, 1))
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) uint8 → (N, C) float32."""
        output: torch.Tensor = self.module(images.to(torch.float32) * self.scale + self.shift)
        return output if self.outputs_probabilities else torch.softmax(output, dim=1)


def example_input(height: int, width: int) -> torch.Tensor:
    """Two black images; a batch of one would be taken for a fixed size by some exporters."""
    return torch.zeros((2, 3, height, width), dtype=torch.uint8)
