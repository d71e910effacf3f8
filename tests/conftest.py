"""Settings and fixtures of the whole suite."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

# Before anything imports tqdm, numpy or torch: the first draws progress bars on stderr, the others
# would start one thread per core for arrays of a few kilobytes.
os.environ["TQDM_DISABLE"] = "1"
for _library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

pytest_plugins = ["tests.studies.databases"]

# Started in the background, as a job or by a service, a process ignores Ctrl-C, and so do all that
# it starts; tests send it to theirs.
signal.signal(signal.SIGINT, signal.default_int_handler)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

    from explainers.classifiers import Classifier


_SMALL = 2**20  # bytes

# No deadline: an example may be the one that imports scikit-learn. No folder of examples either.
settings.register_profile("suite", deadline=None, database=None)
settings.load_profile("suite")


# What takes longest begins first, so that no process is left alone with it at the end.
_FIRST = (
    "test_serve.py", "test_cli.py", "test_full_disk.py", "test_pareto.py",
    "test_service_worker.py", "test_copying.py", "test_documents.py", "test_evaluator.py",
    "test_tuning.py", "test_stored_databases.py", "test_compare.py", "test_cluster.py",
    "test_kill.py", "test_machines.py", "test_workers.py", "test_calibrate.py", "test_grade.py",
    "test_dashboard_open.py", "test_engines.py",
)  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Let xdist keep our order of files; its own begins with those that have many tests."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long first."""
    ranks = {name: rank for rank, name in enumerate(_FIRST)}
    items.sort(key=lambda item: ranks.get(item.path.name, len(ranks)))


def pytest_runtest_setup() -> None:
    """One thread for torch, without importing it for tests that do without."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What tests have measured and converted: seconds of waiting, the same for all."""
    return tmp_path_factory.mktemp("measured")


def _copy(source: Path, target: Path) -> None:
    for name in ("runtime", "engines"):
        for file in sorted((source / name).glob("*")):
            # The demo network's are small; a large one is not copied for every test.
            if file.stat().st_size < _SMALL:
                (target / name).mkdir(parents=True, exist_ok=True)
                shutil.copy(file, target / name)


@pytest.fixture(autouse=True)
def cache(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, measured: Path
) -> Iterator[Path]:
    """The cache folder of this test, empty but for what is ``measured``; never the user's own."""
    from explainers.machine_load import LoadMeter

    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("LIME_TUNER_CACHE", str(folder))
    # Tests in another process keep the machine busy, and nobody here goes by the seconds.
    monkeypatch.setattr(LoadMeter, "was_quiet", lambda meter: True)
    _copy(measured, folder)
    yield folder
    _copy(folder, measured)


@pytest.fixture
def demo_measured(cache: Path, demo_classifier: Classifier) -> Path:
    """``cache`` with the demo network's engine and seconds, for commands in other processes."""
    from explainers.engines import make_engine
    from studies.catalog.demo import DEMO_SEEDS, draw_scene
    from tuner.runtime.calibration import runtime_model_for

    image = draw_scene("house", DEMO_SEEDS["house"]).image
    make_engine(demo_classifier, "auto", image=image, cache=cache / "engines")
    runtime_model_for(demo_classifier, image)
    return cache


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder of photographs and weights that cannot be shipped."""
    named = os.environ.get("LIME_TUNER_ASSETS")
    if named and Path(named).is_dir():
        return Path(named)
    reason = "LIME_TUNER_ASSETS names no folder with images/ and models/"
    if os.environ.get("LIME_TUNER_REQUIRE_ASSETS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def mobilenet(assets: Path) -> Classifier:
    """torchvision's MobileNet V2 with its ImageNet weights."""
    from explainers.classifiers import load_classifier

    weights = assets / "models" / "mobilenet_v2_imagenet.pth"
    return load_classifier("mobilenet_v2", weights=str(weights), device="cpu")


@pytest.fixture(scope="session")
def demo_classifier() -> Classifier:
    """The network that ships with the package."""
    from explainers.classifiers import load_classifier

    return load_classifier("demo", device="cpu")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, for the tests of a module that look at pages."""
    from tests.pages import chromium

    with chromium() as started:
        yield started
