"""Workers on machines that share a database and nothing else: networks and names of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from explainers.classifiers import Classifier
from tests.studies.clusters import private_cluster
from tests.tuner.chaos import FINISHED, Witness, trials_of
from tests.tuner.command_line import Cli
from tests.tuner.kills import plan_trials
from tests.tuner.processes import ROOT
from tests.tuner.tiny import MODEL, TUNE_TINY, write_catalogue

KEYS, TRIALS = ("house", "key"), 10
_BRIDGE, _NETWORK = "ltbridge", "10.213.77"


@dataclass(frozen=True)
class Place:
    """A network namespace with a folder; processes in it see another host name."""

    name: str
    folder: Path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """``lime-tuner`` there."""
        return subprocess.Popen(
            ["ip", "netns", "exec", self.name, "unshare", "--uts", "--", "sh", "-c",
             'hostname "$0" && exec "$@"', self.name, sys.executable, "-m", "tuner", *arguments],
            cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "PGAPPNAME": self.name, "PYTHONPATH": str(ROOT),
                 "LIME_TUNER_CACHE": str(self.folder / "cache")},
        )  # fmt: skip


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@contextmanager
def _network(names: tuple[str, ...], folder: Path) -> Iterator[list[Place]]:
    """Machines on one bridge with the root's side, whose address ends in 1."""
    places = []
    try:
        _ip("link", "add", _BRIDGE, "type", "bridge")
        _ip("addr", "add", f"{_NETWORK}.1/24", "dev", _BRIDGE)
        _ip("link", "set", _BRIDGE, "up")
        for number, name in enumerate(names):
            _ip("netns", "add", name)
            places.append(Place(name, folder / name))
            places[-1].folder.mkdir()
            _ip("link", "add", f"ltveth{number}", "type", "veth", "peer", "name", "eth0", "netns",
                name)  # fmt: skip
            _ip("link", "set", f"ltveth{number}", "master", _BRIDGE, "up")
            _ip("-n", name, "addr", "add", f"{_NETWORK}.{number + 2}/24", "dev", "eth0")
            for device in ("eth0", "lo"):
                _ip("-n", name, "link", "set", device, "up")
        yield places
    finally:
        for place in places:
            subprocess.run(["ip", "netns", "del", place.name], check=False)
        subprocess.run(["ip", "link", "del", _BRIDGE], check=False, capture_output=True)


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("unshare") is None,
    reason="network namespaces need root, and the programs ip and unshare",
)
@pytest.mark.usefixtures("tiny_catalogue")
def test_machines_that_share_a_database_finish_a_catalogue(
    here: Path, cli: Cli, tiny_classifier: Classifier
) -> None:
    names = ("lime-lab-a", "lime-lab-b", "lime-lab-c")
    with (
        _network(names, here) as (first, second, third),
        private_cluster("postgresql", (f"{_NETWORK}.1",)) as cluster,
    ):
        url = cluster.url
        cli.ok(*TUNE_TINY, "--images", ",".join(KEYS), "--trials", "1", "--seeds", "2", "--fix",
               "segmentation=slic", "--storage", url)  # fmt: skip
        for place in (first, second, third):
            write_catalogue(place.folder)
        studies = [f"demo/{key}" for key in KEYS]
        plan_trials(url, TRIALS, studies)
        witness = Witness(url)

        # Weights that differ in one number are other weights.
        state = tiny_classifier.module.state_dict()
        torch.save({**state, "head.bias": state["head.bias"] + 1e-3}, third.folder / "other.pth")
        stranger = third.start("worker", "--storage", url, *MODEL, "--weights", "other.pth",
                               "--device", "cpu")  # fmt: skip
        out, err = stranger.communicate(timeout=120)
        assert (stranger.returncode, out) == (2, ""), err
        assert all("sha256" in line for line in err.strip().splitlines())
        assert "Traceback" not in err
        assert not witness.ended_by()

        started = [
            place.start("worker", "--storage", url, "--device", "cpu", "--idle-exit", "0")
            for place in (first, second)
        ]
        try:
            ends = [each.communicate(timeout=240) for each in started]
        finally:
            for each in started:
                each.kill()
                each.wait()
        assert [each.returncode for each in started] == [0, 0], ends
        assert set(witness.ended_by()) == set(names[:2])
        assert set(witness.endings().values()) == {1}
        witness.close()
        for trials in trials_of(url, studies).values():
            assert TRIALS <= sum(t.state in FINISHED for t in trials) <= TRIALS + 1
