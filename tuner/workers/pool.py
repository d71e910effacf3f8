"""Where jobs run: in this process, in local ones through joblib's loky, or on a Dask cluster."""

from __future__ import annotations

import socket
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeAlias, TypeVar

import joblib

from explainers.errors import InvalidInput, LimeTunerError
from tuner.runtime.freed_memory import give_back_freed_memory
from tuner.study.loading import kept_classifier

__all__ = ["LocalPool", "WorkerPool", "cluster_pool"]

_T = TypeVar("_T")
_R = TypeVar("_R")
_CONNECT_SECONDS = 10
_IDLE_SECONDS = 24 * 3600  # as long as preparing may take

_NEEDED = (
    "lime.lime_image", "sklearn.gaussian_process", "explainers.engines.selection",
    "studies.storage.reconnecting",
    "tuner.tuning", "tuner.study.notes",
)  # fmt: skip


class LocalPool:
    """Processes of this machine; a single worker is this process itself.

    Args:
        workers: how many.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._starting: threading.Thread | None = None

    def begin(self, classifier_spec: Mapping[str, Any]) -> None:
        """Start the processes, and let them load what they need, while this one prepares."""
        if self.workers > 1:
            spec = dict(classifier_spec)
            self._starting = threading.Thread(
                target=lambda: self._parallel(_warm_up, [spec] * self.workers), daemon=True
            )
            self._starting.start()

    def run(self, work: Callable[[_T], _R], items: Iterable[_T]) -> list[_R]:
        """``work`` on each item, several at a time; results in order."""
        if self.workers <= 1:
            return [work(item) for item in items]
        if self._starting is not None:
            self._starting.join()
            self._starting = None
        return self._parallel(work, items)

    def _parallel(self, work: Callable[[_T], _R], items: Iterable[_T]) -> list[_R]:
        with warnings.catch_warnings():
            # Of a process that loky has replaced, between two jobs; nothing is lost by that.
            warnings.filterwarnings("ignore", "A worker stopped while some jobs were given")
            # The same numbers every time: so joblib keeps the processes, and they what they have
            # loaded, also while references of many images are made here.
            parallel = joblib.Parallel(
                n_jobs=self.workers, backend="loky", batch_size=1, idle_worker_timeout=_IDLE_SECONDS
            )
            try:
                found: list[_R] = parallel(joblib.delayed(_tidily)(work, item) for item in items)
            except BrokenProcessPool as error:
                raise LimeTunerError(
                    f"a worker process was killed, mostly because memory was short: give fewer "
                    f"than {self.workers} --workers; what is recorded is kept, and the same "
                    "command goes on from there"
                ) from error
        return found


def _tidily(work: Callable[[_T], _R], item: _T) -> _R:
    """The same, leaving no freed memory behind.

    loky takes for a leak what a process has grown by since its first call, and replaces it past
    300 MB; but freed memory is kept on purpose while a study runs.
    """
    try:
        return work(item)
    finally:
        give_back_freed_memory()


@dataclass(frozen=True, eq=False)
class _ClusterPool:
    """The workers of a Dask cluster. What one was at when it was lost runs again on another."""

    client: Any
    workers: int

    def begin(self, classifier_spec: Mapping[str, Any]) -> None:
        """Its processes run already."""

    def run(self, work: Callable[[_T], _R], items: Iterable[_T]) -> list[_R]:
        """``work`` on each item, several at a time; results in order."""
        with joblib.parallel_config(backend="dask", client=self.client, pure=False):
            found: list[_R] = joblib.Parallel(n_jobs=-1, batch_size=1)(
                joblib.delayed(work)(item) for item in items
            )
        return found


WorkerPool: TypeAlias = LocalPool | _ClusterPool


@contextmanager
def cluster_pool(address: str, *, one_host: bool) -> Iterator[_ClusterPool]:
    """The workers that a Dask scheduler has.

    Args:
        address: ``tcp://HOST:PORT`` of the scheduler.
        one_host: what they share is a file of this machine.

    Raises:
        InvalidInput: Dask is not installed, or the workers are not fit for the job.
        LimeTunerError: nobody answers there.
    """
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        raise InvalidInput(
            "--cluster needs the package distributed: pip install 'lime-tuner[cluster]'"
        ) from error
    connect: Any = Client  # Dask has no type hints
    if "://" not in address:
        raise InvalidInput(f"--cluster {address}: give a scheduler's address, tcp://HOST:8786")
    try:
        client: Any = connect(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:  # TimeoutError is an OSError
        raise LimeTunerError(
            f"no Dask scheduler answers at {address} ({type(error).__name__}): start one with "
            "dask scheduler, and workers with dask worker ADDRESS --nthreads 1"
        ) from error
    try:
        threads = [each["nthreads"] for each in client.scheduler_info(-1)["workers"].values()]
        if not threads:
            raise InvalidInput(
                f"the Dask scheduler at {address} has no workers: dask worker {address} "
                "--nthreads 1"
            )
        if max(threads) > 1:
            raise InvalidInput(
                f"a Dask worker at {address} has {max(threads)} threads, but a study needs a "
                f"process of its own: dask worker {address} --nworkers N --nthreads 1"
            )
        hosts = set(client.run(socket.gethostname).values())
        if one_host and hosts != {socket.gethostname()}:
            raise InvalidInput(
                f"an SQLite storage cannot be shared by {', '.join(sorted(hosts))}: give "
                "--storage postgresql+psycopg://... (lime-tuner copy moves studies there)"
            )
        yield _ClusterPool(client, len(threads))
    finally:
        client.close()


def _warm_up(classifier_spec: dict[str, Any]) -> None:
    """Load what every study needs; after this first call loky begins to look for leaks."""
    kept_classifier(classifier_spec)
    for name in _NEEDED:
        import_module(name)
