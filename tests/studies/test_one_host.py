"""SQLite is written by one host, on a disk of its own."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import optuna
import pytest
from studies.network_mounts import Mount, mount_of
from studies.one_host import check_one_host

from explainers.errors import StorageError
from studies.attributes import WORKER
from studies.queries import overview
from studies.storage import check_storage, open_storage

# As Linux writes it: an escaped blank, optional fields, a mount that hides another.
MOUNTS = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /home rw shared:9 master:2 - nfs4 server:/export/home rw,vers=4.2
31 22 0:41 / /data\040one rw - cifs //nas/data rw
32 30 8:2 / /home/scratch rw - xfs /dev/sdb1 rw
33 22 0:42 / /over rw - nfs server:/over rw
34 22 0:43 / /over rw - tmpfs tmpfs rw
not a line of a mount
"""


@pytest.mark.parametrize(
    ("path", "folder", "kind", "network"),
    [
        ("/var/x.db", "/", "ext4", False),
        ("/home/me/x.db", "/home", "nfs4", True),
        ("/home/scratch/x.db", "/home/scratch", "xfs", False),
        ("/homes/x.db", "/", "ext4", False),
        ("/data one/x.db", "/data one", "cifs", True),
        ("/over/x.db", "/over", "tmpfs", False),
    ],
)
def test_the_mount_of_a_file(path: str, folder: str, kind: str, network: bool) -> None:
    found = mount_of(PurePosixPath(path), MOUNTS)
    assert found == Mount(PurePosixPath(folder), kind)
    assert found.is_network == network
    assert mount_of(PurePosixPath(path), "") is None


def test_a_network_file_system_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "mounts"
    monkeypatch.setattr("studies.network_mounts._MOUNTS", there)
    url = f"sqlite:///{tmp_path / 'x.db'}"
    check_storage(url, write=True)  # no such list: nothing is claimed
    there.write_text(f"30 22 0:40 / {tmp_path.resolve()} rw - nfs4 server:/export rw\n")
    with pytest.raises(StorageError, match=r"network file system \(nfs4.*lime-tuner copy"):
        check_storage(url, write=True)
    assert not (tmp_path / "x.db").exists()
    there.unlink()
    open_storage(url)
    there.write_text(f"30 22 0:40 / {tmp_path.resolve()} rw - fuse.sshfs me@there: rw\n")
    with pytest.raises(StorageError, match=r"fuse\.sshfs"):
        open_storage(url)
    assert overview(url, None) == []  # reading is allowed


@pytest.mark.filterwarnings("ignore:Heartbeat")
def test_another_host_at_work_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    monkeypatch.setattr("studies.hosts.socket.gethostname", lambda: "first")
    storage = open_storage(url)
    study = optuna.create_study(study_name="p/a", storage=storage)
    trial = study.ask()
    trial.set_user_attr(WORKER, "first:12")
    storage.write_gathered()
    storage.record_heartbeat(trial._trial_id)
    open_storage(url)

    monkeypatch.setattr("studies.hosts.socket.gethostname", lambda: "second")
    with pytest.raises(StorageError, match=r"in use by first:12, and this is second.*postgresql"):
        open_storage(url)
    assert [row.study for row in overview(url, None)] == ["p/a"]
    open_storage(url, write=False)
    study.tell(trial, 0.5)
    open_storage(url)
    check_one_host(tmp_path / "x.db", None)
