"""The two streams that commands write to, and JSON documents."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

__all__ = ["console", "errors", "shown_if_interrupted", "write_json"]


class _Output(Console):
    """Standard output; the command ends when its reader closes the pipe."""

    def on_broken_pipe(self) -> None:
        """Raise for the command line to handle; rich would exit with an error status."""
        raise BrokenPipeError


class _Remarks(Console):
    """Standard error; the work goes on when its reader closes the pipe."""

    def on_broken_pipe(self) -> None:
        """Print nothing from now on."""
        self.quiet = True


# A pipe has no width, and the default of 80 columns would fold every table. ``sys.stdout`` is None
# if the program was started with it closed.
_on_terminal = sys.stdout is not None and sys.stdout.isatty()
# Without markup and emoji: names of images, files and studies may contain brackets and colons.
console = _Output(
    highlight=False, markup=False, emoji=False, width=None if _on_terminal else 160
)  # fmt: skip
errors = _Remarks(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


@contextmanager
def shown_if_interrupted(show: Callable[[], None]) -> Iterator[None]:
    """On a terminal, show what there is when Ctrl-C ends the work inside."""
    try:
        yield
    except KeyboardInterrupt:
        if console.is_terminal:
            show()
        raise


def write_json(document: Any) -> None:
    """Write one JSON document to stdout."""
    sys.stdout.write(json.dumps(_plain(document), indent=2) + "\n")


def _plain(document: Any) -> Any:
    """The document with ``None`` for ``nan``, which JSON does not have."""
    if isinstance(document, dict):
        return {name: _plain(value) for name, value in document.items()}
    if isinstance(document, (list, tuple)):
        return [_plain(value) for value in document]
    return None if isinstance(document, float) and math.isnan(document) else document
