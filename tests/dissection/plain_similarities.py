"""The five similarities as their formulas read: whole tables, one unit after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

__all__ = ["PLAIN", "plain_soft_wpmi"]


def _table(images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
    """(N, C) cosines."""
    return torch.nn.functional.normalize(images) @ torch.nn.functional.normalize(texts).T


def _mutual_information(evidence: torch.Tensor, lam: float) -> torch.Tensor:
    mean = torch.logsumexp(evidence, dim=0) - torch.log(torch.tensor(float(len(evidence))))
    return evidence - lam * mean


def plain_soft_wpmi(
    images: torch.Tensor, texts: torch.Tensor, activations: torch.Tensor, top_k: int = 100
) -> torch.Tensor:
    """CLIP-Dissect, equations 2 to 4, with the reference's settings."""
    answers = torch.softmax(10 * _table(images, texts), dim=1)
    top = activations.topk(top_k, dim=0).indices
    p = (0.998 - (0.998 - 0.97) * torch.arange(top_k, dtype=images.dtype) / top_k)[:, None]
    evidence = [
        torch.log(1 + p * (answers[top[:, unit]] - 1) + 1e-7).sum(dim=0)
        for unit in range(activations.shape[1])
    ]
    return _mutual_information(torch.stack(evidence), 1.0)


def _wpmi(images: torch.Tensor, texts: torch.Tensor, activations: torch.Tensor) -> torch.Tensor:
    answers = torch.softmax(2 * _table(images, texts), dim=1)
    top = activations.topk(28, dim=0).indices
    evidence = [torch.log(answers[top[:, u]] + 1e-7).sum(0) for u in range(activations.shape[1])]
    return _mutual_information(torch.stack(evidence), 0.6)


def _cosine(images: torch.Tensor, texts: torch.Tensor, activations: torch.Tensor) -> torch.Tensor:
    table = _table(images, texts)
    return (activations / activations.norm(dim=0)).T @ (table / table.norm(dim=0))


def _cubed(images: torch.Tensor, texts: torch.Tensor, activations: torch.Tensor) -> torch.Tensor:
    table = _table(images, texts)
    table = (table - table.mean(0)) ** 3
    units = (activations - activations.mean(0)) ** 3
    table = table / table.norm(dim=0).clamp_min(1e-3)
    return (units / units.norm(dim=0).clamp_min(1e-3)).T @ table


def _reordered(
    images: torch.Tensor, texts: torch.Tensor, activations: torch.Tensor
) -> torch.Tensor:
    table = _table(images, texts)
    strongest, top = activations.topk(int(0.05 * len(activations)), dim=0)
    rows = []
    for unit in range(activations.shape[1]):
        target, chosen = strongest[:, unit], table[top[:, unit]]
        lowest_first = target.flip(0)
        ranks = chosen.argsort(dim=0).argsort(dim=0)
        error = (target[:, None] - lowest_first[ranks]).abs().pow(3).mean(dim=0)
        baseline = (target[:, None] - target[None, :]).abs().pow(3).mean()
        rows.append(-(error / baseline) / chosen.mean(dim=0).sqrt())
    return torch.stack(rows)


PLAIN: Mapping[str, Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "soft_wpmi": plain_soft_wpmi,
    "wpmi": _wpmi,
    "rank_reorder": _reordered,
    "cos_similarity": _cosine,
    "cos_similarity_cubed": _cubed,
}
