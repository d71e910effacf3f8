"""The README and the guides, and the blocks of code in them.

``tests/test_documents.py`` runs the blocks as they stand, those of a document one after the other
in one folder. An HTML comment before a block says what else is done with it::

    <!-- not run: REASON -->   only its commands and their options are checked
    <!-- file: NAME -->        it is the content of that file, which later blocks find
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["DOCUMENTS", "ROOT", "Block", "Command", "blocks"]

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = (
    "README.md",
    *(
        str(path.relative_to(ROOT))
        for package in ("explainers", "studies", "tuner", "dissection")
        for path in sorted((ROOT / package).rglob("*.md"))
    ),
)
_BLOCK = re.compile(
    r"(?:^<!-- (?P<what>not run|file): (?P<text>[^\n]+) -->\n\n?)?"
    r"^```(?P<language>\w+)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Command:
    """A command of a shell block.

    Attributes:
        environment: variables that stand before it.
        program: its name without the folder.
    """

    environment: dict[str, str]
    program: str
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        document: path of its document, from the top.
        line: number of its first line of code.
        not_run: why it is not run; empty for a block that is.
        file: name of the file that it is the content of; empty for a block that is not.
    """

    document: str
    line: int
    language: str
    code: str
    not_run: str = ""
    file: str = ""

    @property
    def place(self) -> str:
        return f"{self.document}:{self.line}"

    def commands(self) -> Iterator[Command]:
        """The commands of a shell block, without comments."""
        for line in self.code.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words:
                end = words.index("&&") if "&&" in words else len(words)
                one, words = words[:end], words[end + 1 :]
                environment = {}
                while re.match(r"[A-Z_]+=", one[0]):
                    name, _, environment[name] = one.pop(0).partition("=")
                yield Command(environment, Path(one[0]).name, tuple(one[1:]))


@cache
def blocks(document: str) -> tuple[Block, ...]:
    """All blocks of a document, in order."""
    text = (ROOT / document).read_text("utf-8")
    return tuple(
        Block(
            document,
            text.count("\n", 0, found.start("code")) + 1,
            found["language"],
            found["code"],
            **({} if found["what"] is None else {found["what"].replace(" ", "_"): found["text"]}),
        )
        for found in _BLOCK.finditer(text)
    )
