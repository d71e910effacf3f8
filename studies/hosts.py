"""Who writes to a storage: a process on a host."""

from __future__ import annotations

import os
import socket

__all__ = ["host_of", "this_host", "this_worker"]


def this_host() -> str:
    """This machine's name."""
    return socket.gethostname()


def this_worker() -> str:
    """This process as ``HOST:PID``, the value of a trial's attribute ``worker``."""
    return f"{this_host()}:{os.getpid()}"


def host_of(worker: str) -> str:
    """The host in ``HOST:PID``."""
    return worker.rpartition(":")[0]
