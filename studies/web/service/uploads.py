"""Check uploaded requests as far as that is cheap: no pixels are decoded."""

from __future__ import annotations

import re
import secrets
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from PIL import Image
from starlette.datastructures import FormData, UploadFile

from explainers.errors import InvalidInput
from explainers.messages import one_line
from explainers.references import parse_reference
from studies.records.jobs import JobSettings
from studies.web.http import Problem
from studies.web.service.limits import STUDY_PATTERN, ServiceLimits, image_key, unique_keys

__all__ = ["PICTURE_FORMATS", "Defaults", "Picture", "StudyRequest", "checked_request"]

PICTURE_FORMATS = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}
"""Accepted formats, by Pillow's names, and the suffixes of their files."""
_ALSO_JPEG = "MPO"  # a JPEG file with further pictures after the first, as telephones make them

_FIELDS = ("study", "trials", "timeout", "reference")
_FILES = ("images", "masks")
_WHOLE = re.compile(r"[0-9]{1,12}")
_DECIMAL = re.compile(r"[0-9]{1,12}(\.[0-9]{0,20})?([eE][+-]?[0-9]{1,3})?")
_FORBIDDEN = re.compile(r"[/\\\x00-\x1f\x7f]")
_NAME_LENGTH = 255


@dataclass(frozen=True)
class Defaults:
    """Values that are used where a request has none."""

    trials: int = 60
    reference: str = "gradcam@0.3"


@dataclass(frozen=True, eq=False)
class Picture:
    """An uploaded file whose header is that of a picture of an allowed size.

    Attributes:
        name: as uploaded.
        file: open, at its beginning.
        suffix: of :data:`PICTURE_FORMATS`.
    """

    name: str
    file: IO[bytes]
    suffix: str


@dataclass(frozen=True, eq=False)
class StudyRequest:
    """A requested study.

    Attributes:
        masks: of the images, in their order; empty where a heat map is the reference.
    """

    study: str
    settings: JobSettings
    keys: tuple[str, ...]
    images: tuple[Picture, ...]
    masks: tuple[Picture, ...]


def checked_request(form: FormData, limits: ServiceLimits, defaults: Defaults) -> StudyRequest:
    """Check the names, the numbers and the headers of files.

    Raises:
        Problem: 413 a file or picture is too large; 422 for any other fault.
    """
    fields, files = _sorted(form)
    images = [_picture(each, "image", limits) for each in files["images"]]
    masks = [_picture(each, "mask", limits) for each in files["masks"]]
    if not images:
        raise Problem(422, "there is no image: send one or more files in the field 'images'")
    for what, found in (("images", images), ("masks", masks)):
        if len(found) > limits.images:
            raise Problem(422, f"{len(found)} {what}: a study may have {limits.images}")
    keys = tuple(unique_keys(image.name for image in images))
    ordered = _masks_of(images, masks)
    settings = JobSettings(
        trials=_trials(fields.get("trials"), limits, defaults),
        timeout=_timeout(fields.get("timeout"), limits),
        reference=_reference(fields.get("reference"), bool(ordered), defaults),
    )
    return StudyRequest(
        _study(fields.get("study"), keys[0]), settings, keys, tuple(images), ordered
    )


def _sorted(form: FormData) -> tuple[dict[str, str], dict[str, list[UploadFile]]]:
    fields: dict[str, str] = {}
    files: dict[str, list[UploadFile]] = {name: [] for name in _FILES}
    for name, value in form.multi_items():
        if isinstance(value, str):
            if name not in _FIELDS:
                raise Problem(
                    422, f"the field {_quoted(name)} is unknown"
                    if name not in files
                    else f"the field '{name}' has text in it: send files",
                )  # fmt: skip
            if name in fields:
                raise Problem(422, f"the field '{name}' is there twice")
            if value.strip():  # an empty field counts as missing
                fields[name] = value.strip()
        elif name in files:
            files[name].append(value)
        else:
            raise Problem(422, f"a file in the field {_quoted(name)}: use images and masks")
    return fields, files


