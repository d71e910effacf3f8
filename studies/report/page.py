"""Write the report: one page that opens from disk, figures for print, and tables as CSV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

import jinja2

from explainers.errors import InvalidInput, StorageError
from studies.report.blocks import Chart, Section, Supplement
from studies.report.charts import figures
from studies.report.charts.drawing import Drawing, draw
from studies.report.charts.panels import class_panels, panels
from studies.report.facts import ReportFacts, gather
from studies.report.search import importances
from studies.report.sections import at_a_glance, sections
from studies.report.tables import all_tables, write_tables
from studies.report.wording import counted

__all__ = ["write_report"]

_STEPS = 3
_TEMPLATE = resources.files("studies.report") / "templates/report.html.j2"


def write_report(
    storage: str,
    prefix: str,
    output: Path,
    on_progress: Callable[[str, int, int], None] = lambda what, done, total: None,
    *,
    dissection: Supplement | None = None,
) -> list[Path]:
    """Write ``index.html``, ``figures/`` and ``tables/`` on the studies of a prefix.

    The page names data that are missing. The same database gives the same bytes.

    Args:
        on_progress: called with (the next step, steps done, of how many).
        dissection: section on dissected networks, which another package makes.

    Returns:
        The paths of all written files, ``index.html`` first.

    Raises:
        InvalidInput: the folder cannot be made, or is a file.
        StorageError: the storage cannot be read, or the disk is full.
    """
    if output.exists() and not output.is_dir():
        raise InvalidInput(f"{output} is a file: give a folder with -o")
    on_progress("reading", 0, _STEPS)
    facts = gather(storage, prefix)
    added = dissection or Supplement((), {})
    try:
        output.mkdir(parents=True, exist_ok=True)
        on_progress("sections", 1, _STEPS)
        parts = sections(facts, importances(facts), added.blocks)
        written = write_tables(all_tables(facts) | dict(added.tables), output / "tables")
        on_progress("figures", 2, _STEPS)
        for drawing in _drawings(facts, parts):
            written += drawing.save(output / "figures")
        index = output / "index.html"
        temporary = output / ".index.html.tmp"
        temporary.write_text(_page(facts, parts), encoding="utf-8")
        temporary.replace(index)
        on_progress("done", _STEPS, _STEPS)
    except OSError as error:
        raise StorageError(
            f"the report cannot be written to {output} ({error.strerror})"
        ) from error
    return [index, *written]


def _drawings(facts: ReportFacts, parts: Sequence[Section]) -> list[Drawing]:
    """Return the page's charts, and its pictures side by side for print."""
    found = [block.drawing for part in parts for block in part.blocks if isinstance(block, Chart)]
    images = () if facts.comparison is None else facts.comparison.images
    for name, row_of in (("side_by_side", panels), ("several_classes", class_panels)):
        rows = {image.key: row for image in images if (row := row_of(image))}
        if rows:
            found.append(draw(name, figures.side_by_side, rows))
    return found


def _page(facts: ReportFacts, parts: Sequence[Section]) -> str:
    """Render the page, which needs no other file."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    run = facts.comparison
    when = "" if run is None else f" Compared on {run.at:%Y-%m-%d}."
    return environment.from_string(_TEMPLATE.read_text("utf-8")).render(
        title=f"LIME settings for {facts.prefix}",
        lead=f"{counted(len(facts.studies), 'image')} tuned in {facts.storage}.{when}",
        glance=at_a_glance(run),
        sections=parts,
    )
