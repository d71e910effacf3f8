"""Train the demo network on freshly drawn scenes and write its weights.

    python -m studies.catalog.demo.train -o explainers/classifiers/data/demo_network.pt

LIME shows a classifier pictures with replaced superpixels, which an ordinary training set does
not contain. Half of every batch is therefore perturbed in that way. The more of its object is
covered, the closer a picture's target is to equal shares for all classes.
"""

from __future__ import annotations

import argparse
import logging
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from explainers.classifiers import DemoNetwork
from studies.catalog.demo.scenes import (
    CLASS_NAMES,
    DEMO_SEEDS,
    SCENE_SIZE,
    draw_background,
    draw_scene,
)

__all__ = ["HELD_OUT_SEED", "TRAINING_SEED", "Scenes", "accuracy", "draw_scenes", "main", "train"]

HELD_OUT_SEED = 1_000_000
"""First seed of held-out scenes; the catalogue's seeds are all smaller."""

TRAINING_SEED = 10_000_000
"""First seed of training scenes; held-out seeds are all smaller."""

_LOGGER = logging.getLogger(__name__)
_BATCH = 64
_HELD_OUT_SCENES = 1000
# Range of the cells of one perturbation: about as many as LIME's segmentations have on a scene.
_CELLS = (12, 90)
# Below this visible share of the object, the target is no longer its class alone.
_ENOUGH_IN_SIGHT = 0.4


@dataclass(frozen=True)
class Scenes:
    """Drawn scenes as arrays.

    Attributes:
        images: (N, 128, 128, 3) uint8.
        masks: (N, 128, 128) bool; all false where a scene shows a background only.
        labels: (N,) int64 index into `CLASS_NAMES`.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    labels: NDArray[np.int64]


def draw_scenes(count: int, first_seed: int, *, workers: int = 1) -> Scenes:
    """Draw `count` scenes with consecutive seeds, cycling through the classes."""
    seeds = range(first_seed, first_seed + count)
    names = [CLASS_NAMES[i % len(CLASS_NAMES)] for i in range(count)]
    if workers > 1:
        # Spawned, as torch's threads do not survive a fork.
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            drawn = list(pool.map(draw_scene, names, seeds, chunksize=64))
    else:
        drawn = [draw_scene(name, seed) for name, seed in zip(names, seeds, strict=True)]
    return Scenes(
        np.stack([scene.image for scene in drawn]),
        np.stack([scene.mask for scene in drawn]),
        np.arange(count, dtype=np.int64) % len(CLASS_NAMES),
    )


def normalised(images: NDArray[np.uint8]) -> Tensor:
    """Convert (N, 128, 128, 3) uint8 pictures to the network's (N, 3, 128, 128) float32 input."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0).contiguous()


@torch.no_grad()
def accuracy(network: DemoNetwork, scenes: Scenes) -> float:
    """Return the share (0..1) of scenes whose largest logit is their class."""
    network.eval()
    right = 0
    for start in range(0, len(scenes.labels), 250):
        logits = network(normalised(scenes.images[start : start + 250]))
        right += int((logits.argmax(1).numpy() == scenes.labels[start : start + 250]).sum())
    return right / len(scenes.labels)


def train(scenes: Scenes, held_out: Scenes, *, epochs: int, seed: int) -> DemoNetwork:
    """Train a network and log its held-out accuracy after every epoch.

    Args:
        held_out: scenes with other seeds, used only for the accuracy.
        epochs: passes over `scenes`, at least 1.
        seed: of the initial weights, the order and the perturbations.

    Returns:
        The network in evaluation mode, with weights rounded to float16.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = DemoNetwork()
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=0.02)
    steps = epochs * (len(scenes.labels) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for epoch in range(1, epochs + 1):
        began, total = time.monotonic(), 0.0
        network.train()
        order = rng.permutation(len(scenes.labels))
        batches = len(order) // _BATCH
        for index in order[: batches * _BATCH].reshape(batches, _BATCH):
            pictures = normalised(scenes.images[index])
            masks = torch.from_numpy(scenes.masks[index]).float()
            targets = functional.one_hot(
                torch.from_numpy(scenes.labels[index]), len(CLASS_NAMES)
            ).float()
            pictures, in_sight = _perturbed(pictures, masks, rng)
            share = (in_sight / _ENOUGH_IN_SIGHT).clamp(max=1.0)[:, None]
            targets = targets * share + (1.0 - share) / len(CLASS_NAMES)
            loss = functional.cross_entropy(network(pictures), targets, label_smoothing=0.02)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            total += loss.item()
        _LOGGER.info(
            "epoch %d/%d: loss %.3f, held-out accuracy %.3f, %.0f s",
            epoch, epochs, total / batches, accuracy(network, held_out), time.monotonic() - began,
        )  # fmt: skip
    # The accuracy logged at the end is that of the stored (rounded) weights.
    network.load_state_dict(_stored(network))
    return network.eval()


def _perturbed(pictures: Tensor, masks: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Replace cells of about half of the pictures, as LIME does with superpixels.

    Args:
        pictures: (N, 3, 128, 128) float32, normalised.
        masks: (N, 128, 128) float32, 1 on the object.

    Returns:
        The pictures, and (N,) the visible share (0..1) of each object; 0 without an object.
    """
    count = len(pictures)
    cells = int(rng.integers(*_CELLS))
    labels = _random_cells(cells, rng)
    members = functional.one_hot(labels.flatten(), cells).float()  # (pixels, cells)
    flat = pictures.flatten(2)
    means = flat @ members / members.sum(0).clamp(min=1.0)  # (N, 3, cells)

    # A cell is replaced by its own mean (0..3, LIME's default), black, white, grey or the
    # picture's mean.
    kind = rng.integers(0, 8, count)
    for plain, value in ((4, -1.0), (5, 1.0), (6, 0.0)):
        means[torch.from_numpy(kind == plain)] = value
    overall = torch.from_numpy(kind == 7)
    means[overall] = flat[overall].mean(2, keepdim=True).expand(-1, -1, cells)

    share_off = rng.uniform(0.05, 0.9, (count, 1)) * (rng.uniform(size=(count, 1)) < 0.55)
    off = torch.from_numpy(rng.uniform(size=(count, cells)) < share_off).float() @ members.T
    replaced = torch.where(off[:, None] > 0.5, means @ members.T, flat)

    on_object = masks.flatten(1)
    in_sight = (on_object * (1.0 - off)).sum(1) / on_object.sum(1).clamp(min=1.0)
    return replaced.view_as(pictures), in_sight


