"""The bodies of requests that are read as they come, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from studies.web.service.limits import STUDY_PATTERN

__all__ = ["TOKEN_BODY", "UPLOAD_BODY"]

_BINARY = {"type": "string", "format": "binary"}
UPLOAD_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "images": {
                            "type": "array", "items": _BINARY, "minItems": 1,
                            "description": "Photographs: JPEG, PNG or WebP.",
                        },
                        "masks": {
                            "type": "array", "items": _BINARY,
                            "description": "What explanations are scored against: white is the "
                            "object. Named as their photographs.",
                        },
                        "study": {
                            "type": "string", "pattern": STUDY_PATTERN,
                            "description": "A name; one is found where it is left out.",
                        },
                        "trials": {
                            "type": "integer", "minimum": 1,
                            "description": "Of each image, in all.",
                        },
                        "timeout": {
                            "type": "number", "minimum": 1,
                            "description": "Seconds an image, after which no trial is started.",
                        },
                        "reference": {
                            "type": "string",
                            "description": "METHOD@RULE, e.g. gradcam@0.3; with masks: masks.",
                        },
                    },
                    "required": ["images"],
                }
            }
        },
    },
    "responses": {
        "202": {
            "description": "The study waits for a worker",
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "properties": {
                            "study": {"type": "string"},
                            "images": {"type": "array", "items": {"type": "string"}},
                        },
                        "required": ["study", "images"],
                    }
                }
            },
        }
    },
}  # fmt: skip
TOKEN_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "text/plain": {"schema": {"type": "string", "description": "The service's token."}}
        },
    }
}
