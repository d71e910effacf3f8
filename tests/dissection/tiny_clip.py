"""A CLIP model small enough for a test; its weights are random, so it knows nothing."""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["write_tiny_clip"]

_CONFIG = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {
        "context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1,
    },
}  # fmt: skip


def write_tiny_clip(path: Path) -> Path:
    """open_clip's configuration of it."""
    path.write_text(json.dumps(_CONFIG))
    return path
