"""``lime-tuner portfolio``: the few parameter sets that serve many images."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import optuna
import typer

from explainers.engines import make_engine
from explainers.errors import InvalidInput
from explainers.lime import PredictionCache
from explainers.masks import MaskRule
from explainers.references import Reference
from studies.catalog import load_catalog
from studies.catalog.assets import cache_folder
from studies.catalog.names import CATALOG_KEY
from studies.queries import overview
from studies.results.attributes import LABEL, LABELS
from studies.results.statistics import mean
from studies.storage import open_storage
from tuner.cli.context import Workplace, open_workplace
from tuner.cli.options import (
    AsJson,
    CatalogOptions,
    ClassifierOptions,
    EngineOptions,
    StudyOptions,
    takes_groups,
)
from tuner.cli.output import console, phase, table, work_progress, write_json
from tuner.options import OUTPUT, SEARCH, WHAT
from tuner.portfolio import (
    PORTFOLIO,
    Portfolio,
    ScoredContenders,
    distinct,
    probed_candidates,
    score_candidates,
    stored_candidates,
)
from tuner.problem import CatalogTask, TuningTask
from tuner.runtime.model import RuntimeModel

__all__ = ["portfolio"]

_FIRST_FRESH_SEED = 3_000_017  # explainer seeds from here are used by no trial or verification


@takes_groups
def portfolio(
    catalog: CatalogOptions,
    classifier: ClassifierOptions,
    engine: EngineOptions,
    where: StudyOptions,
    studies: Annotated[
        str | None,
        typer.Option(
            "--studies",
            help="Prefix of the studies to learn from.  [default: the catalogue]",
            rich_help_panel=WHAT,
        ),
    ] = None,
    size: Annotated[
        int, typer.Option(min=1, help="How many parameter sets.", rich_help_panel=SEARCH)
    ] = 5,
    most_samples: Annotated[
        int,
        typer.Option(
            min=16,
            help="Samples of any of them; a portfolio must be cheap to try.",
            rich_help_panel=SEARCH,
        ),
    ] = 96,
    each: Annotated[
        int, typer.Option(min=1, help="Candidates that each study brings.", rich_help_panel=SEARCH)
    ] = 3,
    seeds: Annotated[
        int,
        typer.Option(
            min=1,
            help="Fresh explainer seeds that candidates are scored on.",
            rich_help_panel=SEARCH,
        ),
    ] = 2,
    folds: Annotated[
        int,
        typer.Option(
            min=2, help="Of the images, to be scored on what others chose.", rich_help_panel=SEARCH
        ),
    ] = 5,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="File for tune --portfolio.", rich_help_panel=OUTPUT),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Choose the few parameter sets that serve many images best.

    Candidates are the best settings of stored studies; every image is explained with each of them
    and fresh seeds, with cached predictions where there are some. They are chosen greedily, and
    once more without each fold of the images, to measure them on images that they were not chosen
    for.
    """
    prefix = studies or where.study or load_catalog(catalog.catalog).name
    found = _stored(where.storage, prefix)  # fails before a classifier is loaded
    workspace = open_workplace(catalog, classifier)
    scored, facts = _scored(workspace, found, most_samples, each, seeds, engine.engine)
    folds = min(folds, len(scored.keys))
    if folds < 2:
        raise InvalidInput("a portfolio needs studies of at least two images: tune more")
    made = _made(scored, size, folds, facts)
    _keep(found, made)
    if output is not None:
        output.write_text(made.to_json(), "utf-8")
    if as_json:
        write_json(json.loads(made.to_json()))
    else:
        _show(made, prefix)


def _stored(url: str, prefix: str) -> dict[str, optuna.Study]:
    """The studies ``PREFIX/KEY``, by key."""
    names = [row.study for row in overview(url, prefix) if row.study.startswith(f"{prefix}/")]
    if not names:
        raise InvalidInput(f"there are no studies named {prefix}/…: check --studies and --storage")
    opened = open_storage(url)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return {
        name[len(prefix) + 1 :]: optuna.load_study(study_name=name, storage=opened)
        for name in names
    }


def _scored(
    workspace: Workplace,
    studies: Mapping[str, optuna.Study],
    most_samples: int,
    each: int,
    seeds: int,
    engine: str,
) -> tuple[ScoredContenders, dict[str, Any]]:
    cache = PredictionCache(cache_folder() / "bank")
    try:
        tasks = _tasks(workspace, studies, cache, engine)
        # Studies of images that --images left out bring no candidates.
        studies = {key: found for key, found in studies.items() if key in {*tasks, CATALOG_KEY}}
        candidates = stored_candidates(studies, most_samples, each)
        catalog_study = studies.get(CATALOG_KEY)
        best = {key: studies[key].best_value for key in tasks if key in studies}
        weight = float(next(iter(studies.values())).user_attrs["runtime_weight"])
        with work_progress("candidates") as advance:
            if catalog_study is not None:
                count = each * len(tasks)
                more = probed_candidates(
                    CatalogTask(tasks), catalog_study, most_samples, count, advance
                )
                candidates = distinct([*candidates, *more])
            scored = score_candidates(
                candidates, tasks, best, weight,
                range(_FIRST_FRESH_SEED, _FIRST_FRESH_SEED + seeds), advance,
            )  # fmt: skip
    finally:
        cache.close()
    facts = {
        "images": {key: task.digest for key, task in tasks.items()},
        "classifier": {
            "name": workspace.classifier.name, "sha256": workspace.classifier.fingerprint,
        },
        "reference": next(iter(tasks.values())).reference.rule,
        "runtime_weight": weight,
        "seeds": seeds,
    }  # fmt: skip
    return scored, facts


