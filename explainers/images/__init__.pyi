from .arrays import as_image, range_of
from .files import DAMAGE, limit_pixels, load_image, orientation, read_image, upright
from .formats import IMAGE_SUFFIXES, unread_suffix
from .geometry import AtScale, Geometry, array_digest, enlarged, image_for, prepare
from .overlays import REFERENCE_COLOUR, heat_overlay, mask_overlay, save_png, superpixel_overlay
from .pixel_values import is_white_at_zero

__all__ = [
    "DAMAGE",
    "IMAGE_SUFFIXES",
    "REFERENCE_COLOUR",
    "AtScale",
    "Geometry",
    "array_digest",
    "as_image",
    "enlarged",
    "heat_overlay",
    "image_for",
    "is_white_at_zero",
    "limit_pixels",
    "load_image",
    "mask_overlay",
    "orientation",
    "prepare",
    "range_of",
    "read_image",
    "save_png",
    "superpixel_overlay",
    "unread_suffix",
    "upright",
]
