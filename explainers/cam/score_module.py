"""A classifier's module as class activation maps want it: images in, a score for each class out."""

from __future__ import annotations

import torch

from explainers.classifiers import Classifier

__all__ = ["ScoreModule", "in_single_precision"]


class ScoreModule(torch.nn.Module):
    """(N, c, H, W) normalised → (N, C) scores whose gradients are those of the logits.

    Args:
        classifier: says what the module's outputs are.
        module: a private copy of the classifier's; half precision becomes single.
    """

    def __init__(self, classifier: Classifier, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = in_single_precision(module, classifier)
        self._classifier = classifier

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """What the module itself raises passes.

        Raises:
            InvalidInput: the module returned no scores.
        """
        dtype = self._classifier.input_dtype
        wanted = torch.float32 if dtype.itemsize < torch.float32.itemsize else dtype
        inputs = inputs.to(wanted)
        return self._classifier.map_scores(self.module(inputs), inputs)


def in_single_precision(module: torch.nn.Module, classifier: Classifier) -> torch.nn.Module:
    """The module itself, with half precision made single: maps are sums over many cells."""
    return module.float() if classifier.input_dtype.itemsize < 4 else module
