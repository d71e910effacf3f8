"""Makes and shows calibrations for ``calibrate``, and reads them for ``tune --calibrated``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from explainers.cam import heat_map
from explainers.classifiers import Classifier
from explainers.engines import make_engine
from explainers.errors import InvalidInput, UnusableReference
from explainers.lime import LimeParameters, PredictionCache
from studies.catalog import Catalog
from studies.catalog.assets import StudyImage, cache_folder
from studies.records import calibration_names, latest_calibration, submissions
from studies.storage import describe
from studies.submission.requests import parse_address
from tuner.cli.context import Workplace
from tuner.cli.output import console, errors, phase, steps_within, table, work_progress
from tuner.runtime.calibration import runtime_model_for
from tuner.runtime.model import RuntimeModel
from tuner.server.answers import KnownAnswer, from_submissions, read_answers
from tuner.server.calibration import Calibration, RuleSearch
from tuner.server.rules import Masks, Verdict, chosen_rule, cut_masks, decide, rank_candidates
from tuner.server.runs import explained_again, mean_parts, superpixel_maps
from tuner.server.runtime import Estimate, factors_of_line, fit_factors, fit_line

__all__ = [
    "calibrated_line", "known_answers", "known_calibration", "run_calibration",
    "server_reference", "server_runtime_model", "show_calibration",
]  # fmt: skip

_SHOWN_CANDIDATES = 10
_DOUBTFUL = 0.1  # leave-one-out error; larger if other processes disturbed the measurement here

Taken = tuple[str, str | None] | None
"""The user's own choice: a reference and, if one was named, a mask rule."""


def known_answers(
    file: Path | None, storage: str, url: str | None, catalog: Catalog
) -> list[KnownAnswer]:
    """The answers in the file and in the records; one that is in both counts once.

    Args:
        url: address of the server whose records count; ``None`` if there is only one.

    Raises:
        InvalidInput: the file is wrong, the records are of several servers, or there is no answer
            at all.
    """
    found = [] if file is None else read_answers(file, catalog.keys)
    base = None if url is None else parse_address(url).base
    recorded = submissions(storage, base)
    servers = sorted({submission.url for submission in recorded})
    if len(servers) > 1:
        raise InvalidInput(
            f"submissions to several servers are recorded ({', '.join(servers)}): choose one with "
            "--url"
        )
    of_records, left_out = from_submissions(recorded, catalog.keys)
    for line in left_out:
        errors.print(line)
    answers: dict[object, KnownAnswer] = {}
    for answer in (*found, *of_records):
        same = (tuple(answer.parameters.values()), answer.avg_iou, answer.avg_time)
        answers.setdefault(same, answer)
    if not answers:
        where = "" if base is None else f" of {base}"
        raise InvalidInput(
            f"no answer{where} is recorded in {describe(storage)}: give --answers FILE, or submit "
            "first"
        )
    return list(answers.values())


def calibrated_line(answers: Sequence[KnownAnswer], catalog: Catalog, taken: Taken) -> Calibration:
    """The calibration without a classifier: the line only.

    Raises:
        InvalidInput: there are fewer than two answers with different numbers of samples.
    """
    verdict = Verdict("not looked for: the answers' seconds were all that was wanted")
    facts = [answer.facts for answer in answers]
    return Calibration(
        catalog=catalog.name,
        answers=facts,
        line=fit_line(facts),
        verdict=verdict if taken is None else chosen_rule((), *taken),
        taken=taken is not None,
    )


def run_calibration(
    workspace: Workplace,
    answers: Sequence[KnownAnswer],
    line: Calibration,
    methods: Sequence[str],
    seeds: int,
    engine: str,
    taken: Taken,
) -> Calibration:
    """The whole calibration: this machine's runtime model in the server's seconds, and the rules.

    Args:
        line: the calibration without a classifier.
        methods: heat maps that references are cut from.
        seeds: number of explainer seeds.
        engine: see ``explainers.engines``.
    """
    images = workspace.load_images()
    # References first, so that an unusable --take fails before the work.
    references, unusable = _references(workspace, images, methods, taken)
    cache = cache_folder()
    with phase("measuring how fast this machine explains"):
        local = runtime_model_for(workspace.classifier, images[0].pixels)
        source = make_engine(
            workspace.classifier, engine, image=images[0].pixels, cache=cache / "engines"
        )
    prediction_cache = PredictionCache(cache / "bank")
    segmentations = [p.segmentation for a in answers for p in a.parameters.values()]
    try:
        with work_progress("superpixels") as advance:
            maps = superpixel_maps(segmentations, images, prediction_cache, advance)
        with work_progress("explaining") as advance:
            runs = explained_again(answers, images, maps, source, prediction_cache, seeds, advance)
    finally:
        prediction_cache.close()
    parts = [mean_parts(answer.parameters, maps, local) for answer in answers]
    factors = fit_factors(parts, [answer.avg_time for answer in answers])
    with work_progress("scoring"):
        candidates = rank_candidates([a.avg_iou for a in answers], runs, references)
    return replace(
        line,
        factors=factors,
        runtime_model=local.scaled(fixed=factors.fixed, per_sample=factors.per_sample),
        rules=RuleSearch(
            classifier=workspace.classifier.name,
            classifier_sha256=workspace.classifier.fingerprint,
            seeds=seeds,
            candidates=candidates,
            compared=len(candidates),
            unusable=unusable,
        ),
        verdict=decide(candidates) if taken is None else chosen_rule(candidates, *taken),
    )


