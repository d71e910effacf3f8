"""What ``tune --calibrated`` takes from a calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from explainers.errors import InvalidInput
from tuner.cli.output import errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from explainers.classifiers import Classifier
    from studies.assets import StudyImage
    from tuner.runtime_model import RuntimeModel
    from tuner.server_calibration import Calibration

__all__ = ["known_calibration", "server_reference", "server_runtime_model"]


def known_calibration(storage: str, name: str) -> Calibration:
    """The newest calibration of a name.

    Raises:
        InvalidInput: there is none of that name.
    """
    from studies.records import calibration_names, latest_calibration
    from studies.storage import describe
    from tuner.server_calibration import Calibration

    document = latest_calibration(storage, name)
    if document is None:
        names = calibration_names(storage)
        known = f"known are {', '.join(names)}" if names else "none is known: run calibrate first"
        raise InvalidInput(f"calibration '{name}' is not in {describe(storage)}: {known}")
    return Calibration.from_json(document)


def server_reference(name: str, calibration: Calibration, usual: str) -> str:
    """The reference to tune against where none was asked for; says so where it is not learned.

    Args:
        name: of the calibration.
        usual: the catalogue's.
    """
    learned = calibration.verdict.reference
    if learned is None:
        errors.print(
            f"calibration '{name}' names no reference, so {usual} is used "
            f"(calibrate --take RULE chooses one): {calibration.verdict.text}",
            markup=False,
        )
    return learned or usual


def server_runtime_model(
    name: str, calibration: Calibration, classifier: Classifier, images: Sequence[StudyImage]
) -> RuntimeModel:
    """The runtime model in the server's seconds.

    A calibration that knows the line only is completed here: lime's defaults shall cost what the
    line says, and this machine's model shares that out.

    Args:
        name: of the calibration.
    """
    if calibration.runtime_model is not None:
        known = calibration.rules
        if known is not None and known.classifier_sha256 != classifier.fingerprint:
            errors.print(
                f"calibration '{name}' was made with the classifier {known.classifier}, which is "
                f"not this {classifier.name}: its seconds and rules are used all the same",
                markup=False,
            )
        return calibration.runtime_model
    from explainers.lime import LimeParameters, PredictionCache
    from studies.assets import cache_folder
    from tuner.calibration import runtime_model_for
    from tuner.server_runs import mean_parts, superpixel_maps
    from tuner.server_runtime import factors_of_line

    local = runtime_model_for(classifier, images[0].pixels)
    defaults = LimeParameters()
    cache = PredictionCache(cache_folder() / "bank")
    try:
        maps = superpixel_maps([defaults.segmentation], images, cache)
    finally:
        cache.close()
    fixed, per_sample = mean_parts({image.key: defaults for image in images}, maps, local)
    samples, batches = defaults.num_samples, defaults.num_samples / defaults.batch_size
    once, each = factors_of_line(calibration.line, fixed, per_sample, samples, batches)
    errors.print(
        f"calibration '{name}' knows the line only: this machine's runtime model is scaled so that "
        f"lime's defaults cost {calibration.line.seconds(samples, batches):.2f} s",
        markup=False,
    )
    return local.scaled(fixed=once, per_sample=each)
