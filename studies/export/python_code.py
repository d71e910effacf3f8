"""LIME parameters as Python code that runs as it is, on the image as its study prepared it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from explainers.lime import SEGMENTERS, LimeParameters
from explainers.masks import MASK_RULE
from studies.results.attributes import PREPARED

__all__ = ["argument_code", "parameter_code", "pickle_code"]

# Arguments of explain_instance by our field, where the names differ.
_ARGUMENTS = {"segmentation": "segmentation_fn", "regressor": "model_regressor"}
_MORE_GEOMETRY = ("interpolation", "squash", "floor")  # stored where they are not as usual
_WIDTH = 88
_LIME = "from lime.lime_image import LimeImageExplainer"


def parameter_code(parameters: LimeParameters, attributes: Mapping[str, Any] | None = None) -> str:
    """Write a program that explains a study's image with these parameters, given as a dict.

    The dict needs only lime and scikit-learn. The image and the classifier are loaded with this
    package, so that they are what the study saw; where the study does not say how, the reader
    supplies ``image`` and ``classifier_fn``.

    Args:
        attributes: the study's user attributes.
    """
    imports = [_LIME]
    if parameters.segmentation is not None:
        imports.append("from lime.wrappers.scikit_image import SegmentationAlgorithm")
    if parameters.regressor is not None:
        imports.append(f"from sklearn.linear_model import {parameters.regressor.name}")
    lines = [f'    "{name}": {code},' for name, code in argument_code(parameters).items()]
    return _program(imports, ["parameters = {", *lines, "}"], parameters, attributes or {})


def pickle_code(key: str, parameters: LimeParameters, attributes: Mapping[str, Any]) -> str:
    """Write a program that explains a study's image with its parameters in the exported pickle.

    Args:
        key: of the image, in ``explain_params.pkl``.
        parameters, attributes: as of :func:`parameter_code`.
    """
    lines = [
        'with open("explain_params.pkl", "rb") as file:',
        f"    parameters = pickle.load(file)[{key!r}]",
    ]
    return _program(["import pickle", _LIME], lines, parameters, attributes)


def argument_code(parameters: LimeParameters) -> dict[str, str]:
    """The arguments of ``explain_instance`` that differ from lime's defaults: code by name."""
    defaults = LimeParameters()
    return {
        _ARGUMENTS.get(each.name, each.name): _value(parameters, each.name)
        for each in fields(LimeParameters)
        if getattr(parameters, each.name) != getattr(defaults, each.name)
    }


def _program(
    imports: Sequence[str],
    making: Sequence[str],
    parameters: LimeParameters,
    attributes: Mapping[str, Any],
) -> str:
    """The whole program, around the lines that make ``parameters``."""
    more_imports, loading = _loading(attributes)
    rule = {**MASK_RULE.as_kwargs(), **attributes.get("mask_rule", {})}
    shown = "explanation.top_labels[0]" if parameters.label is None else str(parameters.label)
    return "\n".join(
        [
            *_sorted([*imports, *more_imports]), "", *loading, *making, "",
            *_comment("0 is the first seed of the study; others give slightly other explanations."),
            "explanation = LimeImageExplainer(random_state=0).explain_instance(",
            "    image, classifier_fn, **parameters", ")",
            "picture, mask = explanation.get_image_and_mask(",
            f"    {shown}, {_keywords(rule)}", ")",
        ]
    )  # fmt: skip


def _loading(attributes: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Imports and lines that make ``image`` and ``classifier_fn``, with comments."""
    prepared = attributes.get(PREPARED)
    if not isinstance(prepared, Mapping):
        return [], [
            *_comment(
                "image: (H, W, 3) uint8, resized and cropped as for the study; on the whole "
                "photograph the same parameters give another explanation. classifier_fn: (N, H, W, "
                "3) uint8 → (N, C) probabilities."
            ),
        ]
    classifier = dict(prepared["classifier"])
    file, crop = prepared["file"], prepared["crop"]
    resize = crop if prepared["resize"] is None else prepared["resize"]
    more = {name: prepared[name] for name in _MORE_GEOMETRY if name in prepared}
    size = {"resize": resize, "crop": crop, **more}
    sides = "both sides" if more.get("squash") else "its shorter side"
    if file is None:
        key = attributes.get("image_key", "")
        imports = ["from studies.catalog.demo import DEMO_SEEDS, draw_scene"]
        lines = [
            *_comment(f"The scene as the study saw it: {crop} × {crop} pixels, RGB from 0 to 255."),
            f"image = draw_scene({key!r}, DEMO_SEEDS[{key!r}]).image",
        ]
    else:
        imports = [
            "from pathlib import Path",
            "from explainers.images import Geometry, load_image, prepare",
        ]
        lines = [
            *_comment(
                f"The photograph as the study saw it: upright, {sides} resized to "
                f"{resize} pixels, the central {crop} × {crop} of that, RGB from 0 to 255 (uint8). "
                "On the whole photograph the same parameters give another explanation."
            ),
            f"photograph = load_image(Path({file!r}))",
            f"image = prepare(photograph, Geometry({_keywords(size)}))",
        ]
    if classifier:
        imports.append("from explainers.classifiers import load_classifier")
        model = repr(classifier.pop("model"))
        named = "".join(f", {name}={value!r}" for name, value in classifier.items())
        lines.append(f"classifier_fn = load_classifier({model}{named}).predict_proba")
    else:
        lines += _comment("classifier_fn: (N, H, W, 3) uint8 → (N, C) probabilities.")
    return imports, [*lines, ""]


def _sorted(imports: Sequence[str]) -> list[str]:
    """Python's own modules, an empty line, and the others; each in order."""
    own = sorted(line for line in imports if line.split()[1] in ("pathlib", "pickle"))
    own.sort(key=lambda line: line.startswith("from"))
    others = sorted(line for line in imports if line not in own)
    return [*own, *([""] if own else []), *others]


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_long_words=False
    )


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
