"""optuna-dashboard, where it is installed: its app over a storage, and what a study shows in it."""

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
    import optuna
    from _typeshed.wsgi import WSGIApplication

__all__ = ["dashboard_app", "is_installed", "name_score", "save_note", "save_plot"]

# A line that Markdown does not show.
_END_OF_OURS = "[//]: # (lime-tuner: what is below this line stays)"
_HINT = "*lime-tuner writes this note anew at each new best; what you add below stays.*"


def is_installed() -> bool:
    """Whether there is a dashboard to write for."""
    return find_spec("optuna_dashboard") is not None


def dashboard_app(url: str) -> WSGIApplication:
    """The dashboard over a storage and the artifacts beside it.

    It reads short and often: in WAL mode, which every study's database is in, readers and the
    writer do not wait for each other. What people change in it waits for the writer's commit.

    Raises:
        StorageError, InvalidInput: see :func:`studies.storage.check_storage`.
    """
    import optuna_dashboard

    storage = open_storage(url, write=False)
    app: WSGIApplication = optuna_dashboard.wsgi(storage, artifact_store=artifact_store(url))
    return app


def name_score(study: optuna.Study) -> None:
    """Let plots say "score" instead of "Objective 0"; of two objectives "IoU" and "seconds"."""
    if study.metric_names is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(["IoU", "seconds"] if has_front(study) else ["score"])


def save_note(study: optuna.Study, text: str) -> None:
    """Make Markdown the study's note. What people have added to it stays, below."""
    import optuna_dashboard

    kept = optuna_dashboard.get_note(study)
    _, marked, added = kept.partition(_END_OF_OURS)
    own_words = (added if marked else kept).strip("\n")
    note = f"{text}\n\n{_HINT}\n\n---\n\n{_END_OF_OURS}\n\n{own_words}"
    if note != kept:
        optuna_dashboard.save_note(study, note)


@dataclass(frozen=True)
class _Figure:
    """All that the dashboard asks of a Plotly figure; Plotly itself takes a second to import."""

    document: Mapping[str, Any]

    def to_json(self) -> str:
        return json.dumps(self.document, separators=(",", ":"), allow_nan=False)


def save_plot(study: optuna.Study, name: str, figure: Mapping[str, Any]) -> None:
    """Show a plot among the study's own, or replace the one of that name.

    Args:
        name: letters, digits and hyphens.
        figure: ``data`` and ``layout`` of a Plotly figure.
    """
    import optuna_dashboard

    optuna_dashboard.save_plotly_graph_object(study, _Figure(figure), graph_object_id=name)
