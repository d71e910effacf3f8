"""SQLite is written by one host, on a disk of its own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest

from explainers.errors import StorageError
from studies.queries import overview
from studies.results.attributes import WORKER
from studies.storage import check_storage, open_storage


def _mounted(folder: Path | str, kind: str) -> SimpleNamespace:
    return SimpleNamespace(mountpoint=str(folder), fstype=kind)


@pytest.mark.parametrize(
    ("mounts", "network"),
    [
        ([], None),  # nothing is known, nothing is claimed
        ([("/", "ext4")], None),
        ([("/", "ext4"), ("{}", "nfs4")], "nfs4"),
        ([("{}", "nfs4"), ("/", "ext4")], "nfs4"),
        ([("{}", "nfs4"), ("{}", "tmpfs")], None),  # a mount that hides another
        ([("{}", "nfs4"), ("{}/a b", "xfs")], None),
        ([("{}/a", "nfs4")], None),  # not a part of the folder's name
        ([("{}/a b", "fuse.sshfs")], r"fuse\.sshfs"),
    ],
)
def test_a_network_file_system_is_refused_before_anything_is_made(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mounts: list[tuple[str, str]],
    network: str | None,
) -> None:
    folder = tmp_path.resolve() / "a b"
    folder.mkdir()
    found = [_mounted(where.format(tmp_path.resolve()), kind) for where, kind in mounts]
    monkeypatch.setattr("psutil.disk_partitions", lambda all: found)
    url = f"sqlite:///{folder / 'x.db'}"
    if network is None:
        check_storage(url, write=True)
        return
    with pytest.raises(StorageError, match=rf"network file system \({network}.*lime-tuner copy"):
        check_storage(url, write=True)
    assert not (folder / "x.db").exists()
    found.clear()
    open_storage(url).close()
    found.append(_mounted(folder, "nfs"))
    with pytest.raises(StorageError, match="network file system"):
        open_storage(url)
    assert overview(url, None) == []  # reading is allowed


def test_another_host_at_work_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    monkeypatch.setattr("socket.gethostname", lambda: "first")
    storage = open_storage(url)
    study = optuna.create_study(study_name="p/a", storage=storage)
    trial = study.ask()
    trial.set_user_attr(WORKER, "first:12")
    storage.record_heartbeat(trial._trial_id)
    open_storage(url)

    monkeypatch.setattr("socket.gethostname", lambda: "second")
    with pytest.raises(StorageError, match=r"in use by first:12, and this is second.*postgresql"):
        open_storage(url)
    assert [row.study for row in overview(url, None)] == ["p/a"]
    open_storage(url, write=False)
    study.tell(trial, 0.5)
    open_storage(url)
