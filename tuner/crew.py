"""Where jobs run: in this process, in local ones through joblib's loky, or on a Dask cluster."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeAlias, TypeVar

from explainers.errors import InvalidInput, LimeTunerError
from tuner.loading import kept_classifier

__all__ = ["Crew", "LocalCrew", "cluster_crew"]

_T = TypeVar("_T")
_R = TypeVar("_R")
_CONNECT_SECONDS = 10

_NEEDED = (
    "lime.lime_image", "sklearn.gaussian_process", "explainers.engines", "studies.patient_storage",
    "tuner.tuning", "tuner.study_notes",
)  # fmt: skip


class LocalCrew:
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
        import joblib

        # The same number every time: so joblib keeps the processes, and they what they have loaded.
        found: list[_R] = joblib.Parallel(n_jobs=self.workers, backend="loky", batch_size=1)(
            joblib.delayed(work)(item) for item in items
        )
        return found


@dataclass(frozen=True, eq=False)
class _ClusterCrew:
    """The workers of a Dask cluster. What one was at when it was lost runs again on another."""

    client: Any
    workers: int

    def begin(self, classifier_spec: Mapping[str, Any]) -> None:
        """Its processes run already."""

    def run(self, work: Callable[[_T], _R], items: Iterable[_T]) -> list[_R]:
        """``work`` on each item, several at a time; results in order."""
        import joblib

        with joblib.parallel_config(backend="dask", client=self.client, pure=False):
            found: list[_R] = joblib.Parallel(n_jobs=-1, batch_size=1)(
                joblib.delayed(work)(item) for item in items
            )
        return found


Crew: TypeAlias = LocalCrew | _ClusterCrew


@contextmanager
def cluster_crew(address: str, *, one_host: bool) -> Iterator[_ClusterCrew]:
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
        yield _ClusterCrew(client, len(threads))
    finally:
        client.close()


def _warm_up(classifier_spec: dict[str, Any]) -> None:
    """Load what every study needs.

    loky takes for a leak what a process has grown by since its first call, this one, and replaces
    it past 300 MB, which costs seconds. So what is not a leak had better be there by then.
    """
    kept_classifier(classifier_spec)
    for name in _NEEDED:
        import_module(name)
