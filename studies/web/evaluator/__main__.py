"""The process that runs stock lime for a submission: ``python -m studies.web.evaluator TASK``.

It prepares itself (imports, classifier, warm-up), says so on stdout, reads one submission from
stdin as a line of JSON (plain values, never a pickle), writes one line of JSON and ends. Every
submission has a new process, so that none can affect the next. When stdin closes, the server is
gone: the process ends at once, and removes the task.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import torch

from explainers.classifiers import load_classifier
from studies.web.evaluator.evaluation import TooManySuperpixels, evaluate, warm_up
from studies.web.evaluator.task import TASK_PREFIX, read_task
from studies.web.parent_process import parent_lines


def _limit_memory(megabytes: int) -> None:
    """Let the kernel refuse allocations above the limit; the server watches the used memory."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    wanted = megabytes << 20
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))


def _main(folder: Path) -> None:
    def alone() -> None:
        # The server was killed, or it would have killed this process. The references are secret.
        if folder.name.startswith(TASK_PREFIX):
            shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)

    lines = parent_lines(alone)
    # Output of libraries goes to stderr, so that it cannot mix with the protocol's lines.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(**document: Any) -> None:
        answers.write(json.dumps(document) + "\n")
        answers.flush()

    warnings.simplefilter("ignore")
    task = read_task(folder)
    torch.set_num_threads(task.threads)
    classifier = load_classifier(**task.classifier_spec)
    warm_up(task, classifier)
    say(ready=True)
    job = json.loads(lines.get())
    _limit_memory(job["memory_mb"])
    try:
        say(images=evaluate(task, classifier, job["parameters"], job["superpixels"]))
    except TooManySuperpixels as error:
        say(refused=str(error))
    except MemoryError:
        say(memory=True)
    except Exception as error:  # noqa: BLE001 - lime raises whatever these parameters lead to
        text = str(error)
        if "allocate memory" in text or "bad_alloc" in text:  # torch's messages
            say(memory=True)
        else:
            say(refused=f"stock lime failed: {type(error).__name__}: {text[:200]}")


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
    # Exit at once, as libraries may have threads that never end.
    sys.stdout.flush()
    os._exit(0)
