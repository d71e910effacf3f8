"""The report in a folder: one page that opens from disk, figures for print, tables as CSV."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from explainers.comparison import LIME_DEFAULT, LIME_TUNED
from explainers.errors import InvalidInput, StorageError
from studies.analysis import methods_of
from studies.report import figures
from studies.report.facts import ReportFacts, gather
from studies.report.panels import panels
from studies.report.search import histories, importances
from studies.report.sections import sections
from studies.report.tables import write_tables

__all__ = ["page", "write_report"]


def write_report(storage: str, prefix: str, output: Path) -> list[Path]:
    """Gather what the storage has of a study prefix, and write ``index.html``, ``figures/`` and
    ``tables/``; what is missing is said on the page.

    The same database gives the same bytes.

    Raises:
        InvalidInput: the folder cannot be made, or is a file.
        StorageError: the storage cannot be read, or the disk is full.
    """
    if output.exists() and not output.is_dir():
        raise InvalidInput(f"{output} is a file: give a folder with -o")
    facts = gather(storage, prefix)
    try:
        output.mkdir(parents=True, exist_ok=True)
        importance = importances(facts)
        written = write_tables(facts, output / "tables")
        written += _write_figures(facts, importance, output / "figures")
        index = output / "index.html"
        temporary = output / ".index.html.tmp"
        temporary.write_text(page(facts, importance), encoding="utf-8")
        temporary.replace(index)
    except OSError as error:
        raise StorageError(
            f"the report cannot be written to {output} ({error.strerror})"
        ) from error
    return [index, *written]


def page(facts: ReportFacts, importance: dict[str, float]) -> str:
    """The page, with everything it needs inside it."""
    import jinja2

    source = resources.files("studies").joinpath("data/report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    run = facts.comparison
    when = "" if run is None else f" Compared on {run.at:%Y-%m-%d}."
    return environment.from_string(source).render(
        title=f"LIME settings for {facts.prefix}",
        lead=f"{len(facts.studies)} studies in {facts.storage}.{when}",
        sections=sections(facts, importance),
    )


def _write_figures(facts: ReportFacts, importance: dict[str, float], folder: Path) -> list[Path]:
    run = facts.comparison
    made = {}
    with figures.style():
        rows = [
            (s.key, s.overview.default_iou, s.overview.best_iou)
            for s in facts.studies
            if s.overview.best_iou is not None
        ]
        if rows:
            made["iou_per_image"] = figures.dumbbells(
                rows, "IoU with the reference", (LIME_DEFAULT, LIME_TUNED)
            )
        scores = {key: values for key, values in histories(facts).items() if values}
        if scores:
            made["search"] = figures.study_histories(scores)
        if importance:
            made["importance"] = figures.importance_bars(importance)
        if run is not None and run.images:
            limes = [m for m in methods_of(run) if m in (LIME_DEFAULT, LIME_TUNED)]
            if limes and any(image.type for image in run.images):
                made["agreement_by_type"] = figures.agreement_by_type(run, limes)
            made["time_against_fidelity"] = figures.time_against_fidelity(run)
            made["agreement_of_methods"] = figures.agreement_heat_map(run)
            made["side_by_side"] = figures.side_by_side([panels(image) for image in run.images])
        for name, figure in made.items():
            figures.save_figure(figure, folder, name)
    return [folder / f"{name}.{suffix}" for name in made for suffix in ("png", "svg")]
