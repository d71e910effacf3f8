"""Stock lime in a fresh process: the number we quote.

No bank, no engine, a real clock, seeds that the search never saw. The parent writes each image,
its reference and its keyword arguments to a folder and starts ``python -m studies.verification``
on it, which imports lime and the user's own classifier and nothing of the search.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explainers.errors import LimeTunerError
from explainers.masks import MASK_RULE, MaskRule
from studies.restricted_pickle import load_restricted
from studies.stock_lime import explain_with_stock_lime

__all__ = ["FIRST_FRESH_SEED", "ImageVerdict", "VerificationCase", "summary", "verify_image"]

FIRST_FRESH_SEED = 1_000_003
"""Far above any seed that trials spend."""


@dataclass(frozen=True, eq=False)
class VerificationCase:
    """One image to explain with stock lime.

    Attributes:
        image: (H, W, 3) uint8.
        reference: (H, W) bool.
        kwargs: for ``explain_instance``.
        classifier_spec: keyword arguments of ``explainers.zoo.load_classifier``.
    """

    key: str
    image: NDArray[np.uint8]
    reference: NDArray[np.bool_]
    kwargs: Mapping[str, Any]
    classifier_spec: Mapping[str, Any]
    mask_rule: MaskRule = MASK_RULE


@dataclass(frozen=True)
class ImageVerdict:
    """What stock lime gave, seed by seed.

    Attributes:
        ious: in [0, 1]. seconds: of ``explain_instance`` on a warmed-up classifier.
        label: the class explained, by name.
    """

    key: str
    ious: tuple[float, ...]
    seconds: tuple[float, ...]
    label: str

    def as_json(self) -> dict[str, Any]:
        """The server's own field names."""
        return {
            "iou": float(np.mean(self.ious)),
            "iou_std": float(np.std(self.ious)),
            "time": float(np.mean(self.seconds)),
            "label": self.label,
        }


def summary(verdicts: Iterable[ImageVerdict]) -> dict[str, Any]:
    """``{"avg_iou", "avg_time", "images": {KEY: {"iou", "iou_std", "time", "label"}}}``."""
    images = {verdict.key: verdict.as_json() for verdict in verdicts}
    return {
        "avg_iou": float(np.mean([i["iou"] for i in images.values()])),
        "avg_time": float(np.mean([i["time"] for i in images.values()])),
        "images": images,
    }


def verify_image(
    case: VerificationCase, seeds: Sequence[int], baseline_seeds: Sequence[int] = ()
) -> tuple[ImageVerdict, ImageVerdict | None]:
    """Explain one image with stock lime in a process of its own, once per seed.

    Args:
        baseline_seeds: seeds for lime's defaults, explained in the same process afterwards.

    Returns:
        The verdict, and that of lime's defaults when there are seeds for it.

    Raises:
        LimeTunerError: stock lime failed; says with what.
    """
    with tempfile.TemporaryDirectory(prefix="lime-tuner-verify-") as folder:
        root = Path(folder)
        np.save(root / "image.npy", case.image)
        np.save(root / "reference.npy", case.reference)
        (root / "kwargs.pkl").write_bytes(pickle.dumps(dict(case.kwargs), protocol=4))
        request = {
            "classifier": dict(case.classifier_spec),
            "seeds": list(seeds),
            "baseline_seeds": list(baseline_seeds),
            "mask_rule": case.mask_rule.as_kwargs(),
        }
        (root / "request.json").write_text(json.dumps(request))
        environment = {**os.environ, "TQDM_DISABLE": "1"}
        here = str(Path(__file__).resolve().parent.parent)
        environment["PYTHONPATH"] = os.pathsep.join(
            filter(None, [here, environment.get("PYTHONPATH", "")])
        )
        done = subprocess.run(
            [sys.executable, "-m", "studies.verification", folder],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        answer = root / "answer.json"
        if done.returncode != 0 or not answer.is_file():
            lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
            if done.returncode < 0 or not lines:
                lines = [f"the process ended with status {done.returncode}"]
            raise LimeTunerError(f"{case.key}: stock lime failed: {lines[-1][:300]}")
        document = json.loads(answer.read_text())
    found, usual = (
        ImageVerdict(case.key, tuple(part["ious"]), tuple(part["seconds"]), part["label"])
        for part in (document["given"], document["defaults"])
    )
    return found, usual if usual.ious else None


def _run(folder: Path) -> None:
    """The fresh process."""
    import warnings

    from explainers.zoo import load_classifier

    warnings.simplefilter("ignore")
    request = json.loads((folder / "request.json").read_text())
    image, reference = np.load(folder / "image.npy"), np.load(folder / "reference.npy")
    classifier = load_classifier(**request["classifier"])
    classifier.predict_proba(np.repeat(image[None], 10, axis=0))  # warm up

    def explained(pickled: bytes | None, seeds: Sequence[int]) -> dict[str, Any]:
        found = [
            explain_with_stock_lime(
                image,
                reference,
                classifier.predict_proba,
                # Regressors keep what they fitted, so every seed gets fresh ones.
                {} if pickled is None else load_restricted(pickled),
                seed=seed,
                mask_rule=request["mask_rule"],
            )
            for seed in seeds
        ]
        return {
            "ious": [f.iou for f in found],
            "seconds": [f.seconds for f in found],
            "label": classifier.class_name(found[-1].label) if found else "",
        }

    answer = {
        "given": explained((folder / "kwargs.pkl").read_bytes(), request["seeds"]),
        "defaults": explained(None, request["baseline_seeds"]),
    }
    temporary = folder / "answer.tmp"
    temporary.write_text(json.dumps(answer))
    temporary.replace(folder / "answer.json")


if __name__ == "__main__":
    _run(Path(sys.argv[1]))
