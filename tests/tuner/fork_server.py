"""A process that has imported torch and the rest, and becomes ``lime-tuner`` again and again.

``python -m tests.tuner.fork_server`` reads a JSON document a line: ``arguments``, ``folder``,
``environment``, ``said``, a folder where the command's stdout and stderr go, to ``out`` and
``err``, and whether it obeys the modes of files, ``modest``. It answers with the command's process
number; when the command has ended, its exit status is in the folder, in ``status``. It ends with
its input.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

_IMPORTED = (
    "torch", "optuna", "lime.lime_image", "skimage.segmentation", "sklearn.gaussian_process",
    "alembic.command", "fastapi", "uvicorn", "optuna_dashboard", "explainers.engines",
    "studies.storage.reconnecting", "studies.web.service.app", "tuner.tuning", "tuner.study.notes",
    "tuner.workers.worker", "tuner.cli",
)  # fmt: skip


def _serve() -> dict[str, Any]:
    """Returns only in the processes that it makes, with what was asked for."""
    begun: dict[int, Path] = {}
    while True:
        if select.select([0], [], [], 0.03)[0]:
            line = sys.stdin.readline()
            if not line:
                os._exit(0)
            asked: dict[str, Any] = json.loads(line)
            pid = os.fork()
            if pid == 0:
                return asked
            begun[pid] = Path(asked["said"])
        _note_endings(begun)


def _note_endings(begun: dict[int, Path]) -> None:
    while begun:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        folder = begun.pop(pid)
        if folder.exists():  # somebody still wants to know
            partly = folder / "status.part"
            partly.write_text(str(os.waitstatus_to_exitcode(status)))
            partly.rename(folder / "status")


def _obey_modes() -> None:
    """Root may do to a file what its mode forbids; take that away from this process."""
    # capset(2), version 3: effective, permitted and inheritable, the lower and the upper 32.
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capget(header, sets):
        raise OSError(ctypes.get_errno(), "capget")
    for place in range(3):
        sets[place] &= ~0b1110  # DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER
    if libc.capset(header, sets):
        raise OSError(ctypes.get_errno(), "capset")


def _become(asked: dict[str, Any]) -> None:
    os.setsid()
    os.write(1, b"%d\n" % os.getpid())
    for number, name in enumerate((os.devnull, "out", "err")):
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
        descriptor = os.open(Path(asked["said"]) / name, flags)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(asked["folder"])
    if asked["modest"]:
        _obey_modes()
    os.environ.clear()
    os.environ.update(asked["environment"])
    path = asked["environment"].get("PYTHONPATH", "")
    sys.path[:0] = [asked["folder"], *filter(None, path.split(os.pathsep))]
    sys.argv = ["lime-tuner", *asked["arguments"]]
    tempfile.tempdir = None  # it may be another's


if __name__ == "__main__":
    for _name in _IMPORTED:
        import_module(_name)
    from tests.tuner.tiny import SMALL_MAPS
    from tuner.problem import search_space

    search_space._DEFAULT_MAPS = SMALL_MAPS  # as in the tests' own processes
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _become(_serve())
    # Here, and not in a function: so the interpreter ends as it does after `python -m tuner`.
    from tuner.cli import main

    main()
