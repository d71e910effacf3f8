"""Which files lie on a network file system, as far as the operating system says.

Linux lists its mounts in a file; elsewhere nothing is known, and nothing is claimed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

__all__ = ["Mount", "mount_of", "network_mount"]

_MOUNTS = Path("/proc/self/mountinfo")
_NETWORK = {
    "9p", "afs", "beegfs", "ceph", "cifs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs",
    "nfs4", "ocfs2", "orangefs", "panfs", "pvfs2", "smb3", "smbfs", "wekafs",
    "fuse.ceph", "fuse.gcsfuse", "fuse.glusterfs", "fuse.juicefs", "fuse.rclone", "fuse.s3fs",
    "fuse.sshfs",
}  # fmt: skip


@dataclass(frozen=True)
class Mount:
    """A mounted file system.

    Attributes:
        kind: as the kernel calls it, e.g. ``ext4``.
    """

    folder: PurePosixPath
    kind: str

    @property
    def is_network(self) -> bool:
        """Whether other machines can have the same files."""
        return self.kind in _NETWORK


def mount_of(path: PurePosixPath, mountinfo: str) -> Mount | None:
    """The mount that a file lies on.

    Args:
        path: absolute, without links.
        mountinfo: text in the format of Linux's ``/proc/self/mountinfo``.
    """
    found: Mount | None = None
    for line in mountinfo.splitlines():
        fields, dash, rest = line.partition(" - ")
        parts, kind = fields.split(" "), rest.split(" ")[0]
        if not dash or len(parts) < 5:
            continue
        folder = PurePosixPath(_unescaped(parts[4]))
        if path != folder and folder not in path.parents:
            continue
        # Of two mounts on one folder, the later one hides the other.
        if found is None or len(folder.parts) >= len(found.folder.parts):
            found = Mount(folder, kind)
    return found


def network_mount(path: Path) -> Mount | None:
    """The network file system that a file lies on, or will lie on; ``None`` where it is none."""
    try:
        text = _MOUNTS.read_text("utf-8", "surrogateescape")
    except OSError:
        return None
    found = mount_of(PurePosixPath(path.resolve()), text)
    return found if found is not None and found.is_network else None


def _unescaped(field: str) -> str:
    """Spaces and the like are written as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)
