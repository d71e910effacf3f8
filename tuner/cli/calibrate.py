"""``lime-tuner calibrate``: learn from a grading server's answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from explainers.errors import InvalidInput
from tuner.cli import options
from tuner.cli.context import DEFAULT_CATALOG, Workplace, open_workplace
from tuner.cli.output import errors, work_progress, write_json
from tuner.cli.settings import setting

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from studies.assets import StudyImage
    from studies.catalog import Catalog
    from studies.records import Submitted
    from tuner.server_answers import KnownAnswer
    from tuner.server_calibration import Calibration
    from tuner.server_rules import Masks

__all__ = ["calibrate", "run_calibration"]


def calibrate(
    answers: Annotated[
        Path | None,
        typer.Option(help="JSON file of parameter sets and what the server answered."),
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Of recorded submissions, only those to this server.")
    ] = None,
    catalog: options.Catalog = None,
    assets: options.Assets = None,
    model: options.Model = None,
    weights: options.Weights = None,
    device: options.Device = None,
    cam_layer: options.CamLayer = None,
    engine: options.Engine = None,
    storage: options.Storage = None,
    name: Annotated[str, typer.Option(help="What the calibration is called.")] = "server",
    methods: Annotated[
        str | None,
        typer.Option(
            help="Heat maps that the server may cut its masks from, separated by commas.  "
            "[default: those of one scale that take a few passes, and multiscale]"
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=2, help="Explainer seeds of every image and parameter set.")
    ] = 3,
    runtime_only: Annotated[
        bool,
        typer.Option(
            "--runtime-only",
            help="Only the line through the seconds; needs no classifier and no photographs.",
        ),
    ] = False,
    take: Annotated[
        str | None,
        typer.Option(
            help="Reference to tune with, whatever the answers say: METHOD@RULE, or with one of "
            "positive5, positive10, heaviest5, heaviest10 for masks: METHOD@RULE:positive10."
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Fit runtime and reference rule to what a grading server has answered.

    Answers come from --answers and from what submit has recorded in the storage. What is found is
    kept there, for tune --calibrated.
    """
    from explainers.cam import check_method
    from studies.catalog import load_catalog
    from studies.records.calibrations import add_calibration, check_calibration_name
    from studies.storage import DEFAULT_STORAGE, check_storage
    from tuner.server_calibration import parse_take
    from tuner.server_rules import METHODS

    check_calibration_name(name)
    wanted = METHODS
    if methods is not None:
        wanted = tuple(dict.fromkeys(each.strip() for each in methods.split(",") if each.strip()))
    for each in wanted:
        check_method(each)
    taken = None if take is None else parse_take(take)
    storage_url = setting("storage", storage, DEFAULT_STORAGE)
    check_storage(storage_url, write=True)
    source = load_catalog(setting("catalog", catalog, DEFAULT_CATALOG))
    known = known_answers(answers, storage_url, setting("url", url), source)
    line = calibrated_line(known, source, taken)  # what cannot be fitted is told before the work
    if runtime_only:
        found = line
    else:
        place = open_workplace(
            catalog=catalog, assets=assets, model=model, weights=weights, device=device,
            cam_layer=cam_layer,
        )  # fmt: skip
        chosen = setting("engine", engine, "auto")
        found = run_calibration(place, known, line, wanted, seeds, chosen, taken)
    document = found.to_json()
    add_calibration(storage_url, name, document)
    if as_json:
        write_json({"name": name, **document})
    else:
        from tuner.cli.calibration_tables import show_calibration

        show_calibration(name, found)


def known_answers(
    file: Path | None, storage: str, url: str | None, catalog: Catalog
) -> list[KnownAnswer]:
    """Of the file and of the records; one that is in both counts once.

    Raises:
        InvalidInput: the file is wrong, the records are of several servers, or there is no answer
            at all.
    """
    from studies.server_address import parse_address
    from studies.storage import describe
    from tuner.server_answers import from_submissions, read_answers

    found = [] if file is None else read_answers(file, catalog.keys)
    recorded, left_out = from_submissions(_recorded(storage, url), catalog.keys)
    for line in left_out:
        errors.print(line, markup=False)
    told_apart: dict[Any, KnownAnswer] = {}
    for answer in (*found, *recorded):
        same = (tuple(answer.parameters.values()), answer.avg_iou, answer.avg_time)
        told_apart.setdefault(same, answer)
    answers = list(told_apart.values())
    if not answers:
        where = f" of {parse_address(url).base}" if url is not None else ""
        raise InvalidInput(
            f"no answer{where} is recorded in {describe(storage)}: give --answers FILE, or submit "
            "first"
        )
    return answers


