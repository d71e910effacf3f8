"""The process that runs stock lime for a submission: ``python -m studies.grading.evaluator EXAM``.

It gets ready (imports, classifier, warm-up), says so on stdout, reads one submission from stdin as
a line of JSON (plain values: strangers' pickles never come here), answers with one line of JSON and
ends. A fresh process for every submission, so that none can leave anything behind for the next.
When stdin closes, its server is gone, and it ends at once.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import IO, Any

import numpy as np

from explainers.classifier import Classifier
from studies.grading.exam import Exam, read_exam
from studies.plain_parameters import stock_kwargs
from studies.stock_lime import explain_with_stock_lime

__all__ = ["TooManySuperpixels", "evaluate"]


_WARM_UP_SAMPLES = 20


class TooManySuperpixels(Exception):
    """A segmentation gave more than the limit."""


def evaluate(
    exam: Exam,
    classifier: Classifier,
    parameters: Mapping[str, Mapping[str, Any]],
    most_superpixels: int,
) -> dict[str, dict[str, Any]]:
    """IoU (mean over repeats) and seconds (median over repeats) of every image.

    Raises:
        TooManySuperpixels: counted before anything is explained.
        Exception: whatever lime raises with these parameters.
    """
    for key, plain in parameters.items():
        _check_superpixels(key, exam, plain, most_superpixels)
    found = {}
    for key, plain in parameters.items():
        runs = [
            explain_with_stock_lime(
                exam.images[key],
                exam.references[key],
                classifier.predict_proba,
                stock_kwargs(plain),
                seed=exam.first_seed + repeat,
                mask_rule=exam.mask_rule.as_kwargs(),
            )
            for repeat in range(exam.repeats)
        ]
        found[key] = {
            "iou": float(np.mean([run.iou for run in runs])),
            "time": float(median(run.seconds for run in runs)),
            "label": classifier.class_name(runs[0].label),
        }
    return found


def _check_superpixels(key: str, exam: Exam, plain: Mapping[str, Any], most: int) -> None:
    segmentation = stock_kwargs(plain)["segmentation_fn"]
    if segmentation is None:
        return
    count = len(np.unique(segmentation(exam.images[key])))
    if count > most:
        raise TooManySuperpixels(
            f"{key}: segmentation_fn gives {count} superpixels, at most {most} are explained here"
        )


def _warm_up(exam: Exam, classifier: Classifier) -> None:
    """So that the first image is not charged for imports and first calls."""
    key = exam.keys[0]
    for _ in range(2):
        explain_with_stock_lime(
            exam.images[key],
            exam.references[key],
            classifier.predict_proba,
            {"num_samples": _WARM_UP_SAMPLES},
            seed=0,
            mask_rule=exam.mask_rule.as_kwargs(),
        )


def _limit_memory(megabytes: int) -> None:
    """Let the kernel refuse what is asked for above the limit; the server watches what is used."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    wanted = megabytes << 20
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))


def _end_with(server: IO[str]) -> None:
    def wait() -> None:
        server.read()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _main(folder: Path) -> None:
    # What libraries print must not get between the lines of the protocol.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(**document: Any) -> None:
        answers.write(json.dumps(document) + "\n")
        answers.flush()

    import torch

    from explainers.zoo import load_classifier

    warnings.simplefilter("ignore")
    exam = read_exam(folder)
    torch.set_num_threads(exam.threads)
    classifier = load_classifier(**exam.classifier_spec)
    _warm_up(exam, classifier)
    say(ready=True)
    line = sys.stdin.readline()
    if not line:
        return
    _end_with(sys.stdin)
    job = json.loads(line)
    _limit_memory(job["memory_mb"])
    try:
        say(images=evaluate(exam, classifier, job["parameters"], job["superpixels"]))
    except TooManySuperpixels as error:
        say(refused=str(error))
    except MemoryError:
        say(memory=True)
    except Exception as error:  # noqa: BLE001 - lime raises whatever these parameters lead to
        text = str(error)
        if "allocate memory" in text or "bad_alloc" in text:  # torch's words for MemoryError
            say(memory=True)
        else:
            say(refused=f"stock lime failed: {type(error).__name__}: {text[:200]}")


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
    # Threads of libraries may still be waiting; there is nothing left to lose.
    sys.stdout.flush()
    os._exit(0)
