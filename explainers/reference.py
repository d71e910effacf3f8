"""Reference masks: ``METHOD@RULE`` from class activation maps, or files of the user's own."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from explainers.cam import HEAT_MAP_METHODS, Progress, heat_map
from explainers.classifier import Classifier
from explainers.errors import InvalidInput, MissingAsset
from explainers.images import Geometry, load_image, prepare
from explainers.masks import HeatMapRule, check_reference, parse_heat_map_rule

__all__ = ["CamReference", "Reference", "load_mask", "parse_reference"]

MASK_SUFFIXES = (".png", ".npy", ".bmp", ".tif", ".tiff", ".gif")


@dataclass(frozen=True, eq=False)
class Reference:
    """What explanations are scored against, with the rule that made it.

    Attributes:
        mask: (H, W) bool, neither empty nor full.
        rule: ``gradcam@0.3``, ``masks``, or the path of a file.
    """

    mask: NDArray[np.bool_]
    rule: str

    @property
    def sha256(self) -> str:
        """Hex digest over the shape and the bits of the mask."""
        header = f"{self.mask.shape}".encode()
        return hashlib.sha256(header + np.packbits(self.mask).tobytes()).hexdigest()

    def to_json(self) -> dict[str, str]:
        """Plain values that keep the rule, the digest and the mask itself (as a PNG, base64)."""
        buffer = io.BytesIO()
        Image.fromarray(self.mask.astype(np.uint8) * 255).convert("1").save(buffer, format="PNG")
        return {
            "rule": self.rule,
            "sha256": self.sha256,
            "mask_png": base64.b64encode(buffer.getvalue()).decode("ascii"),
        }

    @classmethod
    def from_json(cls, document: dict[str, str]) -> Reference:
        """The inverse of :meth:`to_json`."""
        with Image.open(io.BytesIO(base64.b64decode(document["mask_png"]))) as picture:
            mask = np.asarray(picture.convert("L")) > 127
        return cls(mask, document["rule"])


@dataclass(frozen=True)
class CamReference:
    """A parsed ``METHOD@RULE``."""

    method: str
    rule: HeatMapRule

    @property
    def text(self) -> str:
        """``METHOD@RULE``."""
        return f"{self.method}@{self.rule.text}"

    def of(
        self,
        classifier: Classifier,
        image: NDArray[np.uint8],
        name: str,
        class_index: int | None = None,
        progress: Progress | None = None,
    ) -> Reference:
        """The reference of an (H, W, 3) uint8 image called ``name``.

        Raises:
            UnusableReference: the mask is empty or full.
        """
        mask = self.rule(heat_map(classifier, image, self.method, class_index, progress))
        check_reference(mask, name)
        return Reference(mask, self.text)


def parse_reference(text: str) -> CamReference:
    """Parse ``METHOD@RULE``; ``METHOD`` alone means ``METHOD@0.3``.

    Raises:
        InvalidInput: unknown method or rule.
    """
    method, _, rule = text.partition("@")
    if method not in HEAT_MAP_METHODS:
        raise InvalidInput(
            f"reference '{text}' is neither METHOD@RULE with a method of "
            f"{', '.join(HEAT_MAP_METHODS)}, nor a folder of masks that exists"
        )
    return CamReference(method, parse_heat_map_rule(rule or "0.3"))


def load_mask(path: Path, name: str, geometry: Geometry, photograph: tuple[int, int]) -> Reference:
    """Read a user's mask: non-zero (above half of the range, for pictures) is the object.

    A mask of the original photograph's size goes through the same geometry as the photograph; a
    mask that is already ``crop`` × ``crop`` is taken as it is.

    Args:
        photograph: (width, height) of the original picture.

    Raises:
        MissingAsset, InvalidImage: no such file, or not readable.
        InvalidInput: its size fits neither the photograph nor the geometry.
        UnusableReference: it is empty or full.
    """
    if not path.is_file():
        raise MissingAsset(f"mask {path} of {name} does not exist: check the folder of masks")
    if path.suffix == ".npy":
        try:
            array = np.load(path, allow_pickle=False)
            if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
                raise ValueError("text, or an archive")
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise InvalidInput(
                f"{path} is not a .npy array of numbers or booleans: write it with numpy.save"
            ) from error
        if array.ndim == 3:
            array = array[..., 0]
        mask = np.asarray(array) > 0
    else:
        grey = np.asarray(load_image(path, backdrop=0).convert("L"))
        # 0/1 pictures are masks too; everybody else draws 0/255.
        mask = grey > (127 if grey.max() > 1 else 0)
    if mask.ndim != 2:
        raise InvalidInput(f"{path} has shape {mask.shape}: a mask is (height, width)")
    crop = (geometry.crop, geometry.crop)
    if mask.shape != crop:
        if mask.shape[::-1] != photograph:
            raise InvalidInput(
                f"{path} is {mask.shape[1]} × {mask.shape[0]}: a mask of {name} is either of the "
                f"photograph's size ({photograph[0]} × {photograph[1]}) or "
                f"{geometry.crop} × {geometry.crop}"
            )
        picture = Image.fromarray(mask.astype(np.uint8) * 255).convert("RGB")
        mask = prepare(picture, geometry)[..., 0] > 127
    check_reference(mask, name)
    return Reference(mask, str(path))
