"""A network of its own for one command, where whatever it asks or calls is written down.

Run as a program inside new network and mount namespaces: ``python watched_network.py COMMAND...``
prints one JSON document when the command has ended. A name server answers every question with an
address to which the only route leads; nothing is behind it.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SERVER, _HERE, _NEXT, _ANSWER = "127.0.0.53", "192.0.2.2", "192.0.2.1", "192.0.2.9"
_IPV4, _IPV6 = 0x0800, 0x86DD
_LATE_SECONDS = 0.5  # for what is under way when the command ends


@dataclass(frozen=True)
class Seen:
    """What a command did.

    Attributes:
        asked: names that a name server was asked for.
        called: addresses outside this machine that packets were sent to.
    """

    status: int
    output: str
    asked: frozenset[str]
    called: frozenset[str]


def _namespaces() -> list[str]:
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *user, "--net", "--mount", "--"]


def why_not() -> str | None:
    """Why there can be no such network here; ``None`` where there can."""
    missing = [name for name in ("ip", "mount", "unshare") if shutil.which(name) is None]
    if missing:
        return f"a network of its own needs {missing[0]}"
    script = "ip link add here type veth peer name there && mount --bind /etc/hosts /etc/hosts"
    tried = subprocess.run([*_namespaces(), "sh", "-c", script], capture_output=True, check=False)
    return None if tried.returncode == 0 else "namespaces of networks are not permitted here"


def watched(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Seen:
    """Run a command in a network of its own."""
    done = subprocess.run(
        [*_namespaces(), sys.executable, __file__, *command], cwd=folder, env=dict(environment),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    return Seen(found["status"], found["output"], frozenset(found["asked"]),
                frozenset(found["called"]))  # fmt: skip


def _make_network() -> None:
    for line in (
        "ip link set lo up",
        "ip link add here type veth peer name there",
        "ip link set there up",
        f"ip addr add {_HERE}/24 dev here",
        "ip link set here arp off up",  # packets leave without anybody being found behind it
        f"ip route add default via {_NEXT}",
    ):
        subprocess.run(line.split(), check=True)
    with tempfile.NamedTemporaryFile("w", delete=False) as file:
        file.write(f"nameserver {_SERVER}\noptions timeout:1 attempts:1\n")
    subprocess.run(["mount", "--bind", file.name, "/etc/resolv.conf"], check=True)


def _answer(question: bytes, asked: set[str]) -> bytes:
    labels, at = [], 12
    while size := question[at]:
        labels.append(question[at + 1 : at + 1 + size].decode("ascii", "replace"))
        at += size + 1
    asked.add(".".join(labels))
    (kind,) = struct.unpack_from(">H", question, at + 1)
    known = kind == 1  # an IPv4 address
    head = question[:2] + struct.pack(">HHHHH", 0x8180, 1, int(known), 0, 0)
    record = struct.pack(">HHHIH", 0xC00C, 1, 1, 1, 4) + socket.inet_aton(_ANSWER)
    return head + question[12 : at + 5] + record * known


def _serve_names(asked: set[str]) -> None:
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind((_SERVER, 53))
    streams = socket.create_server((_SERVER, 53))

    def by_datagram() -> None:
        while True:
            question, peer = datagrams.recvfrom(4096)
            datagrams.sendto(_answer(question, asked), peer)

    def by_stream() -> None:
        while True:
            connection, _ = streams.accept()
            with connection, connection.makefile("rwb") as file:
                (size,) = struct.unpack(">H", file.read(2))
                answer = _answer(file.read(size), asked)
                file.write(struct.pack(">H", len(answer)) + answer)

    for target in (by_datagram, by_stream):
        threading.Thread(target=target, daemon=True).start()


def _watch_packets(called: set[str]) -> None:
    every = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0003))
    every.bind(("here", 0x0003))

    def read() -> None:
        while True:
            packet, (_, protocol, *_) = every.recvfrom(65535)
            if protocol == _IPV4:
                called.add(socket.inet_ntoa(packet[16:20]))
            elif protocol == _IPV6:
                address = socket.inet_ntop(socket.AF_INET6, packet[24:40])
                # The system itself looks for neighbours.
                if not address.startswith("ff02:"):
                    called.add(address)

    threading.Thread(target=read, daemon=True).start()


def _main() -> None:
    asked: set[str] = set()
    called: set[str] = set()
    _make_network()
    _watch_packets(called)
    _serve_names(asked)
    done = subprocess.run(sys.argv[1:], capture_output=True, text=True, check=False)
    time.sleep(_LATE_SECONDS)
    found = {"status": done.returncode, "output": done.stdout + done.stderr,
             "asked": sorted(asked), "called": sorted(called)}  # fmt: skip
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    _main()
