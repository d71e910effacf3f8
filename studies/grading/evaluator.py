"""The process that runs stock lime for a submission: ``python -m studies.grading.evaluator EXAM``.

It gets ready (imports, classifier, warm-up), says so on stdout, reads one submission from stdin as
a line of JSON (plain values: strangers' pickles never come here), answers with one line of JSON and
ends. A fresh process for every submission, so that none can leave anything behind for the next.
When stdin closes, its server is gone: it ends at once, and takes the exam along.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import sys
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import IO, Any

import numpy as np

from explainers.classifier import Classifier
from studies.grading.exam import EXAM_PREFIX, Exam, read_exam
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


def _lines_of(server: IO[str], exam: Path) -> queue.Queue[str]:
    """What the server says; it is listened to from now on, whatever else is done."""
    lines: queue.Queue[str] = queue.Queue()

    def listen() -> None:
        for line in server:
            lines.put(line)
        # It was killed: otherwise it would have killed this process. The exam holds its secrets.
        if exam.name.startswith(EXAM_PREFIX):
            shutil.rmtree(exam, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=listen, daemon=True).start()
    return lines


def _main(folder: Path) -> None:
    # What libraries print must not get between the lines of the protocol.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(**document: Any) -> None:
        answers.write(json.dumps(document) + "\n")
        answers.flush()

    lines = _lines_of(sys.stdin, folder)
    import torch

    from explainers.zoo import load_classifier

    warnings.simplefilter("ignore")
    exam = read_exam(folder)
    torch.set_num_threads(exam.threads)
    classifier = load_classifier(**exam.classifier_spec)
    _warm_up(exam, classifier)
    say(ready=True)
    job = json.loads(lines.get())
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
