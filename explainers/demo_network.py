"""The classifier of the demo catalogue: small enough to ship, trained on drawn scenes.

Trained by ``python -m studies.catalog.demo.train``.
"""

from __future__ import annotations

import io
from importlib import resources

import torch
from torch import nn

from explainers.errors import MissingAsset

__all__ = ["DEMO_CLASS_NAMES", "DemoNetwork", "load_demo_network"]

DEMO_CLASS_NAMES = (
    "fish", "bird", "butterfly", "snail", "cat", "house", "boat", "mug", "key", "umbrella",
)  # fmt: skip
_WIDTHS = (16, 24, 40, 56, 72)
_WEIGHTS = "data/demo_network.pt"


class DemoNetwork(nn.Module):
    """Five convolutional stages, global average pooling, one linear layer.

    Maps (N, 3, 128, 128) float32, pixels scaled to [-1, 1], to (N, 10) logits. ``features`` ends
    in a map of 8 × 8, which is what class activation maps are taken from.
    """

    def __init__(self) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        before = 3
        for index, width in enumerate(_WIDTHS):
            stages.append(_stage(before, width, pool=index < 4))
            before = width
        self.features = nn.Sequential(*stages)
        self.fc = nn.Linear(before, len(DEMO_CLASS_NAMES))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, 128, 128) → (N, 10) logits."""
        logits: torch.Tensor = self.fc(self.features(images).mean(dim=(2, 3)))
        return logits


def _stage(before: int, width: int, *, pool: bool) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(before, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    ]
    if pool:
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def load_demo_network() -> DemoNetwork:
    """The trained network, in eval mode.

    Raises:
        MissingAsset: the weights are not in the installed package.
    """
    try:
        blob = resources.files("explainers").joinpath(_WEIGHTS).read_bytes()
    except OSError as error:
        raise MissingAsset(
            f"the demo network's weights ({_WEIGHTS}) are missing: install the package again, or "
            "train them with python -m studies.catalog.demo.train"
        ) from error
    network = DemoNetwork()
    network.load_state_dict(torch.load(io.BytesIO(blob), weights_only=True))
    return network.eval()
