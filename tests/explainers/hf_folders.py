"""Tiny image classifiers of transformers, saved with their processors as people save theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from explainers.classifiers.user_code import let_torchvision_import

SIDE = 64
LABELS = ("zebra", "ant, pismire", "mug", "key")  # in no order of the alphabet
_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
_VIT = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
    "image_size": SIDE, "patch_size": 8,
}  # fmt: skip
_SWIN = {
    "image_size": SIDE, "patch_size": 4, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2],
    "window_size": 4,
}  # fmt: skip
_CONVNEXT = {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "patch_size": 4}
_SHORTEST = {"shortest_edge": 75}

# By name: classes of the configuration and of the processor, with what differs from the defaults.
FAMILIES: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "resnet": ("ResNet", _RESNET, "ConvNext", {"size": {"shortest_edge": SIDE}}),
    "vit": ("ViT", _VIT, "ViT", {"size": {"height": SIDE, "width": SIDE}}),
    "swin": ("Swin", _SWIN, "ViT", {"size": {"height": SIDE, "width": SIDE}, "resample": 3}),
    "convnext": (
        "ConvNext", _CONVNEXT, "ConvNext", {"size": {"shortest_edge": SIDE}, "crop_pct": 0.9},
    ),
    "convnext large": ("ConvNext", _CONVNEXT, "ConvNext", {"size": {"shortest_edge": 384}}),
    "cropped": (
        "ViT", _VIT, "CLIP",
        {"size": _SHORTEST, "crop_size": SIDE, "image_mean": _MEAN, "image_std": _STD},
    ),
    "squashed": (
        "ViT", _VIT, "DeiT", {"size": {"height": 75, "width": 75}, "crop_size": SIDE},
    ),
    "twice": ("ViT", _VIT, "EfficientNet", {"size": {"height": SIDE, "width": SIDE}}),
    "blue first": ("ViT", _VIT, "MobileViT", {"size": _SHORTEST, "crop_size": SIDE}),
}  # fmt: skip


def save_hf(folder: Path, family: str, **changes: Any) -> Path:
    """``config.json``, ``model.safetensors`` and ``preprocessor_config.json`` in a new folder.

    Args:
        changes: attributes of the configuration.
    """
    let_torchvision_import()
    import transformers

    kind, sizes, processor, preparation = FAMILIES[family]
    torch.manual_seed(0)
    settings = {"id2label": dict(enumerate(LABELS)), **sizes, **changes}
    config = getattr(transformers, f"{kind}Config")(**settings)
    model = getattr(transformers, f"{kind}ForImageClassification")(config)
    model.save_pretrained(folder)
    getattr(transformers, f"{processor}ImageProcessorPil")(**preparation).save_pretrained(folder)
    return folder
