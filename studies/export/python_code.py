"""LIME parameters as Python code that needs only lime and scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from explainers.lime import SEGMENTERS, LimeParameters

__all__ = ["parameter_code"]

# Arguments of explain_instance by our field, where the names differ.
_ARGUMENTS = {"segmentation": "segmentation_fn", "regressor": "model_regressor"}


def parameter_code(parameters: LimeParameters) -> str:
    """Write imports, a dict ``parameters`` with all differences from lime's defaults, and the call.

    The reader supplies ``image`` and ``classifier_fn``.
    """
    imports = ["from lime.lime_image import LimeImageExplainer"]
    if parameters.segmentation is not None:
        imports.append("from lime.wrappers.scikit_image import SegmentationAlgorithm")
    if parameters.regressor is not None:
        imports.append(f"from sklearn.linear_model import {parameters.regressor.name}")
    defaults = LimeParameters()
    lines = [
        f'    "{_ARGUMENTS.get(each.name, each.name)}": {_value(parameters, each.name)},'
        for each in fields(LimeParameters)
        if getattr(parameters, each.name) != getattr(defaults, each.name)
    ]
    return "\n".join(
        [
            *imports, "", "parameters = {", *lines, "}",
            "explanation = LimeImageExplainer().explain_instance(",
            "    image, classifier_fn, **parameters", ")",
        ]
    )  # fmt: skip


def _value(parameters: LimeParameters, name: str) -> str:
    segmentation, regressor = parameters.segmentation, parameters.regressor
    if name == "segmentation" and segmentation is not None:
        values = {**dict(segmentation.parameters), **SEGMENTERS[segmentation.algorithm].fixed}
        return f'SegmentationAlgorithm("{segmentation.algorithm}", {_keywords(values)})'
    if name == "regressor" and regressor is not None:
        return f"{regressor.name}({_keywords(dict(regressor.parameters))})"
    return repr(getattr(parameters, name))


def _keywords(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())
