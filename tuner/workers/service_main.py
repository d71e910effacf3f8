"""A worker process of the service: ``python -m tuner.workers.service_main``.

Its plan is the first line of its standard input, so that no password is seen among the arguments.
When that input ends, so has the server: then it stops, as at SIGTERM, after the trial that is
running, but soon: nobody is left to kill it. Its first line on standard output is JSON: whether it
is ready, or why not.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time

from explainers.errors import LimeTunerError
from studies.web.parent_process import parent_lines
from studies.web.server_log import log_to_stderr
from tuner.workers.service import ServicePlan, ServiceWorker

__all__ = ["main"]

_ALONE_SECONDS = 5.0
"""For the trial that is running; what is cut off is found to be dead, and done again."""


def main() -> int:
    """Work; the exit status."""
    asked = threading.Event()

    def alone() -> None:
        asked.set()
        time.sleep(_ALONE_SECONDS)
        os._exit(1)

    lines = parent_lines(alone)
    os.environ.setdefault("TQDM_DISABLE", "1")
    log_to_stderr("worker %(process)d: %(message)s", logging.WARNING)
    plan = ServicePlan(**json.loads(lines.get()))
    signal.signal(signal.SIGTERM, lambda number, frame: asked.set())
    worker = ServiceWorker(plan, asked.is_set)
    try:
        worker.prepare()
    except LimeTunerError as error:
        _say({"error": str(error), "exit_status": error.exit_status})
        return error.exit_status
    _say({"ready": True})
    try:
        worker.run(pause=asked.wait)
    except LimeTunerError as error:
        logging.getLogger(__name__).error("%s", error)
        return error.exit_status
    return 0


def _say(document: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    # What a thread still reads must not keep the process from ending.
    status = main()
    sys.stdout.flush()
    os._exit(status)