def _random_cells(cells: int, rng: np.random.Generator) -> Tensor:
    """Return (128, 128) int64 labels of a Voronoi partition with wavy borders."""
    y, x = np.mgrid[0:SCENE_SIZE, 0:SCENE_SIZE].astype(np.float32)
    waves = rng.uniform(0.0, 2.0 * np.pi, 2)
    height = rng.uniform(0.0, 6.0)
    pixels = np.stack(
        [y + height * np.sin(x / 7 + waves[0]), x + height * np.sin(y / 7 + waves[1])]
    )
    centres = rng.uniform(0, SCENE_SIZE, (cells, 2))
    distances = torch.cdist(
        torch.from_numpy(pixels.reshape(2, -1).T).float(), torch.from_numpy(centres).float()
    )
    return distances.argmin(1).view(SCENE_SIZE, SCENE_SIZE)


def _stored(network: DemoNetwork) -> dict[str, Tensor]:
    """Return the network's state with floats as float16, as it is written to the file."""
    state = network.state_dict()
    return {k: v.half() if v.is_floating_point() else v for k, v in state.items()}


def _with_backgrounds(scenes: Scenes, count: int, first_seed: int) -> Scenes:
    """Append `count` pictures without an object, which are trained towards equal shares."""
    empty = [draw_background(first_seed + i) for i in range(count)]
    return Scenes(
        np.concatenate([scenes.images, np.stack(empty)]),
        np.concatenate([scenes.masks, np.zeros((count, SCENE_SIZE, SCENE_SIZE), np.bool_)]),
        np.concatenate([scenes.labels, np.zeros(count, np.int64)]),
    )


def main(arguments: list[str] | None = None) -> None:
    """Draw, train, measure and write; see the module's docstring for the command."""
    parser = argparse.ArgumentParser(prog="python -m studies.catalog.demo.train")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the weights file")
    parser.add_argument("--scenes", type=int, default=8000, help="scenes to train on")
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="of torch, and drawing processes")
    options = parser.parse_args(arguments)
    if options.scenes < _BATCH or options.epochs < 1 or options.seed < 0 or options.threads < 1:
        parser.error(f"--scenes must be >= {_BATCH}, --epochs and --threads >= 1, --seed >= 0")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)

    first = TRAINING_SEED * (options.seed + 1)
    scenes = draw_scenes(options.scenes, first, workers=options.threads)
    empty = options.scenes // 10
    scenes = _with_backgrounds(scenes, empty, first + options.scenes)
    held_out = draw_scenes(_HELD_OUT_SCENES, HELD_OUT_SEED, workers=options.threads)
    _LOGGER.info("drew %d scenes and %d backgrounds", options.scenes, empty)

    network = train(scenes, held_out, epochs=options.epochs, seed=options.seed)
    catalogue = [draw_scene(name, seed) for name, seed in DEMO_SEEDS.items()]
    logits = network(normalised(np.stack([scene.image for scene in catalogue])))
    wrong = [
        f"{scene.class_name} as {CLASS_NAMES[answer]}"
        for scene, answer in zip(catalogue, logits.argmax(1).tolist(), strict=True)
        if CLASS_NAMES[answer] != scene.class_name
    ]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    torch.save(_stored(network), options.output)
    _LOGGER.info(
        "wrote %s (%d bytes): held-out accuracy %.3f, catalogue scenes wrong: %s",
        options.output, options.output.stat().st_size, accuracy(network, held_out),
        ", ".join(wrong) or "none",
    )  # fmt: skip


if __name__ == "__main__":
    main()
