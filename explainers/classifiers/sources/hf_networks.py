"""Image classifiers of transformers, by folder or by name on the hub (``hf:NAME_OR_FOLDER``)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from PIL import Image

from explainers.classifiers.classifier import Classifier
from explainers.classifiers.factories import with_found_layer
from explainers.classifiers.outputs import OutputKind
from explainers.classifiers.sources.preparation import Own, warn_if_prepared_otherwise
from explainers.classifiers.user_code import let_torchvision_import
from explainers.classifiers.weights import load_state
from explainers.errors import InvalidInput, MissingAsset
from explainers.images import Geometry
from explainers.messages import error_line

PREFIX = "hf:"
_FLAT = 64  # pixels a side
_DIGITS = 7  # as many as single precision has
_WARPED_FROM = 384  # ConvNeXt's processor crops smaller pictures, and squashes others


def load_hf(
    name: str, weights: str | None, device: torch.device, cam_layer: str | None = None
) -> Classifier:
    """The image classifier of transformers with that name, in single precision.

    No code of a model's author is run, and of weights only safetensors are read.

    Args:
        name: a folder that ``save_pretrained`` wrote, or a name on the hub, downloaded once.
        weights: a file with a state dict instead of the model's own; ``random``: none.
        cam_layer: names the layer for class activation maps.

    Raises:
        InvalidInput: transformers is not installed; it is no image classifier, was not trained as
            one, or its pictures cannot be made here; weights of another architecture.
        MissingAsset: it is no folder and cannot be downloaded, or a file is missing.
    """
    spec = f"{PREFIX}{name}"
    let_torchvision_import()
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise InvalidInput(
            f"--model {spec} needs the package {error.name}: pip install 'lime-tuner[hf]'"
        ) from error
    module, processor = _loaded(transformers, name, weights)
    if weights is not None and weights != "random":
        load_state(module, Path(weights), spec)

    def own(picture: Image.Image) -> torch.Tensor:
        pixels: torch.Tensor = processor(picture, return_tensors="pt")["pixel_values"]
        return pixels[0].float()

    if getattr(processor, "do_flip_channel_order", False):
        raise InvalidInput(
            f"{spec} takes blue, green, red, not red, green, blue: write a factory that turns the "
            "channels round, and give --model package.module:factory"
        )
    if module.config.problem_type == "multi_label_classification":
        raise InvalidInput(
            f"{spec} gives several classes at once: write a factory whose module ends in a "
            "sigmoid, and give --model package.module:factory"
        )
    mean, std = _scaling(own, spec)
    made = Classifier(
        name=spec,
        module=module,
        class_names=_class_names(module.config),
        geometry=_geometry(processor, spec),
        mean=mean,
        std=std,
        device=device,
        output=OutputKind.LOGITS if module.config.num_labels > 1 else OutputKind.ONE_LOGIT,
    )
    warn_if_prepared_otherwise(made, own, f"its {type(processor).__name__}")
    return with_found_layer(made, cam_layer, spec)


def _loaded(transformers: ModuleType, name: str, weights: str | None) -> tuple[Any, Any]:
    """The module and the image processor."""
    spec = f"{PREFIX}{name}"
    folder = Path(name).expanduser()
    local = folder.is_dir()
    where = str(folder) if local else name
    kind = transformers.AutoModelForImageClassification
    safely = {"local_files_only": local, "trust_remote_code": False}
    # The bars of downloads stay.
    quiet = _no_bars(transformers) if local else contextlib.nullcontext()
    try:
        with quiet:
            config = transformers.AutoConfig.from_pretrained(where, **safely)
            # Pillow's, for torchvision's differs in the last bit of some pixels.
            processor = transformers.AutoImageProcessor.from_pretrained(
                where, backend="pil", **safely
            )
            if weights is not None:
                module = kind.from_config(config, trust_remote_code=False, dtype=torch.float32)
                return module, processor
            module, report = kind.from_pretrained(
                where, config=config, dtype="float32", use_safetensors=True,
                output_loading_info=True, **safely,
            )  # fmt: skip
    except OSError as error:  # also those of downloads
        kept = "that folder has not all files" if local else "it is no folder, nor downloaded"
        raise MissingAsset(
            f"{spec} cannot be read, {kept} ({error_line(error)}): give a folder that "
            "save_pretrained wrote, of the model (as safetensors) and of its image processor"
        ) from error
    except Exception as error:  # transformers' own, of a dozen types
        raise InvalidInput(
            f"{spec} is no image classifier that transformers {transformers.__version__} can load "
            f"without code of its author ({error_line(error)})"
        ) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise InvalidInput(
            f"{spec} was not trained as a classifier: its weights lack {len(missing)} tensors "
            f"(e.g. '{missing[0]}'): give a model that was fine-tuned for classification"
        )
    return module, processor


@contextlib.contextmanager
def _no_bars(transformers: ModuleType) -> Iterator[None]:
    """Without transformers' progress bars, which a fraction of a second does not need."""
    logging = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _scaling(own: Own, spec: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, from what black and white become.

    That is the same for processors that scale in one step, in two, or not at all.
    """
    try:
        flat = [own(Image.new("RGB", (_FLAT, _FLAT), (value,) * 3)) for value in (0, 255)]
    except Exception as error:  # transformers' own, of any type
        raise InvalidInput(
            f"the image processor of {spec} takes no colour picture ({error_line(error)})"
        ) from error
    black, white = (
        pixels[:, pixels.shape[1] // 2, pixels.shape[2] // 2].double() for pixels in flat
    )
    std = 1 / (white - black)
    mean = -black * std
    return tuple(round(float(each), _DIGITS) for each in mean), tuple(
        round(float(each), _DIGITS) for each in std
    )


def _geometry(processor: Any, spec: str) -> Geometry:
    size = processor.size
    crop = processor.crop_size["height"] if getattr(processor, "do_center_crop", False) else None
    edge, share = size.get("shortest_edge"), getattr(processor, "crop_pct", None)
    if edge is None:
        side, squash = size.get("height"), True
    elif share is None:
        side, squash = edge, False
    else:  # ConvNeXt's, also used for ResNet
        crop = crop or edge
        squash = edge >= _WARPED_FROM
        side = edge if squash else int(edge / share)
    crop = crop or (side if squash else None)
    if side is None or crop is None or size.get("width", side) != side:
        raise InvalidInput(
            f"the image processor of {spec} makes pictures that are not square ({size}): write a "
            "factory with a geometry, and give --model package.module:factory"
        )
    interpolation = Image.Resampling(int(processor.resample)).name.lower()
    return Geometry(side, crop, interpolation, squash=squash, floor=True)


def _class_names(config: Any) -> tuple[str, ...]:
    return tuple(str(config.id2label.get(each, each)) for each in range(config.num_labels))
