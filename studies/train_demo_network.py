"""Train the demo classifier on freshly drawn scenes.

    python -m studies.train_demo_network -o explainers/data/demo_network.pt

Some minutes on two cores. The catalogue's own scenes and the held-out ones are never drawn for
training: their seeds lie below :data:`FIRST_TRAINING_SEED`.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from explainers.demo_network import DEMO_CLASS_NAMES, DemoNetwork
from studies.demo_scenes import SCENE_SIZE, draw_scene

__all__ = ["FIRST_HELD_OUT_SEED", "FIRST_TRAINING_SEED", "accuracy", "draw_batch", "train"]

FIRST_HELD_OUT_SEED = 1_000
FIRST_TRAINING_SEED = 100_000
_logger = logging.getLogger(__name__)


def draw_batch(first_seed: int, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """(count, 128, 128, 3) uint8 scenes of cycling classes, and their (count,) class numbers."""
    labels = np.arange(count) % len(DEMO_CLASS_NAMES)
    images = np.stack(
        [draw_scene(DEMO_CLASS_NAMES[c], first_seed + i).image for i, c in enumerate(labels)]
    )
    return images, labels


def _as_input(images: NDArray[np.uint8]) -> torch.Tensor:
    batch = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().float()
    return batch / 127.5 - 1.0


def _hide_blocks(images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Hide random blocks of half of the images, about as LIME's perturbations do."""
    hidden = images.copy()
    for image in hidden[rng.uniform(size=len(hidden)) < 0.5]:
        cells = int(rng.integers(3, 9))
        off = rng.uniform(size=(cells, cells)) < rng.uniform(0.1, 0.5)
        size = -(-SCENE_SIZE // cells)
        mask = off.repeat(size, axis=0).repeat(size, axis=1)[:SCENE_SIZE, :SCENE_SIZE]
        colours = (image.mean(axis=(0, 1)), (0, 0, 0), (127, 127, 127), (255, 255, 255))
        image[mask] = np.asarray(colours[int(rng.integers(4))]).astype(np.uint8)
    return hidden


def accuracy(network: DemoNetwork, first_seed: int, count: int) -> float:
    """Share of scenes classified right."""
    images, labels = draw_batch(first_seed, count)
    with torch.inference_mode():
        found = [int(network(_as_input(image[None])).argmax()) for image in images]
    return float(np.mean(np.array(found) == labels))


def train(scenes: int, epochs: int, seed: int) -> DemoNetwork:
    """Train for some epochs over as many drawn scenes; in eval mode."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    images, labels = draw_batch(FIRST_TRAINING_SEED, scenes)
    _logger.info("drew %d scenes", scenes)
    network = DemoNetwork()
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    batch = 64
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=5e-3, total_steps=epochs * (scenes // batch)
    )
    for epoch in range(epochs):
        network.train()
        order = rng.permutation(scenes)
        losses = []
        for start in range(0, scenes - batch + 1, batch):
            chosen = order[start : start + batch]
            mirrored = images[chosen][:, :, :: int(rng.choice([-1, 1]))]
            logits = network(_as_input(_hide_blocks(mirrored, rng)))
            loss = functional.cross_entropy(logits, torch.from_numpy(labels[chosen]))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        network.eval()
        held_out = accuracy(network, FIRST_HELD_OUT_SEED, 200)
        _logger.info("epoch %d: loss %.3f, held-out %.3f", epoch + 1, np.mean(losses), held_out)
    return network.eval()


def main() -> None:
    """Parse the command line, train, report, save."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=6000)
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    network = train(options.scenes, options.epochs, options.seed)
    _logger.info("held-out accuracy %.3f", accuracy(network, FIRST_HELD_OUT_SEED, 1000))
    torch.save(network.state_dict(), options.output)
    _logger.info("wrote %s, %d bytes", options.output, options.output.stat().st_size)


if __name__ == "__main__":
    main()