def _references(
    workspace: Workplace,
    images: Sequence[StudyImage],
    methods: Sequence[str],
    taken: Taken,
) -> tuple[dict[str, Masks], list[str]]:
    """The masks of all references, and the references that leave an image without a usable one."""
    maps = _heat_maps(workspace, images, methods)
    references, unusable = cut_masks(maps, {image.key: image.pixels for image in images})
    further = (
        [workspace.catalog.reference] if taken is None else [taken[0], workspace.catalog.reference]
    )
    for rule in further:
        if rule in references or rule in unusable:
            continue
        try:
            made = workspace.references(list(images), rule)
        except UnusableReference:
            unusable.append(rule)
        else:
            references[rule] = {key: reference.mask for key, reference in made.items()}
    if taken is not None and taken[0] in unusable:
        raise InvalidInput(
            f"--take {taken[0]}: it leaves an image of the catalogue without a usable mask, take "
            "another"
        )
    return references, unusable


def _heat_maps(
    workspace: Workplace, images: Sequence[StudyImage], methods: Sequence[str]
) -> dict[str, dict[str, NDArray[np.float32]]]:
    """(H, W) heat maps in [0, 1], by method and key of the image.

    Methods that the classifier does not support are left out, with a message.
    """
    found: dict[str, dict[str, NDArray[np.float32]]] = {}
    total = len(methods) * len(images)
    with work_progress("heat maps") as advance:
        for number, method in enumerate(methods):
            maps = {}
            try:
                for done, image in enumerate(images, start=number * len(images)):
                    what = f"{method}, {image.key}"
                    advance(what, done, total)
                    maps[image.key] = heat_map(
                        workspace.classifier,
                        image.pixels,
                        method,
                        progress=steps_within(advance, what, done, total),
                        at_scale=image.at_scale,
                    )
            except InvalidInput as error:  # several scales of a network that takes one only
                errors.print(f"{method} is left out: {error}")
            else:
                found[method] = maps
    return found


def show_calibration(name: str, calibration: Calibration) -> None:
    """Show runtimes, rules and the verdict.

    Args:
        name: the name that the calibration is stored under.
    """
    _show_runtimes(name, calibration)
    if calibration.rules is not None:
        _show_rules(calibration, calibration.rules)
    console.print(f"reference and mask rule: {calibration.verdict.text}")
    if calibration.rules is not None:
        console.print(
            "all of this means something only if the server's classifier is "
            f"{calibration.rules.classifier}, with the same weights"
        )
    console.print(f"stored as {name}: lime-tuner tune --calibrated {name}")


def _show_runtimes(name: str, calibration: Calibration) -> None:
    line, factors = calibration.line, calibration.factors
    fits = {"line": line.errors}
    if factors is not None:
        fits["scaled model"] = factors.errors
    columns = [title for fit in fits for title in (fit, "error", "from the others")]
    shown = table(f"runtime of {name}, means over images", "answer", "samples", "seconds", *columns)
    for number, answer in enumerate(calibration.answers):
        row = [answer.name, f"{answer.samples:.0f}", f"{answer.avg_time:.3f}"]
        for fit in fits.values():
            row += [f"{fit.fitted[number]:.3f}", f"{fit.relative[number]:+.1%}"]
            row.append("" if fit.left_out is None else f"{fit.left_out[number]:.3f}")
        shown.add_row(*row)
    shown.add_section()
    last = ["leave-one-out error", "", ""]
    for fit in fits.values():
        left_out = fit.leave_one_out
        last += ["", "", "too few" if left_out is None else f"{left_out:.1%}"]
    shown.add_row(*last)
    console.print(shown)
    terms = [
        f"seconds = {_estimate(line.intercept, 1, 's')}",
        f"{_estimate(line.per_sample, 1000, 'ms')} a sample",
    ]
    if line.per_batch is not None:
        terms.append(f"{_estimate(line.per_batch, 1000, 'ms')} a batch")
    console.print(" + ".join(terms))
    if line.intercept.standard_error is None:
        console.print(
            f"{len(calibration.answers)} answers determine the line exactly: one more is needed to "
            "know how uncertain it is"
        )
    if factors is not None:
        how = "common: the answers do not tell them apart" if factors.common else "least squares"
        console.print(
            f"this machine's segmentation and fit × {factors.fixed:.3g}, its perturbation and "
            f"prediction × {factors.per_sample:.3g} ({how})"
        )
        left_out = factors.errors.leave_one_out
        if left_out is not None and left_out > _DOUBTFUL:
            console.print(
                f"the scaled model predicts the answers to {left_out:.0%} only: run this again "
                "while nothing else uses this machine"
            )


