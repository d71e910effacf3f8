"""optuna-dashboard, where it is installed: its app over a storage, and a study's note and plot."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import optuna

from studies.results.best_trial import has_front
from studies.storage import open_storage
from studies.storage.artifacts import artifact_store

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

__all__ = ["dashboard_app", "is_installed", "name_score", "save_note", "save_plot"]

# A Markdown comment, which is not shown.
_END_OF_OURS = "[//]: # (lime-tuner: what is below this line stays)"
_HINT = "*lime-tuner writes this note anew at each new best; what you add below stays.*"


def is_installed() -> bool:
    """Whether optuna-dashboard is installed."""
    return find_spec("optuna_dashboard") is not None


def dashboard_app(url: str) -> WSGIApplication:
    """Return the dashboard over a storage and its artifacts.

    It reads often and briefly. All our SQLite databases are in WAL mode, so its reads and a
    worker's writes do not block each other; its own writes wait for the worker's commit.

    Raises:
        StorageError, InvalidInput: see :func:`studies.storage.check_storage`.
    """
    import optuna_dashboard

    storage = open_storage(url, write=False)
    app: WSGIApplication = optuna_dashboard.wsgi(storage, artifact_store=artifact_store(url))
    return app


def name_score(study: optuna.Study) -> None:
    """Name the objectives for plots: "score", or "IoU" and "seconds" where there are two."""
    if study.metric_names is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(["IoU", "seconds"] if has_front(study) else ["score"])


def save_note(study: optuna.Study, text: str) -> None:
    """Save Markdown as the study's note; text that people added to the note is kept below it."""
    import optuna_dashboard

    kept = optuna_dashboard.get_note(study)
    _, marked, added = kept.partition(_END_OF_OURS)
    own_words = (added if marked else kept).strip("\n")
    note = f"{text}\n\n{_HINT}\n\n---\n\n{_END_OF_OURS}\n\n{own_words}"
    if note != kept:
        optuna_dashboard.save_note(study, note)


@dataclass(frozen=True)
class _Figure:
    """The one method of a Plotly figure that the dashboard calls; Plotly is slow to import."""

    document: Mapping[str, Any]

    def to_json(self) -> str:
        return json.dumps(self.document, separators=(",", ":"), allow_nan=False)


def save_plot(study: optuna.Study, name: str, figure: Mapping[str, Any]) -> None:
    """Add a plot to the study's plots, or replace the one with that name.

    Args:
        name: letters, digits and hyphens.
        figure: ``data`` and ``layout`` of a Plotly figure.
    """
    import optuna_dashboard

    optuna_dashboard.save_plotly_graph_object(study, _Figure(figure), graph_object_id=name)
