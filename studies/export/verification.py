"""Measure parameters with stock lime in a fresh process, without cache or engine.

It uses the wall clock, and seeds that the search never used. The parent writes each image, its
reference and its keyword arguments to a folder and starts this module on it, which imports lime
and the user's classifier but no part of the search.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explainers.classifiers import load_classifier
from explainers.errors import LimeTunerError
from explainers.masks import MASK_RULE, MaskRule, intersection_over_union
from studies.export.pickles import explained_class
from studies.export.restricted_pickle import load_restricted
from studies.export.stock_lime import explain_with_stock_lime, stock_faithfulness

__all__ = ["FIRST_FRESH_SEED", "ImageVerdict", "VerificationCase", "summary", "verify_image"]

FIRST_FRESH_SEED = 1_000_003
"""Far above any seed that trials use."""
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, eq=False)
class VerificationCase:
    """One image to explain with stock lime.

    Attributes:
        image: (H, W, 3) uint8.
        reference: (H, W) bool.
        kwargs: for ``explain_instance``.
        classifier_spec: keyword arguments of ``explainers.classifiers.load_classifier``.
        has_reference: ``False`` to measure held-out R² and insertion minus deletion instead of
            IoU.
        object_mask: (H, W) bool, where the object is, if that is known besides the reference.
    """

    key: str
    image: NDArray[np.uint8]
    reference: NDArray[np.bool_]
    kwargs: Mapping[str, Any]
    classifier_spec: Mapping[str, Any]
    mask_rule: MaskRule = MASK_RULE
    has_reference: bool = True
    object_mask: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class ImageVerdict:
    """Measurements of stock lime, one for each seed.

    Attributes:
        ious: in [0, 1]; empty without a reference.
        seconds: of ``explain_instance`` on a warmed-up classifier.
        label: name of the class that was explained.
        r2s: held-out R²; empty with a reference.
        gains: insertion minus deletion; empty with a reference.
        never_hidden: whether lime never hid a part of the picture, because the labels of the
            superpixels do not start at 0.
        object_ious: with the object's mask; empty without one.
    """

    key: str
    ious: tuple[float, ...]
    seconds: tuple[float, ...]
    label: str
    r2s: tuple[float, ...] = ()
    gains: tuple[float, ...] = ()
    never_hidden: bool = False
    object_ious: tuple[float, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return means over the seeds, under the field names of the grading protocol."""
        document: dict[str, Any] = {
            "iou": float(np.mean(self.ious)) if self.ious else None,
            "iou_std": float(np.std(self.ious)) if self.ious else None,
            "time": float(np.mean(self.seconds)),
            "label": self.label,
        }
        if self.r2s:
            document["r2"] = float(np.mean(self.r2s))
            document["insertion_minus_deletion"] = float(np.mean(self.gains))
        if self.object_ious:
            document["object_iou"] = float(np.mean(self.object_ious))
        return document


def summary(verdicts: Iterable[ImageVerdict]) -> dict[str, Any]:
    """Return ``{"avg_iou", "avg_time", "images": {KEY: {"iou", "iou_std", "time", "label"}}}``.

    Without references it also has ``avg_r2`` and ``avg_insertion_minus_deletion``; with masks of
    the objects ``avg_object_iou``, and ``object_iou`` of each image.
    """
    images = {verdict.key: verdict.as_json() for verdict in verdicts}

    def mean(name: str) -> float | None:
        known = [image[name] for image in images.values() if image.get(name) is not None]
        return float(np.mean(known)) if known else None

    others = ("r2", "insertion_minus_deletion", "object_iou")
    further = {f"avg_{name}": mean(name) for name in others}
    return {
        "avg_iou": mean("iou"), "avg_time": mean("time"), "images": images,
        **{name: value for name, value in further.items() if value is not None},
    }  # fmt: skip