def _tasks(
    workspace: Workplace,
    studies: Mapping[str, optuna.Study],
    cache: PredictionCache,
    engine: str,
) -> dict[str, TuningTask]:
    """The tasks of images that have a study; of all images if the catalogue has a study."""
    loaded = workspace.load_images()
    catalog_study = studies.get(CATALOG_KEY)
    wanted = [image for image in loaded if image.key in studies or catalog_study is not None]
    facts = next(iter(studies.values())).user_attrs
    if facts["classifier"]["sha256"] != workspace.classifier.fingerprint:
        raise InvalidInput(
            f"the studies were made with another classifier ({facts['classifier']['name']}): give "
            "its --model and --weights"
        )
    if not wanted:
        raise InvalidInput(
            f"none of the catalogue's images has a study here ({', '.join(studies)}): check "
            "--catalog and --studies"
        )
    with phase(f"preparing the engine '{engine}' for {workspace.classifier.name}"):
        source = make_engine(
            workspace.classifier, engine, image=wanted[0].pixels, cache=cache_folder() / "engines"
        )
    references = {
        image.key: Reference.from_json(studies[image.key].user_attrs["reference"])
        for image in wanted
        if image.key in studies
    }
    labels = {} if catalog_study is None else dict(catalog_study.user_attrs.get(LABELS, {}))
    labels |= {key: study.user_attrs.get(LABEL) for key, study in studies.items()}
    missing = [image for image in wanted if image.key not in references]
    if missing:
        references |= workspace.references(
            missing, facts["reference"]["rule"], lambda image: labels.get(image.key)
        )
    return {
        image.key: TuningTask(
            image=image.pixels,
            source=source,
            reference=references[image.key],
            cache=cache,
            runtime_model=RuntimeModel.from_json(facts["runtime_model"]),
            mask_rule=MaskRule(**facts["mask_rule"]),
            class_index=labels.get(image.key),
        )
        for image in wanted
    }


def _made(scored: ScoredContenders, size: int, folds: int, facts: dict[str, Any]) -> Portfolio:
    members = scored.chosen(size)
    reached = scored.scores[members].max(axis=0)
    return Portfolio(
        tuple(scored.contenders[n].parameters for n in members),
        {
            "command": " ".join(["lime-tuner", *sys.argv[1:]]),
            "date": f"{datetime.now(timezone.utc):%Y-%m-%d}",
            **facts,
            "candidates": len(scored.contenders),
            "scores": {
                "best known of each image": asdict(mean(list(scored.best))),
                "best of the portfolio": asdict(mean(list(reached))),
                f"the same on images left out, {folds} folds": asdict(
                    mean(list(scored.left_out(size, folds)))
                ),
                "one after the other": [
                    round(float(scored.scores[members[: n + 1]].max(axis=0).mean()), 4)
                    for n in range(len(members))
                ],
            },
        },
    )


def _keep(studies: Mapping[str, optuna.Study], made: Portfolio) -> None:
    """Store it for ``--portfolio PREFIX``: in the study that has a portfolio, else in the first."""
    for study in studies.values():
        if PORTFOLIO in study.user_attrs:
            study.set_user_attr(PORTFOLIO, made.to_json())
            return
    next(iter(studies.values())).set_user_attr(PORTFOLIO, made.to_json())


def _show(made: Portfolio, prefix: str) -> None:
    scores = dict(made.made["scores"])
    steps = scores.pop("one after the other")
    shown = table(
        f"{prefix}: portfolio from {made.made['candidates']} candidates on "
        f"{len(made.made['images'])} images",
        "superpixels", "hide", "features", "samples", "regressor", "distance", "score so far",
    )  # fmt: skip
    for member, so_far in zip(made.members, steps, strict=True):
        algorithm = member.segmentation
        described = (
            "lime's own"
            if algorithm is None
            else f"{algorithm.algorithm} "
            + ", ".join(f"{name} {value:g}" for name, value in algorithm.parameters)
        )
        shown.add_row(
            described,
            "mean" if member.hide_color is None else str(member.hide_color),
            str(member.num_features) if member.num_features < 1000 else "all",
            str(member.num_samples),
            "lime's" if member.regressor is None else member.regressor.name,
            member.distance_metric,
            f"{so_far:.3f}",
        )
    console.print(shown)
    for name, found in scores.items():
        console.print(f"{name}: {found['mean']:.3f} ({found['low']:.3f} to {found['high']:.3f})")
