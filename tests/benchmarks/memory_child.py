"""The fresh process of the memory benchmark: ``python -m tests.benchmarks.memory_child FILE``.

Runs a pickled machine and study spec and prints its peak memory and its seconds. Imports nothing
that a worker of ``tune`` would not import.
"""

from __future__ import annotations

import json
import pickle
import sys
import time
from pathlib import Path

from tuner.workers.jobs import run_to_end

__all__ = ["status_kilobytes"]


def status_kilobytes(name: str, process: int | str = "self") -> int | None:
    """A line of a process's /proc status; ``None`` where there is none, or no such process.

    ``ru_maxrss`` would count the parent's memory at the fork.
    """
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) for line in lines if line.startswith(f"{name}:")]
    return found[0] if found else None


def main() -> None:
    """Run the study."""
    machine, spec = pickle.loads(Path(sys.argv[1]).read_bytes())
    start = time.perf_counter()
    run_to_end(machine, spec)
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "peak_kb": status_kilobytes("VmHWM")}))


if __name__ == "__main__":
    main()
