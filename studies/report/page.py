"""The report in a folder: one page that opens from disk, figures for print, tables as CSV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

from explainers.errors import InvalidInput, StorageError
from studies.report.blocks import Chart, Section, Supplement
from studies.report.charts import figures
from studies.report.charts.drawing import Drawing, draw
from studies.report.charts.panels import class_panels, panels
from studies.report.facts import ReportFacts, gather
from studies.report.search import importances
from studies.report.sections import sections
from studies.report.tables import all_tables, write_tables
from studies.report.wording import counted

__all__ = ["drawings", "page", "write_report"]

_STEPS = 3


def write_report(
    storage: str,
    prefix: str,
    output: Path,
    told: Callable[[str, int, int], None] = lambda what, done, total: None,
    *,
    dissection: Supplement | None = None,
) -> list[Path]:
    """Gather what the storage has of a study prefix, and write ``index.html``, ``figures/`` and
    ``tables/``; what is missing is said on the page.

    The same database gives the same bytes.

    Args:
        told: called with what comes next, and how many of how many steps are done.
        dissection: of networks; a room of its own makes it.

    Raises:
        InvalidInput: the folder cannot be made, or is a file.
        StorageError: the storage cannot be read, or the disk is full.
    """
    if output.exists() and not output.is_dir():
        raise InvalidInput(f"{output} is a file: give a folder with -o")
    told("reading", 0, _STEPS)
    facts = gather(storage, prefix)
    try:
        output.mkdir(parents=True, exist_ok=True)
        told("sections", 1, _STEPS)
        blocks = () if dissection is None else dissection.blocks
        parts = sections(facts, importances(facts), blocks)
        tables = all_tables(facts) | ({} if dissection is None else dict(dissection.tables))
        written = write_tables(tables, output / "tables")
        told("figures", 2, _STEPS)
        for drawing in drawings(facts, parts):
            written += drawing.save(output / "figures")
        index = output / "index.html"
        temporary = output / ".index.html.tmp"
        temporary.write_text(page(facts, parts), encoding="utf-8")
        temporary.replace(index)
        told("done", _STEPS, _STEPS)
    except OSError as error:
        raise StorageError(
            f"the report cannot be written to {output} ({error.strerror})"
        ) from error
    return [index, *written]


def drawings(facts: ReportFacts, parts: Sequence[Section]) -> list[Drawing]:
    """The page's charts, and its pictures side by side for print."""
    found = [block.drawing for part in parts for block in part.blocks if isinstance(block, Chart)]
    run = facts.comparison
    if run is not None and run.images:
        rows = {image.key: panels(image) for image in run.images}
        found.append(draw("side_by_side", figures.side_by_side, rows))
        classes = {image.key: row for image in run.images if (row := class_panels(image))}
        if classes:
            found.append(draw("several_classes", figures.side_by_side, classes))
    return found


def page(facts: ReportFacts, parts: Sequence[Section]) -> str:
    """The page, with everything it needs inside it."""
    import jinja2

    source = resources.files("studies.report") / "templates/report.html.j2"
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    run = facts.comparison
    when = "" if run is None else f" Compared on {run.at:%Y-%m-%d}."
    return environment.from_string(source.read_text("utf-8")).render(
        title=f"LIME settings for {facts.prefix}",
        lead=f"{counted(len(facts.studies), 'image')} tuned in {facts.storage}.{when}",
        sections=parts,
    )
