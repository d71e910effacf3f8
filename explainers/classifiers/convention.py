"""How a network is asked and what its answers are: scaling, channels, kind of output."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from explainers.classifiers.outputs import OutputKind

__all__ = ["LUMINANCE", "Convention"]

LUMINANCE = (0.299, 0.587, 0.114)
"""Red, green and blue in the grey image of a network that takes one channel (ITU-R BT.601)."""


@dataclass(frozen=True)
class Convention:
    """How a module is asked and what its answers are.

    Attributes:
        output: what its numbers are.
        mean, std: one number for each input channel, three or one.
    """

    output: OutputKind
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def grey(self) -> bool:
        """Whether the module takes one channel."""
        return len(self.mean) == 1

    def as_grey(self) -> Convention:
        """The same for one channel."""
        mean, std = (sum(each) / len(each) for each in (self.mean, self.std))
        return Convention(self.output, (mean,), (std,))

    def scaled(self, planes: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """(N, 3, H, W) uint8 → (N, c, H, W) of that type."""
        device = planes.device
        scaled = planes.contiguous().to(torch.float32).div_(255.0)
        if self.grey:
            shares = torch.tensor(LUMINANCE, device=device).view(1, 3, 1, 1)
            scaled = (scaled * shares).sum(dim=1, keepdim=True)
        mean = torch.tensor(self.mean, device=device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, device=device).view(1, -1, 1, 1)
        return scaled.sub_(mean).div_(std).to(dtype)
