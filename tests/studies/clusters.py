"""Database servers of a test's own, which it may stop, restart and let listen where it likes."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from studies.web.listener import bound_socket

__all__ = ["CLUSTERS", "Cluster", "private_cluster"]

_SECONDS = 30.0


@dataclass(eq=False)
class Cluster:
    """A server with an empty database ``studies`` in a folder of its own.

    Attributes:
        user: whom its processes run as; a database server refuses to run as root.
        hosts: addresses it listens on; the first is in the URL.
    """

    folder: Path
    user: str
    port: int
    hosts: Sequence[str] = ("127.0.0.1",)
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.folder / "log"

    @property
    def url(self) -> str:
        """SQLAlchemy's URL of the database."""
        raise NotImplementedError

    def create(self) -> None:
        """Its files, and the database."""
        raise NotImplementedError

    def start(self) -> None:
        """Returns when it answers."""
        raise NotImplementedError

    def stop(self, *, at_once: bool = False) -> None:
        """Returns when it is gone.

        Args:
            at_once: as when the machine loses its power.
        """
        raise NotImplementedError

    def restart(self, *, at_once: bool = False, away: float = 0.0) -> None:
        """Stop, wait some seconds, start."""
        self.stop(at_once=at_once)
        time.sleep(away)
        self.start()

    def _run(self, *command: object) -> str:
        done = subprocess.run(
            [*_as_user(self.user), *map(str, command)], cwd=self.folder, text=True, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        if done.returncode:
            said = self.log.read_text(errors="replace") if self.log.exists() else ""
            raise AssertionError(f"{command[0]}: {done.stdout}\n{said[-2000:]}")
        return done.stdout


class PostgreSQL(Cluster):
    """... of PostgreSQL."""

    @property
    def url(self) -> str:
        """SQLAlchemy's URL of the database."""
        return f"postgresql+psycopg://tuner@{self.hosts[0]}:{self.port}/studies"

    def create(self) -> None:
        """Its files, and the database."""
        data = self.folder / "data"
        self._run(_postgresql("initdb"), "-D", data, "-U", "tuner", "-A", "trust", "--no-sync",
                  "-E", "UTF8", "--locale=C")  # fmt: skip
        with (data / "pg_hba.conf").open("a") as access:
            access.write("host all all samenet trust\n")
        self.start()
        self._run(_postgresql("createdb"), "-h", self.folder, "-p", str(self.port), "-U", "tuner",
                  "studies")  # fmt: skip

    def start(self) -> None:
        """Returns when it answers."""
        options = f"-p {self.port} -k {self.folder} -c listen_addresses={','.join(self.hosts)}"
        self._run(_postgresql("pg_ctl"), "-D", self.folder / "data", "-w", "-l", self.log, "-o",
                  options, "start")  # fmt: skip

    def stop(self, *, at_once: bool = False) -> None:
        """Returns when it is gone."""
        mode = "immediate" if at_once else "fast"
        self._run(_postgresql("pg_ctl"), "-D", self.folder / "data", "-w", "-m", mode, "stop")


class MariaDB(Cluster):
    """... of MariaDB."""

    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """SQLAlchemy's URL of the database."""
        return f"mysql+pymysql://root@{self.hosts[0]}:{self.port}/studies"

    def create(self) -> None:
        """Its files, and the database."""
        (self.folder / "tmp").mkdir()
        shutil.chown(self.folder / "tmp", self.user)
        self._run("mariadb-install-db", "--no-defaults", f"--datadir={self.folder / 'data'}",
                  "--auth-root-authentication-method=normal", "--skip-test-db")  # fmt: skip
        self.start()
        self._run("mariadb", "--no-defaults", f"--socket={self.folder / 'socket'}", "-u", "root",
                  "-e", "CREATE DATABASE studies")  # fmt: skip

    def start(self) -> None:
        """Returns when it answers."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*_as_user(self.user), str(_mariadbd()), "--no-defaults",
                 f"--datadir={self.folder / 'data'}", f"--socket={self.folder / 'socket'}",
                 f"--tmpdir={self.folder / 'tmp'}", f"--port={self.port}",
                 f"--bind-address={self.hosts[0]}", "--character-set-server=utf8mb4"],
                cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        deadline = time.monotonic() + _SECONDS
        ping = ["mariadb-admin", "--no-defaults", f"--socket={self.folder / 'socket'}", "-u",
                "root", "ping"]  # fmt: skip
        while subprocess.run(ping, capture_output=True, check=False).returncode:
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise AssertionError(self.log.read_text(errors="replace")[-2000:])
            time.sleep(0.1)

    def stop(self, *, at_once: bool = False) -> None:
        """Returns when it is gone."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL if at_once else signal.SIGTERM)
        self._process.wait(_SECONDS)


CLUSTERS = {"postgresql": PostgreSQL, "mysql": MariaDB}


@contextmanager
def private_cluster(server: str, hosts: Sequence[str] = ("127.0.0.1",)) -> Iterator[Cluster]:
    """A running server that is this test's alone; skips where it is not installed.

    Args:
        server: a key of ``CLUSTERS``.
    """
    user, missing = _servant(server), ""
    if server == "postgresql" and _postgresql("initdb") is None:
        missing = "PostgreSQL's initdb"
    if server == "mysql" and not (shutil.which("mariadb-install-db") and _mariadbd()):
        missing = "MariaDB's mariadb-install-db"
    if user is None:
        missing = f"the system's user for {server}"
    if missing:
        reason = f"{missing} is not here"
        if os.environ.get("LIME_TUNER_REQUIRE_DATABASES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    assert user is not None
    # Not pytest's own folder: nobody else may enter that.
    with tempfile.TemporaryDirectory(prefix="lime-tuner-cluster-") as name:
        folder = Path(name)
        if os.geteuid() == 0:
            shutil.chown(folder, user, user)
        with bound_socket(hosts[0], 0) as free:
            port = free.getsockname()[1]
        cluster = CLUSTERS[server](folder, user, port, hosts)
        cluster.create()
        try:
            yield cluster
        finally:
            cluster.stop(at_once=True)


def _servant(server: str) -> str | None:
    own = pwd.getpwuid(os.geteuid()).pw_name
    if own != "root":
        return own
    name = {"postgresql": "postgres", "mysql": "mysql"}[server]
    try:
        pwd.getpwnam(name)
    except KeyError:
        return None
    return name


def _as_user(user: str) -> list[str]:
    if os.geteuid() != 0:
        return []
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--"]


def _postgresql(program: str) -> Path | None:
    """A program of PostgreSQL; Debian keeps the server's out of the way."""
    paths = Path("/usr/lib/postgresql").glob(f"*/bin/{program}")
    newest = max(paths, default=None, key=lambda path: int(path.parts[-3]))
    found = shutil.which(program)
    return newest or (None if found is None else Path(found))


def _mariadbd() -> str | None:
    return shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin")
