"""Reference masks of the user's own: pictures, arrays, LabelMe files, one COCO file for all."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from explainers.annotations import CocoMasks, read_labelme
from explainers.errors import InvalidInput, MissingAsset
from explainers.images import Geometry, load_image, prepare
from explainers.masks import check_reference
from explainers.reference import Reference

__all__ = ["MASK_SUFFIXES", "coco_mask", "find_mask", "load_mask"]

MASK_SUFFIXES = (".png", ".npy", ".json", ".bmp", ".tif", ".tiff", ".gif")


def find_mask(folder: Path, key: str) -> Path:
    """The mask of one image in a folder of masks.

    Raises:
        MissingAsset: there is none.
    """
    for suffix in MASK_SUFFIXES:
        if (folder / f"{key}{suffix}").is_file():
            return folder / f"{key}{suffix}"
    raise MissingAsset(
        f"folder {folder} has no mask of '{key}': name it {key}.png, {key}.npy or, as LabelMe "
        f"writes it, {key}.json"
    )


def load_mask(path: Path, name: str, geometry: Geometry, photograph: tuple[int, int]) -> Reference:
    """Read a user's mask: non-zero (above half of the range, for pictures) is the object.

    A mask of the original photograph's size goes through the same geometry as the photograph; a
    mask that is already ``crop`` × ``crop`` is taken as it is.

    Args:
        path: a picture, a ``.npy`` array, or a LabelMe ``.json``, whose shapes are the object.
        photograph: (width, height) of the original picture.

    Raises:
        MissingAsset, InvalidImage: no such file, or not readable.
        InvalidInput: its size fits neither the photograph nor the geometry.
        UnusableReference: it is empty or full.
    """
    if not path.is_file():
        raise MissingAsset(f"mask {path} of {name} does not exist: check the folder of masks")
    if path.suffix == ".npy":
        mask = _array(path)
    elif path.suffix == ".json":
        mask = read_labelme(path)
    else:
        grey = np.asarray(load_image(path, backdrop=0).convert("L"))
        # 0/1 pictures are masks too; everybody else draws 0/255.
        mask = grey > (127 if grey.max() > 1 else 0)
    return _in_geometry(mask, str(path), name, geometry, photograph)


def coco_mask(
    masks: CocoMasks,
    file_name: str,
    name: str,
    geometry: Geometry,
    photograph: tuple[int, int],
    category: str | None = None,
) -> Reference:
    """The objects of one photograph in a COCO file; those of the category, where it has any.

    Raises:
        As :func:`load_mask`.
    """
    mask = masks.mask(file_name, category)
    return _in_geometry(mask, str(masks.path), name, geometry, photograph)


def _array(path: Path) -> NDArray[np.bool_]:
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
    mask: NDArray[np.bool_] = np.asarray(array) > 0
    return mask


def _in_geometry(
    mask: NDArray[np.bool_], source: str, name: str, geometry: Geometry, photograph: tuple[int, int]
) -> Reference:
    if mask.ndim != 2:
        raise InvalidInput(f"{source} has shape {mask.shape}: a mask is (height, width)")
    if mask.shape != (geometry.crop, geometry.crop):
        if mask.shape[::-1] != photograph:
            raise InvalidInput(
                f"{source} is {mask.shape[1]} × {mask.shape[0]}: a mask of {name} is either of the "
                f"photograph's size ({photograph[0]} × {photograph[1]}) or "
                f"{geometry.crop} × {geometry.crop}"
            )
        picture = Image.fromarray(mask.astype(np.uint8) * 255).convert("RGB")
        mask = prepare(picture, geometry)[..., 0] > 127
    check_reference(mask, name)
    return Reference(mask, source)
