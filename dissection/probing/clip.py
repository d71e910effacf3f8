"""Image and text features of a CLIP model, through open_clip (extra ``dissect``)."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dissection.probing.feature_cache import NO_CACHE, FeatureCache, Rows, space_of
from dissection.probing.images import ProbingImage
from dissection.progress import Progress
from explainers.classifiers import import_torchvision
from explainers.errors import InvalidInput, LimeTunerError, MissingAsset
from explainers.images import load_image
from explainers.telemetry import switch_off_telemetry

__all__ = [
    "DEFAULT_CLIP", "DEFAULT_CLIP_WEIGHTS", "RANDOM", "ClipModel", "image_features",
    "text_features",
]  # fmt: skip

DEFAULT_CLIP, DEFAULT_CLIP_WEIGHTS = "ViT-B-16-quickgelu", "openai"
RANDOM = "random"
"""Random weights, for tests and trials: the labels mean nothing."""

_BATCH = 32
_NEEDED = (
    "features of images and concepts come from open_clip: pip install open_clip_torch, or "
    "give saved ones (--features FILE.npz, --saved DIR)"
)


@dataclass(frozen=True)
class ClipModel:
    """A vision-language model by name; it is loaded on first use.

    Attributes:
        name: from open_clip's list, or a JSON file with a model's configuration.
        weights: a tag from open_clip's list (downloaded once), a local checkpoint, or ``random``.
        device: name of torch's device.

    Raises:
        InvalidInput: OpenAI's weights for a model without quickgelu, or a missing JSON file.
    """

    name: str = DEFAULT_CLIP
    weights: str = DEFAULT_CLIP_WEIGHTS
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.weights == "openai" and not self.name.endswith("quickgelu"):
            raise InvalidInput(
                f"OpenAI's weights need the activation function they were trained with: give "
                f"'{self.name}-quickgelu' instead of '{self.name}'"
            )
        if self.name.endswith(".json") and not Path(self.name).is_file():
            raise InvalidInput(f"CLIP configuration {self.name}: no such file")

    @property
    def short_name(self) -> str:
        """Name and weights without folders, for tables."""
        weights = Path(self.weights).name
        return f"{Path(self.name).name.removesuffix('.json')} {weights}"

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 (hex) of everything that decides a feature.

        Raises:
            MissingAsset: open_clip is not installed.
        """
        try:
            version = metadata.version("open_clip_torch")
        except metadata.PackageNotFoundError as error:
            raise MissingAsset(_NEEDED) from error
        config = Path(self.name)
        checkpoint = Path(self.weights)
        facts = {
            "open_clip": version,
            "model": config.read_text() if self.name.endswith(".json") else self.name,
            "weights": _file_sha256(checkpoint) if checkpoint.is_file() else self.weights,
        }
        return space_of(facts)

    @cached_property
    def _loaded(self) -> tuple[Any, Any, Any]:
        """(model, picture → tensor, texts → tokens)."""
        open_clip = _open_clip()
        name = self.name
        if name.endswith(".json"):
            open_clip.add_model_config(Path(name))
            name = Path(name).stem
        if name not in open_clip.list_models():
            raise InvalidInput(
                f"CLIP model '{name}' is unknown to open_clip: python -c 'import open_clip; "
                "print(open_clip.list_models())' names them"
            )
        weights = None if self.weights == RANDOM else self.weights
        try:
            with torch.random.fork_rng(devices=[]), _quiet():
                torch.manual_seed(0)
                model, _, prepare = open_clip.create_model_and_transforms(
                    name, pretrained=weights, device=self.device
                )
            tokens = open_clip.get_tokenizer(name)
        except Exception as error:  # downloads and checkpoints raise exceptions of many types
            raise MissingAsset(
                f"CLIP model '{name}' with weights '{self.weights}' cannot be loaded "
                f"({_first_sentence(error)}): give a local checkpoint with --clip-weights FILE"
            ) from error
        return model.eval(), prepare, tokens

    def encode_images(self, paths: Sequence[Path]) -> NDArray[np.float32]:
        """(n, D) features, rows of length 1."""
        model, prepare, _ = self._loaded
        pictures = torch.stack([prepare(load_image(path)) for path in paths])
        with torch.inference_mode():
            return _unit_rows(model.encode_image(pictures.to(self.device)))

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, D) features, rows of length 1.

        Raises:
            InvalidInput: a text is longer than the model reads.
        """
        model, _, tokens = self._loaded
        encode, room = getattr(tokens, "encode", None), getattr(tokens, "context_length", None)
        if encode is not None and room is not None:
            for text in texts:
                if len(encode(text)) + 2 > room:  # start and end take a token each
                    raise InvalidInput(
                        f"concept '{text[:40]} ...' is longer than the {room} tokens that "
                        f"{self.name} reads: shorten it"
                    )
        with torch.inference_mode():
            return _unit_rows(model.encode_text(tokens(list(texts)).to(self.device)))


def image_features(
    model: ClipModel,
    images: Sequence[ProbingImage],
    *,
    cache: FeatureCache = NO_CACHE,
    on_progress: Progress = lambda share: None,
) -> NDArray[np.float32]:
    """(N, D) float32 features of images, rows of length 1, from the cache where they are known.

    Raises:
        MissingAsset: open_clip or its weights are missing.
        InvalidImage: a file is no picture.
    """
    by_key = {image.sha256: image for image in images}

    def compute(keys: Sequence[str]) -> Iterator[Rows]:
        for some in _batches(keys):
            yield some, {"images": model.encode_images([by_key[key].path for key in some])}

    space = {"images": f"{model.fingerprint}-image"}
    return cache.rows(space, [image.sha256 for image in images], compute, on_progress)["images"]


def text_features(
    model: ClipModel,
    words: Sequence[str],
    *,
    templates: Sequence[str] = ("{}",),
    cache: FeatureCache = NO_CACHE,
    on_progress: Progress = lambda share: None,
) -> NDArray[np.float32]:
    """(C, D) float32 features of concepts, rows of length 1, from the cache where they are known.

    Args:
        templates: prompts with ``{}`` for the concept; of several the mean feature is taken, as
            CLIP's authors do.

    Raises:
        InvalidInput: a template has no ``{}``, or a concept is too long.
        MissingAsset: open_clip or its weights are missing.
    """
    for template in templates:
        if template.count("{}") != 1:
            raise InvalidInput(
                f"prompt template '{template}' needs {{}} where the concept goes, once, as in "
                "'a photo of a {}'"
            )
    keys = [hashlib.sha256(word.encode()).hexdigest() for word in words]
    by_key = dict(zip(keys, words, strict=True))

    def compute(keys: Sequence[str]) -> Iterator[Rows]:
        for some in _batches(keys):
            each = [
                model.encode_texts([template.replace("{}", by_key[key]) for key in some])
                for template in templates
            ]
            mean = np.mean(each, axis=0)
            unit = np.asarray(mean / np.linalg.norm(mean, axis=1, keepdims=True), np.float32)
            yield some, {"texts": unit}

    space = {"texts": f"{model.fingerprint}-{space_of(list(templates))}"}
    return cache.rows(space, keys, compute, on_progress)["texts"]


def _batches(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), _BATCH):
        yield keys[start : start + _BATCH]


def _unit_rows(features: torch.Tensor) -> NDArray[np.float32]:
    rows = features.to(torch.float32)
    unit: NDArray[np.float32] = (rows / rows.norm(dim=1, keepdim=True)).cpu().numpy()
    if not np.isfinite(unit).all():
        raise LimeTunerError(
            "the CLIP model gives features that are not finite: its weights are damaged, or "
            "belong to another model"
        )
    return unit


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence open_clip's log: our own error reports a failed download, and random weights are
    intended."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _open_clip() -> Any:
    import_torchvision()  # declares the operators that a build without them lacks
    switch_off_telemetry()  # of the hub that weights are downloaded from
    try:
        import open_clip
    except ModuleNotFoundError as error:
        raise MissingAsset(_NEEDED) from error
    return open_clip


def _file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**22):
            digest.update(block)
    return digest.hexdigest()


def _first_sentence(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].split(". ")[0] if lines else type(error).__name__
