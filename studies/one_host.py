"""An SQLite file is written by processes of one host, and lies on a disk of its own.

SQLite's locks and its shared memory do not reach across a network: two hosts would damage the file
sooner or later, in silence.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy

from explainers.errors import StorageError
from studies.hosts import host_of, this_host
from studies.network_mounts import network_mount

__all__ = ["check_one_host"]

_REMEDY = (
    "give --storage postgresql+psycopg://USER@HOST/NAME or mysql+pymysql://USER@HOST/NAME; "
    "lime-tuner copy --to URL takes the studies there"
)


def check_one_host(path: Path, engine: sqlalchemy.Engine | None) -> None:
    """Refuse to write an SQLite file that others may be writing from elsewhere.

    Args:
        engine: for the file; ``None`` while it has no studies.

    Raises:
        StorageError: says what to do instead.
    """
    mount = network_mount(path)
    if mount is not None:
        raise StorageError(
            f"storage {path} lies on a network file system ({mount.kind}, mounted on "
            f"{mount.folder}), where SQLite cannot be written safely: {_REMEDY}"
        )
    if engine is None:
        return
    from studies.activity import running_trials

    with engine.connect() as connection:
        running = running_trials(connection)
    here = this_host()
    for trial in running:
        if trial.worker is not None and not trial.silent and host_of(trial.worker) != here:
            raise StorageError(
                f"storage {path} is in use by {trial.worker}, and this is {here}: SQLite serves "
                f"the processes of one host. Stop the others, or {_REMEDY}"
            )
