"""Tables that fit the width they are shown in: no column without width, no name cut off."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

__all__ = ["FittingTable", "rounded", "table", "within_height"]

_BETWEEN = 3  # a border and two spaces for each column, and one more border
_LEAST_FOLDED = 8  # columns for a name that has to be folded
_LEAST_TEXT = 20  # a cell of several words is wrapped down to this


class FittingTable:
    """Rows of texts, laid out for the width of the terminal.

    Where the table is too wide, headers and cells of several words are wrapped, then the columns in
    ``leave_out`` go one by one, and a line says which. What still has no room comes in further
    tables with the same first column, whose names are folded as a last resort, never cut off.

    Args:
        leave_out: titles of the columns that may go, the first one first.
    """

    def __init__(self, title: str, columns: Sequence[str], leave_out: Sequence[str] = ()) -> None:
        self.title, self.columns = title, list(columns)
        self.left = {0}
        """Numbers of the columns that are flush left; the first one, where names stand."""
        self._leave_out = [column for column in leave_out if column in columns]
        self._rows: list[list[str]] = []
        self._sections: set[int] = set()

    def add_row(self, *cells: str) -> None:
        """Add a row; columns without a cell stay empty."""
        self._rows.append([*cells, *[""] * (len(self.columns) - len(cells))])

    def add_section(self) -> None:
        """Draw a line below the rows so far."""
        self._sections.add(len(self._rows) - 1)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown, gone = self._shown(options.max_width)
        for number, group in enumerate(self._groups(shown, options.max_width)):
            yield self._laid_out(group, options.max_width, first=number == 0)
        if gone:
            yield Text(f"no room for: {', '.join(gone)}", style="dim")

    def _shown(self, width: int) -> tuple[list[int], list[str]]:
        """The columns that are shown, and the titles of those left out for this width."""
        shown, gone = list(range(len(self.columns))), list[str]()
        for title in self._leave_out:
            if _total([self._name(width), *map(self._least, shown[1:])]) <= width:
                break
            shown.remove(self.columns.index(title))
            gone.append(title)
        for title in reversed(gone[:-1]):  # a narrow one may fit after a wide one has gone
            more = sorted([*shown, self.columns.index(title)])
            if _total(map(self._least, more)) <= width:
                shown = more
                gone.remove(title)
        return shown, gone

    def _groups(self, shown: list[int], width: int) -> list[list[int]]:
        """The columns of each table; more than one where the width is not enough for one."""
        first, groups = shown[0], [shown[:1]]
        words = [cell_len(word) for text in self._texts(first) for word in text.split()]
        name = min(self._name(width), max(_LEAST_FOLDED, *words))
        for column in shown[1:]:
            least = [name, *map(self._least, [*groups[-1][1:], column])]
            if _total(least) > width and len(groups[-1]) > 1:
                groups.append([first])
            groups[-1].append(column)
        return groups

    def _name(self, width: int) -> int:
        """The width of the first column, of which longer names are folded."""
        return min(self._least(0), max(_LEAST_FOLDED, width * 2 // 5))

    def _laid_out(self, group: list[int], width: int, *, first: bool) -> Table:
        wanted = [self._natural(column) for column in group]
        # Headers are wrapped before cells are.
        for least_of in (self._of_cells, self._least):
            least = list(map(least_of, group))
            while (excess := _total(wanted) - width) > 0 and wanted != least:
                widest = max(
                    (n for n in range(len(group)) if wanted[n] > least[n]), key=wanted.__getitem__
                )
                wanted[widest] = max(least[widest], wanted[widest] - excess)
        if excess > 0:
            wanted[0] = max(_LEAST_FOLDED, wanted[0] - excess)
        made = Table(
            title=self.title if first else None, title_justify="left", header_style="bold",
            box=box.HEAVY_HEAD,
        )  # fmt: skip
        for column, size in zip(group, wanted, strict=True):
            made.add_column(
                self.columns[column], width=size, overflow="fold",
                justify="left" if column in self.left else "right",
            )  # fmt: skip
        for number, row in enumerate(self._rows):
            made.add_row(*(row[column] for column in group), end_section=number in self._sections)
        return made

    def _texts(self, column: int) -> list[str]:
        return [self.columns[column], *(row[column] for row in self._rows)]

    def _natural(self, column: int) -> int:
        lines = [line for text in self._texts(column) for line in text.splitlines()]
        return max(1, *map(cell_len, ["", *lines]))

    def _of_cells(self, column: int) -> int:
        """The width at which no cell is wrapped, and no word of the header is broken."""
        header, *cells = self._texts(column)
        lines = [line for cell in cells for line in cell.splitlines()]
        return max(1, *map(cell_len, ["", *lines, *header.split()]))

    def _least(self, column: int) -> int:
        """The width at which no word is broken; numbers, names and short texts are not wrapped."""
        of_cells = self._of_cells(column)
        if column == 0 or of_cells <= _LEAST_TEXT:
            return of_cells
        words = [word for text in self._texts(column) for word in text.split()]
        return max(_LEAST_TEXT, *map(cell_len, words))


def _total(widths: Iterable[int]) -> int:
    return sum(width + _BETWEEN for width in widths) + 1


def table(title: str, *columns: str, leave_out: Sequence[str] = ()) -> FittingTable:
    """A table whose first column is text and whose others are numbers.

    Args:
        leave_out: titles of the columns that may go where there is no room, the first one first.
    """
    return FittingTable(title, columns, leave_out)


def rounded(value: float | None, digits: int) -> str:
    """A number with this many decimals; empty for ``None``."""
    return "" if value is None else f"{value:.{digits}f}"


def within_height(
    make: Callable[[int], RenderableType], count: int, console: Console
) -> RenderableType:
    """What ``make`` shows of the most rows of ``count`` for which it is not cut off below."""
    for rows in range(count, 1, -1):
        made = make(rows)
        if len(console.render_lines(made, pad=False)) < console.height:
            return made
    return make(1)