def verify_image(
    case: VerificationCase, seeds: Sequence[int], baseline_seeds: Sequence[int] = ()
) -> tuple[ImageVerdict, ImageVerdict | None]:
    """Explain one image with stock lime in a process of its own, once per seed.

    Args:
        baseline_seeds: seeds for lime's defaults, which explain the same class afterwards in the
            same process.

    Returns:
        The measurements, and those of lime's defaults when there are seeds for them.

    Raises:
        LimeTunerError: stock lime failed; the message has its last line.
    """
    label = explained_class(case.kwargs)
    request = {
        "classifier": dict(case.classifier_spec), "mask_rule": case.mask_rule.as_kwargs(),
        "has_reference": case.has_reference,
        "seeds": list(seeds), "baseline_seeds": list(baseline_seeds),
        # lime's defaults explain the likeliest class unless labels name another.
        "defaults": {} if label is None else {"labels": [label], "top_labels": None},
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="lime-tuner-verify-") as name:
        folder = Path(name)
        np.save(folder / "image.npy", case.image)
        np.save(folder / "reference.npy", case.reference)
        if case.object_mask is not None:
            np.save(folder / "object.npy", case.object_mask)
        (folder / "kwargs.pkl").write_bytes(pickle.dumps(dict(case.kwargs), protocol=4))
        (folder / "request.json").write_text(json.dumps(request))
        path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH", "")]))
        done = subprocess.run(
            [sys.executable, "-m", "studies.export.verification", name],
            env={**os.environ, "TQDM_DISABLE": "1", "PYTHONPATH": path},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        answer = folder / "answer.json"
        if done.returncode != 0 or not answer.is_file():
            lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
            if done.returncode < 0 or not lines:
                lines = [f"the process ended with status {done.returncode}"]
            raise LimeTunerError(f"{case.key}: stock lime failed: {lines[-1][:300]}")
        document = json.loads(answer.read_text())
    verdict, defaults = (_verdict(case.key, document[which]) for which in ("given", "defaults"))
    return verdict, defaults if defaults.seconds else None


def _verdict(key: str, part: Mapping[str, Any]) -> ImageVerdict:
    fields: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in part.items()}
    return ImageVerdict(key, **fields)


def _main(folder: Path) -> None:
    """Run in the fresh process."""
    warnings.simplefilter("ignore")
    request = json.loads((folder / "request.json").read_text())
    image, reference = np.load(folder / "image.npy"), np.load(folder / "reference.npy")
    drawn = folder / "object.npy"
    known = np.load(drawn) if drawn.is_file() else None
    classifier = load_classifier(**request["classifier"])
    predict = classifier.predict_proba
    predict(np.repeat(image[None], 10, axis=0))  # warm up

    def explained(kwargs_of: Callable[[], dict[str, Any]], seeds: Sequence[int]) -> dict[str, Any]:
        explanations = [
            # lime fits regressors in place, so every seed gets new ones.
            explain_with_stock_lime(
                image, reference, predict, kwargs_of(), seed=seed, mask_rule=request["mask_rule"]
            )
            for seed in seeds
        ]
        ious, faithful = [f.iou for f in explanations], []
        if not request["has_reference"]:
            hidden = kwargs_of().get("hide_color")
            ious = []
            faithful = [
                stock_faithfulness(f.explanation, f.label, image, hidden, predict)
                for f in explanations
            ]
        return {
            "ious": ious,
            "r2s": [r2 for r2, _ in faithful],
            "gains": [gain for _, gain in faithful],
            "seconds": [f.seconds for f in explanations],
            "never_hidden": any(f.never_hidden for f in explanations),
            "object_ious": []
            if known is None
            else [intersection_over_union(f.mask, known) for f in explanations],
            "label": classifier.class_name(explanations[-1].label) if explanations else "",
        }

    pickled = (folder / "kwargs.pkl").read_bytes()
    answer = {
        "given": explained(lambda: load_restricted(pickled), request["seeds"]),
        "defaults": explained(lambda: request["defaults"], request["baseline_seeds"]),
    }
    temporary = folder / "answer.tmp"
    temporary.write_text(json.dumps(answer))
    temporary.replace(folder / "answer.json")


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
