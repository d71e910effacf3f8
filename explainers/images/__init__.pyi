from .arrays import as_image
from .files import DAMAGE, limit_pixels, load_image, orientation, read_image, upright
from .formats import IMAGE_SUFFIXES, read_formats, unread_suffix, what_it_is
from .geometry import AtScale, Geometry, array_digest, enlarged, image_for, prepare
from .overlays import REFERENCE_COLOUR, heat_overlay, mask_overlay, save_png, superpixel_overlay
from .pixel_values import (
    ValueRange,
    array_to_rgb,
    is_white_at_zero,
    over_backdrop,
    to_rgb,
    to_uint8,
    value_range,
)

__all__ = [
    "DAMAGE",
    "IMAGE_SUFFIXES",
    "REFERENCE_COLOUR",
    "AtScale",
    "Geometry",
    "ValueRange",
    "array_digest",
    "array_to_rgb",
    "as_image",
    "enlarged",
    "heat_overlay",
    "image_for",
    "is_white_at_zero",
    "limit_pixels",
    "load_image",
    "mask_overlay",
    "orientation",
    "over_backdrop",
    "prepare",
    "read_formats",
    "read_image",
    "save_png",
    "superpixel_overlay",
    "to_rgb",
    "to_uint8",
    "unread_suffix",
    "upright",
    "value_range",
    "what_it_is",
]