def _estimate(estimate: Estimate, scale: float, unit: str) -> str:
    value = f"{estimate.value * scale:.3g}"
    if estimate.standard_error is None or estimate.interval is None:
        return f"{value} {unit}"
    low, high = (bound * scale for bound in estimate.interval)
    error = estimate.standard_error * scale
    return f"{value} ± {error:.2g} {unit} (95 %: {low:.3g} to {high:.3g})"


def _show_rules(calibration: Calibration, rules: RuleSearch) -> None:
    answered = ", ".join(f"{answer.avg_iou:.3f}" for answer in calibration.answers)
    shown = table(
        f"rules that explain the IoUs {answered} best",
        "reference", "mask", "error", "rank correlation", "predicted", "explains",
    )  # fmt: skip
    for candidate in rules.candidates[:_SHOWN_CANDIDATES]:
        correlation = candidate.rank_correlation
        pairs = zip(candidate.predicted, candidate.standard_errors, strict=True)
        shown.add_row(
            " = ".join((candidate.reference, *candidate.same)),
            candidate.mask_rule,
            f"{candidate.error:.4f}",
            "" if correlation is None else f"{correlation:.2f}",
            ", ".join(f"{iou:.3f} ± {error:.3f}" for iou, error in pairs),
            "yes" if candidate.explains else "no",
        )
    console.print(shown)
    console.print(
        f"{rules.compared} candidates compared with {rules.seeds} seeds an image; "
        f"{len(rules.unusable)} references left an image without a usable mask"
    )


def known_calibration(storage: str, name: str) -> Calibration:
    """The newest calibration of this name.

    Raises:
        InvalidInput: there is none.
    """
    document = latest_calibration(storage, name)
    if document is None:
        names = calibration_names(storage)
        known = f"known are {', '.join(names)}" if names else "none is known: run calibrate first"
        raise InvalidInput(f"calibration '{name}' is not in {describe(storage)}: {known}")
    return Calibration.from_json(document)


def server_reference(name: str, calibration: Calibration, baseline: str) -> str:
    """The reference to tune against if none was asked for.

    If the calibration has none, that is printed, and the baseline is used.

    Args:
        name: name of the calibration.
        baseline: the catalogue's reference.
    """
    learned = calibration.verdict.reference
    if learned is None:
        errors.print(
            f"calibration '{name}' names no reference, so {baseline} is used "
            f"(calibrate --take RULE chooses one): {calibration.verdict.text}"
        )
    return learned or baseline


def server_runtime_model(
    name: str, calibration: Calibration, classifier: Classifier, images: Sequence[StudyImage]
) -> RuntimeModel:
    """The runtime model in the server's seconds.

    If the calibration has only the line, this machine's model is scaled so that lime's defaults
    cost the seconds that the line gives.

    Args:
        name: name of the calibration.
    """
    if calibration.runtime_model is not None:
        known = calibration.rules
        if known is not None and known.classifier_sha256 != classifier.fingerprint:
            errors.print(
                f"calibration '{name}' was made with the classifier {known.classifier}, which is "
                f"not this {classifier.name}: its seconds and rules are used all the same"
            )
        return calibration.runtime_model
    with phase("measuring how fast this machine explains"):
        local = runtime_model_for(classifier, images[0].pixels)
    defaults = LimeParameters()
    prediction_cache = PredictionCache(cache_folder() / "bank")
    try:
        maps = superpixel_maps([defaults.segmentation], images, prediction_cache)
    finally:
        prediction_cache.close()
    fixed, per_sample = mean_parts({image.key: defaults for image in images}, maps, local)
    samples, batches = defaults.num_samples, defaults.num_samples / defaults.batch_size
    once, each = factors_of_line(calibration.line, fixed, per_sample, samples, batches)
    errors.print(
        f"calibration '{name}' knows the line only: this machine's runtime model is scaled so that "
        f"lime's defaults cost {calibration.line.seconds(samples, batches):.2f} s"
    )
    return local.scaled(fixed=once, per_sample=each)
