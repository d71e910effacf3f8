"""A network whose units are known: some see what a demo scene shows, some nothing, some noise."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image

from dissection.probing import ProbingSet, probing_images
from explainers.classifiers import DEMO_CLASS_NAMES, Classifier, load_classifier
from explainers.images import Geometry
from studies.catalog.demo import draw_scene

CLASSES = tuple(DEMO_CLASS_NAMES)
NOISE, DEAD = 30, 3


class PlantedUnits(torch.nn.Module):
    """The demo network's logits, units that answer a pixel's noise, and units that answer 0."""

    def __init__(self) -> None:
        super().__init__()
        self.seeing = load_classifier("demo", device="cpu").module
        generator = torch.Generator().manual_seed(5)
        self.register_buffer("rows", torch.randint(128, (NOISE,), generator=generator))
        self.register_buffer("columns", torch.randint(128, (NOISE,), generator=generator))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        seen = self.seeing(images)
        pixels = images[:, 0, self.rows, self.columns]
        # The last digits of a pixel's value have nothing to do with what the picture shows.
        noise = torch.sin(1e4 * pixels + torch.arange(NOISE))
        return torch.cat((seen, noise, torch.zeros(len(images), DEAD)), dim=1)


def planted_network() -> Classifier:
    """Its layer ``units`` has ten planted, thirty noise and three dead units."""
    network = torch.nn.Sequential()
    network.add_module("units", PlantedUnits())
    return Classifier(
        "planted", network, CLASSES, Geometry(None, 128), mean=(0.5,) * 3, std=(0.5,) * 3
    )


def draw_scenes(folder: Path, each: int) -> tuple[ProbingSet, list[int]]:
    """Scenes of every class as PNG files, and the class of each."""
    folder.mkdir()
    for number in range(each):
        for place, name in enumerate(CLASSES):
            scene = draw_scene(name, 5000 + len(CLASSES) * number + place)
            Image.fromarray(scene.image).save(folder / f"{name}_{number:02}.png")
    probe = probing_images(folder)
    return probe, [CLASSES.index(image.path.name.rpartition("_")[0]) for image in probe.images]


def planted_features(
    classes: list[int], further: int, seed: int
) -> tuple[torch.Tensor, torch.Tensor, tuple[str, ...]]:
    """Image and text features that know what a scene shows, and names of the concepts.

    Args:
        further: concepts that no scene shows.
    """
    generator = torch.Generator().manual_seed(seed)
    texts = torch.randn((len(CLASSES) + further, 64), generator=generator)
    noise = torch.randn((len(classes), 64), generator=generator)
    images = texts[torch.tensor(classes)] + 0.5 * noise
    return images, texts, (*CLASSES, *(f"absent {number}" for number in range(further)))