def _picture(upload: UploadFile, what: str, limits: ServiceLimits) -> Picture:
    """Check a file's name, size and header; Pillow reads nothing behind the header.

    Raises:
        Problem: 413 it is too large; 422 it is not an accepted picture.
    """
    name = upload.filename or ""
    if not name or len(name) > _NAME_LENGTH or _FORBIDDEN.search(name):
        raise Problem(
            422, f"the file name {_quoted(name)} is not taken: 1 to {_NAME_LENGTH} characters, "
            "without slashes and control characters",
        )  # fmt: skip
    shown, size = _quoted(name), upload.size or 0
    if size == 0:
        raise Problem(422, f"the {what} {shown} is an empty file")
    if size > limits.image_mb * 1e6:
        raise Problem(
            413, f"the {what} {shown} has {size / 1e6:.1f} megabytes: {limits.image_mb:g} may be"
        )
    try:
        with warnings.catch_warnings():
            # Pillow's own limit differs from ours, which is checked below; its other warnings do
            # not matter here.
            warnings.simplefilter("ignore")
            with Image.open(upload.file, formats=tuple(PICTURE_FORMATS)) as opened:
                kind, (width, height) = str(opened.format), opened.size
            suffix = PICTURE_FORMATS["JPEG" if kind == _ALSO_JPEG else kind]
    except Image.DecompressionBombError as error:
        raise Problem(
            413, f"the {what} {shown} has far too many pixels: {limits.megapixels:g} million may be"
        ) from error
    except Exception as error:  # Pillow raises any kind of error for a broken file
        raise Problem(
            422, f"the {what} {shown} is no picture that is taken here: send JPEG, PNG or WebP"
        ) from error
    finally:
        upload.file.seek(0)
    if width * height > limits.megapixels * 1e6:
        raise Problem(
            413, f"the {what} {shown} has {width} × {height} pixels: {limits.megapixels:g} million "
            "may be: scale it down",
        )  # fmt: skip
    return Picture(name, upload.file, suffix)


def _masks_of(images: Sequence[Picture], masks: Sequence[Picture]) -> tuple[Picture, ...]:
    """Match masks to images by name without suffix, and return them in the order of the images.

    Raises:
        Problem: 422 they do not match one to one.
    """
    if not masks:
        return ()
    if len(masks) == len(images) == 1:
        return tuple(masks)
    by_stem = {image_key(mask.name): mask for mask in masks}
    stems = [image_key(image.name) for image in images]
    for stem, image in zip(stems, images, strict=True):
        if stems.count(stem) > 1:
            raise Problem(422, f"the image {_quoted(image.name)} is named like another: with masks "
                          "every image has a name of its own")  # fmt: skip
        if stem not in by_stem:
            raise Problem(
                422, f"the image {_quoted(image.name)} has no mask: name its mask as the image, "
                "or send none at all",
            )  # fmt: skip
    for mask in masks:
        if image_key(mask.name) not in stems or by_stem[image_key(mask.name)] is not mask:
            raise Problem(422, f"the mask {_quoted(mask.name)} belongs to no image, or to two")
    return tuple(by_stem[stem] for stem in stems)


def _trials(text: str | None, limits: ServiceLimits, defaults: Defaults) -> int:
    if text is None:
        return min(defaults.trials, limits.trials)
    if not _WHOLE.fullmatch(text) or not 1 <= int(text) <= limits.trials:
        raise Problem(422, f"trials {_quoted(text)}: give a whole number, 1 to {limits.trials}")
    return int(text)


def _timeout(text: str | None, limits: ServiceLimits) -> float | None:
    if text is None:
        return None
    if not _DECIMAL.fullmatch(text) or not 1 <= float(text) <= limits.timeout:
        raise Problem(
            422, f"timeout {_quoted(text)}: give seconds an image, 1 to {limits.timeout:g}"
        )
    return float(text)


def _reference(text: str | None, masks: bool, defaults: Defaults) -> str:
    if masks:
        if text not in (None, "masks"):
            raise Problem(422, "there are masks, and another reference: give one of them")
        return "masks"
    if text is None:
        return defaults.reference
    if text == "masks":
        raise Problem(422, "the reference is masks, but there is no file in the field 'masks'")
    if len(text) > 60 or not re.fullmatch(r"[a-z+-]+(@[a-z0-9.]+)?", text):
        raise Problem(422, f"the reference {_quoted(text)} is not METHOD@RULE, e.g. gradcam@0.3")
    try:
        return parse_reference(text).text
    except InvalidInput as error:
        # The message begins with a suggestion to give files, which the service does not take.
        raise Problem(422, str(error).rpartition("exists: ")[2]) from error


def _study(text: str | None, first_key: str) -> str:
    if text is None:
        begin = re.sub(r"[^A-Za-z0-9_-]+", "-", first_key).strip("-_")[:40]
        return f"{begin or 'study'}-{secrets.token_hex(3)}"
    if not re.fullmatch(STUDY_PATTERN.strip("^$"), text):
        raise Problem(
            422, f"the study {_quoted(text)}: give 1 to 64 letters, digits, hyphens and "
            "underscores, a letter or digit first",
        )  # fmt: skip
    return text


def _quoted(text: str) -> str:
    return f"'{one_line(text, 60)}'"