def _recorded(storage: str, url: str | None) -> Sequence[Submitted]:
    """Of one server: another has another clock and other masks."""
    from studies.records import submissions
    from studies.server_address import parse_address

    if url is not None:
        return submissions(storage, parse_address(url).base)
    found = submissions(storage)
    servers = sorted({submission.url for submission in found})
    if len(servers) > 1:
        raise InvalidInput(
            f"submissions to several servers are recorded ({', '.join(servers)}): choose one with "
            "--url"
        )
    return found


def calibrated_line(
    answers: Sequence[KnownAnswer], catalog: Catalog, taken: tuple[str, str | None] | None
) -> Calibration:
    """What can be said without a classifier.

    Raises:
        InvalidInput: fewer than two answers with different numbers of samples.
    """
    from tuner.server_calibration import AnswerFacts, Calibration, chosen_rule
    from tuner.server_rules import Verdict
    from tuner.server_runtime import fit_line

    verdict = Verdict("not looked for: the answers' seconds were all that was wanted")
    if taken is not None:
        verdict = chosen_rule((), *taken)
    return Calibration(
        catalog=catalog.name,
        answers=tuple(AnswerFacts.of(answer) for answer in answers),
        line=fit_line([answer.timed for answer in answers]),
        verdict=verdict,
        taken=taken is not None,
    )


def run_calibration(
    place: Workplace,
    answers: Sequence[KnownAnswer],
    line: Calibration,
    methods: Sequence[str],
    seeds: int,
    engine: str,
    taken: tuple[str, str | None] | None,
) -> Calibration:
    """All of it: this machine's runtime model in the server's seconds, and the rules.

    Args:
        line: what is known without a classifier.
        methods: heat maps that references are cut from.
        seeds: explainer seeds 0, 1, ...
        engine: see ``explainers.engines``.
        taken: the user's own choice of a reference and a mask rule.
    """
    from dataclasses import replace

    from explainers.engines import make_engine
    from explainers.lime import PredictionCache
    from studies.assets import cache_folder
    from tuner.calibration import runtime_model_for
    from tuner.server_calibration import RuleSearch, chosen_rule
    from tuner.server_rules import decide, rank_candidates
    from tuner.server_runs import explained_again, local_parts, superpixel_maps
    from tuner.server_runtime import fit_factors

    images = place.load_images()
    # References come first: one that was asked for and cannot be used is told before the work.
    references, unusable = _references(place, images, methods, taken)
    local = runtime_model_for(place.classifier, images[0].pixels)
    cache = cache_folder()
    source = make_engine(place.classifier, engine, image=images[0].pixels, cache=cache / "engines")
    prediction_cache = PredictionCache(cache / "bank")
    segmentations = [p.segmentation for a in answers for p in a.parameters.values()]
    try:
        with work_progress("superpixels") as advance:
            maps = superpixel_maps(segmentations, images, prediction_cache, advance)
        with work_progress("explaining") as advance:
            runs = explained_again(answers, images, maps, source, prediction_cache, seeds, advance)
    finally:
        prediction_cache.close()
    factors = fit_factors(local_parts(answers, maps, local))
    with work_progress("scoring"):
        candidates = rank_candidates([a.avg_iou for a in answers], runs, references)
    return replace(
        line,
        factors=factors,
        runtime_model=local.scaled(fixed=factors.fixed, per_sample=factors.per_sample),
        rules=RuleSearch(
            classifier=place.classifier.name,
            classifier_sha256=place.classifier.fingerprint,
            seeds=seeds,
            candidates=tuple(candidates),
            compared=len(candidates),
            unusable=tuple(unusable),
        ),
        verdict=decide(candidates) if taken is None else chosen_rule(candidates, *taken),
    )


def _references(
    place: Workplace,
    images: Sequence[StudyImage],
    methods: Sequence[str],
    taken: tuple[str, str | None] | None,
) -> tuple[dict[str, Masks], list[str]]:
    """All candidates' masks, and the references that leave an image without a usable one."""
    from explainers.errors import UnusableReference
    from tuner.server_rules import cut_masks

    maps = _heat_maps(place, images, methods)
    references, unusable = cut_masks(maps, {image.key: image.pixels for image in images})
    further = [place.catalog.reference] if taken is None else [taken[0], place.catalog.reference]
    for rule in further:
        if rule in references or rule in unusable:
            continue
        try:
            made = place.references(list(images), rule)
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
    place: Workplace, images: Sequence[StudyImage], methods: Sequence[str]
) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Every method's map of every image, (H, W) in [0, 1].

    A method that the classifier cannot be asked with is left out, and that is said.
    """
    from explainers.cam import heat_map
    from tuner.cli.output import steps_within

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
                        place.classifier,
                        image.pixels,
                        method,
                        progress=steps_within(advance, what, done, total),
                        at_scale=image.at_scale,
                    )
            except InvalidInput as error:  # several scales of a network that takes one only
                errors.print(f"{method} is left out: {error}", markup=False)
            else:
                found[method] = maps
    return found
