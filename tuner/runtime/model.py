"""Predicts the seconds of one explanation without running it.

seconds = superpixels + samples × (perturb + classify at the batch size) + fits. The constants are
measured once on a machine (:mod:`tuner.runtime.measurement`) with the classifier that will be used,
and stored with the study. So the runtime of a parameter set does not depend on what is cached, and
the same stored model gives the same scores.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np

from explainers.errors import InvalidInput
from explainers.lime import LimeParameters, Segmentation

__all__ = ["DEFAULT_SEGMENTATION", "RuntimeModel", "RuntimeParts"]

DEFAULT_SEGMENTATION = Segmentation.of("quickshift", kernel_size=4, max_dist=200, ratio=0.2)
"""What lime uses when it is given no segmentation."""

_FORWARD_SELECTION_UP_TO = 6  # lime's 'auto' uses forward selection up to this many features


@dataclass(frozen=True)
class RuntimeParts:
    """Seconds of one explanation, by cause."""

    segmentation: float
    perturbation: float
    prediction: float
    fit: float

    @property
    def total(self) -> float:
        return self.segmentation + self.perturbation + self.prediction + self.fit

    def as_dict(self) -> dict[str, float]:
        """Seconds by name, for storage."""
        return asdict(self)


@dataclass(frozen=True)
class RuntimeModel:
    """Measured constants; see the module's formula.

    Attributes:
        device: the device they were measured on.
        segmentation: seconds per unit of ``Segmentation.work``, by algorithm.
        perturb: seconds a sample, and seconds a sample and superpixel (lime compares the whole
            map once for every superpixel that is off).
        predict: seconds a sample at each measured batch size; log-interpolated between.
        fit: seconds of one small Ridge fit: constant, and per sample × feature.
        doubt: why these seconds should not be trusted, in words; ``None`` if they can be.
    """

    device: str
    segmentation: Mapping[str, float]
    perturb: tuple[float, float]
    predict: Mapping[int, float]
    fit: tuple[float, float]
    doubt: str | None = None

    def parts(self, parameters: LimeParameters, superpixels: int, pixels: int) -> RuntimeParts:
        """Seconds of stock lime with these parameters.

        Args:
            superpixels: how many the segmentation gives on the image.
            pixels: height × width of the image.

        Raises:
            InvalidInput: the model was measured before this segmentation algorithm was known.
        """
        segmentation = parameters.segmentation or DEFAULT_SEGMENTATION
        if segmentation.algorithm not in self.segmentation:
            raise InvalidInput(
                f"the runtime model knows no seconds of {segmentation.algorithm}, only of "
                f"{', '.join(sorted(self.segmentation))}: tune under another name with --study"
            )
        samples = parameters.num_samples
        per_sample, per_superpixel = self.perturb
        perturb = samples * (per_sample + per_superpixel * superpixels / 2)
        if parameters.hide_color is None:
            perturb += 4 * per_superpixel * superpixels  # the mean colours, once
        labels = len(parameters.labels) if not parameters.top_labels else parameters.top_labels
        return RuntimeParts(
            segmentation=self.segmentation[segmentation.algorithm] * segmentation.work(pixels),
            perturbation=perturb,
            prediction=samples * self._predict_seconds(min(parameters.batch_size, samples)),
            fit=labels * self._fit_seconds(parameters, superpixels),
        )

    def _predict_seconds(self, batch: int) -> float:
        sizes = sorted(self.predict)
        return float(np.interp(np.log(batch), np.log(sizes), [self.predict[s] for s in sizes]))

    def _fit_seconds(self, parameters: LimeParameters, superpixels: int) -> float:
        constant, slope = self.fit
        samples, count = parameters.num_samples, min(parameters.num_features, superpixels)
        seconds = constant + slope * samples * count  # the explanation itself
        if parameters.num_features <= _FORWARD_SELECTION_UP_TO:
            for chosen in range(count):
                seconds += (superpixels - chosen) * (constant + slope * samples * (chosen + 1))
        else:
            seconds += constant + slope * samples * superpixels
        return seconds

    def scaled(self, *, fixed: float, per_sample: float) -> RuntimeModel:
        """The model of a slower or faster machine.

        Args:
            fixed: factor of segmentation and fit, which happen once an explanation.
            per_sample: factor of perturbation and prediction.
        """
        return replace(
            self,
            segmentation={name: fixed * value for name, value in self.segmentation.items()},
            perturb=(per_sample * self.perturb[0], per_sample * self.perturb[1]),
            predict={size: per_sample * value for size, value in self.predict.items()},
            fit=(fixed * self.fit[0], fixed * self.fit[1]),
        )

    def to_json(self) -> str:
        """One line of JSON."""
        document = asdict(self)
        if self.doubt is None:
            del document["doubt"]
        return json.dumps(document, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> RuntimeModel:
        """The inverse of :meth:`to_json`.

        Raises:
            InvalidInput: the text is not a runtime model.
        """
        try:
            document = json.loads(text)
            few, many = document["perturb"]
            constant, slope = document["fit"]
            model = cls(
                device=str(document["device"]),
                segmentation={str(k): float(v) for k, v in document["segmentation"].items()},
                perturb=(float(few), float(many)),
                predict={int(k): float(v) for k, v in document["predict"].items()},
                fit=(float(constant), float(slope)),
                doubt=document.get("doubt"),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidInput(
                f"the stored runtime model is damaged ({type(error).__name__}: {error}): "
                "tune under another name with --study"
            ) from error
        if not model.predict:
            raise InvalidInput("the stored runtime model has no seconds of any batch size")
        return model
