"""OpenAPI descriptions of request bodies that FastAPI does not parse."""

from __future__ import annotations

from typing import Any

from studies.web.service.limits import STUDY_PATTERN

__all__ = ["TOKEN_BODY", "UPLOAD_BODY"]


def _body(media_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {media_type: {"schema": schema}}}}


def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


_FILES = {"type": "array", "items": {"type": "string", "format": "binary"}}
_FORM = _object(
    {
        "images": {
            **_FILES, "minItems": 1, "description": "Photographs: JPEG, PNG or WebP.",
        },
        "masks": {
            **_FILES, "description": "What explanations are scored against: white is the object. "
            "Named as their photographs.",
        },
        "study": {
            "type": "string", "pattern": STUDY_PATTERN,
            "description": "A name; one is found where it is left out.",
        },
        "trials": {"type": "integer", "minimum": 1, "description": "Of each image, in all."},
        "timeout": {
            "type": "number", "minimum": 1,
            "description": "Seconds an image, after which no trial is started.",
        },
        "reference": {
            "type": "string", "description": "METHOD@RULE, e.g. gradcam@0.3; with masks: masks.",
        },
    },
    "images",
)  # fmt: skip
_ACCEPTED = _object(
    {"study": {"type": "string"}, "images": {"type": "array", "items": {"type": "string"}}},
    "study", "images",
)  # fmt: skip
UPLOAD_BODY = _body("multipart/form-data", _FORM) | {
    "responses": {
        "202": {
            "description": "The study waits for a worker",
            "content": {"application/json": {"schema": _ACCEPTED}},
        }
    }
}
TOKEN_BODY = _body("text/plain", {"type": "string", "description": "The service's token."})
