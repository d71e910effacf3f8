"""What a study has found, as Python and notebooks show it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from lime.lime_image import ImageExplanation, LimeImageExplainer

from explainers.classifiers import Classifier
from explainers.errors import InvalidInput
from explainers.lime import LimeParameters, explanation_mask
from studies.dashboard import explanation_picture, photograph_picture
from studies.export import export_pickle
from studies.results.front import FrontPoint
from studies.results.summary import summarise
from tuner.problem import TuningTask
from tuner.runtime.measurement import no_bar
from tuner.study.trial_bar import is_interactive

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["TunedImage", "TuningResult", "result_of"]


@dataclass(frozen=True, eq=False)
class TunedImage:
    """The image of a result.

    Attributes:
        key: its key in the pickle.
        preparation: what was given and what was done to it, in one line.
    """

    key: str
    task: TuningTask
    classifier: Classifier
    preparation: str


@dataclass(frozen=True)
class TuningResult:
    """What a study has found so far.

    A notebook shows it with pictures, numbers and parameters.

    Attributes:
        parameters: those of the best trial.
        best, default: summaries of the best trial and of lime's defaults, as in ``tune --json``.
            The defaults are always among the trials, so the best is never worse.
        trials: finished trials; ``pruned`` of them were stopped early.
        front: the Pareto front of a study with two objectives, fastest first; ``None`` for a
            study with one.
        image: what :func:`tuner.tune` was given; ``None`` for results of other runs.
    """

    parameters: LimeParameters
    best: dict[str, Any]
    default: dict[str, Any]
    trials: int
    pruned: int
    study: optuna.Study
    front: tuple[FrontPoint, ...] | None = None
    image: TunedImage | None = field(default=None, repr=False)

    @property
    def score(self) -> float:
        """The best trial's score."""
        return float(self.best["score"])

    @property
    def iou(self) -> float:
        """The best trial's mean IoU over its seeds."""
        return float(self.best["iou"])

    def explain(self, seed: int = 0) -> ImageExplanation:
        """Stock lime's explanation of the image with the best parameters.

        Args:
            seed: of the explainer; 0 is the first that the trials were scored on.

        Raises:
            InvalidInput: the result is not from :func:`tuner.tune`.
        """
        image = self._image()
        explainer = LimeImageExplainer(random_state=seed)
        arguments = image.task.about(self.parameters).as_kwargs()
        predict = image.classifier.predict_proba
        if is_interactive():  # with lime's own progress bar
            return explainer.explain_instance(image.task.image, predict, **arguments)
        with no_bar():
            return explainer.explain_instance(image.task.image, predict, **arguments)

    def compare(self) -> Figure:
        """Draw what lime marks with its defaults and with the best parameters, side by side.

        Returns:
            A figure that belongs to no window; ``figure.savefig(path)`` writes it.

        Raises:
            InvalidInput: the result is not from :func:`tuner.tune`.
        """
        from tuner.study import result_page  # imports matplotlib, which nothing else here needs

        return result_page.comparison(self, self._explained("default"), self._explained("best"))

    def to_pickle(self, path: str | Path, key: str | None = None) -> str:
        """Write the best parameters as ``lime-tuner export`` does: the ten arguments, by image.

        Args:
            path: of the file, which is replaced.
            key: the image's; by default the name of the photograph's file without its suffix, or
                the end of the study's name where there is no file.

        Returns:
            The key.

        Raises:
            InvalidInput: it cannot be written there, or the result is not from :func:`tuner.tune`.
        """
        image = self._image()
        key = image.key if key is None else key
        export_pickle({key: image.task.about(self.parameters)}, Path(path))
        return key

    def _repr_html_(self) -> str:
        """The result as a notebook shows it; without pictures where there is no image."""
        from tuner.study import result_page

        if self.image is None:
            return result_page.html(self, {})
        task = self.image.task
        shown = {"photograph": photograph_picture(task.image, None)}
        if task.reference.exists:
            shown["reference"] = photograph_picture(task.image, task.reference.mask)
        shown["lime's defaults"] = self._explained("default")
        shown["best"] = self._explained("best")
        return result_page.html(self, shown)

    def _explained(self, which: str) -> Any:
        """(H, W, 3) uint8: the mask of the first seed's explanation over the photograph."""
        task = self._image().task
        found: Mapping[str, Any] = self.best if which == "best" else self.default
        parameters = LimeParameters.from_json(json.dumps(found["parameters"]))
        mask = explanation_mask(task.explain(parameters, 0), task.mask_rule)
        reference = task.reference.mask if task.reference.exists else None
        return explanation_picture(task.image, mask, reference)

    def _image(self) -> TunedImage:
        if self.image is None:
            raise InvalidInput(
                f"this result of study '{self.study.study_name}' has no image at hand: get it from "
                "tune(image, classifier, study=..., storage=...)"
            )
        return self.image


def result_of(study: optuna.Study) -> TuningResult:
    """The result of a study from its stored trials.

    Raises:
        InvalidInput: the study has no finished trial.
    """
    summary = summarise(study)
    if summary is None:
        raise InvalidInput(f"study '{study.study_name}' has no finished trial yet")
    return TuningResult(
        parameters=summary.parameters,
        best=summary.best,
        default=summary.default,
        trials=summary.trials,
        pruned=summary.pruned,
        study=study,
        front=summary.front,
    )
