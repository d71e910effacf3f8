"""Check that only processes of one host write an SQLite file, on a local disk.

SQLite's locks and shared memory do not work across a network: two hosts would sooner or later
damage the file unnoticed.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy

from explainers.errors import StorageError
from studies.storage.optuna_tables import running_trials

__all__ = ["check_one_host", "this_host", "this_worker"]

_NETWORK = {
    "9p", "afs", "beegfs", "ceph", "cifs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs",
    "nfs4", "ocfs2", "orangefs", "panfs", "pvfs2", "smb3", "smbfs", "wekafs",
    "fuse.ceph", "fuse.gcsfuse", "fuse.glusterfs", "fuse.juicefs", "fuse.rclone", "fuse.s3fs",
    "fuse.sshfs",
}  # fmt: skip
_REMEDY = (
    "give --storage postgresql+psycopg://USER@HOST/NAME or mysql+pymysql://USER@HOST/NAME; "
    "lime-tuner copy --to URL takes the studies there"
)


def this_host() -> str:
    return socket.gethostname()


def this_worker() -> str:
    """Return this process as ``HOST:PID``, the value of a trial's attribute ``worker``."""
    return f"{this_host()}:{os.getpid()}"


def check_one_host(path: Path, engine: sqlalchemy.Engine | None) -> None:
    """Refuse to write an SQLite file that other hosts may be writing.

    Args:
        engine: for the file; ``None`` while it has no studies.

    Raises:
        StorageError: the file is on a network file system, or a worker of another host is running.
    """
    mount = _mount_of(path.resolve(), psutil.disk_partitions(all=True))
    if mount is not None and mount.fstype in _NETWORK:
        raise StorageError(
            f"storage {path} lies on a network file system ({mount.fstype}, mounted on "
            f"{mount.mountpoint}), where SQLite cannot be written safely: {_REMEDY}"
        )
    if engine is None:
        return
    with engine.connect() as connection:
        running = running_trials(connection)
    here = this_host()
    for trial in running:
        if trial.worker is None or trial.silent or trial.worker.rpartition(":")[0] == here:
            continue
        raise StorageError(
            f"storage {path} is in use by {trial.worker}, and this is {here}: SQLite serves "
            f"the processes of one host. Stop the others, or {_REMEDY}"
        )


def _mount_of(path: Path, mounts: Iterable[Any]) -> Any:
    """Return the mount that a file is on, or will be on; ``None`` if there is none.

    Args:
        path: absolute, without links.
        mounts: in the order in which they were mounted, as the later of two on one folder counts.
    """
    over = [each for each in mounts if Path(each.mountpoint) in (path, *path.parents)]
    return max(enumerate(over), key=lambda each: (len(Path(each[1].mountpoint).parts), each[0]),
               default=(0, None))[1]  # fmt: skip
