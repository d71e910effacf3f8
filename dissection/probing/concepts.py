"""Lists of concepts, the possible labels of units."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from explainers.errors import InvalidInput

__all__ = ["ConceptList", "concept_list"]

_ENGLISH = "english"


@dataclass(frozen=True)
class ConceptList:
    """Names of concepts, different and not empty.

    Attributes:
        name: of the list, for tables and the reference's file names.
        words: the concepts, in the order of the text features.

    Raises:
        InvalidInput: there is no concept.
    """

    name: str
    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.words:
            raise InvalidInput(f"concept list '{self.name}' is empty: give one concept a line")

    @property
    def sha256(self) -> str:
        """Sha256 (hex) of the words in order."""
        return hashlib.sha256("\n".join(self.words).encode()).hexdigest()


def concept_list(spec: str, *, class_names: Sequence[str] = ()) -> ConceptList:
    """Load a list of concepts by specification.

    Args:
        spec: ``classes``: the class names of the dissected network; ``english:N``: the N most
            frequent English words of more than one letter (package wordfreq); or a text file with
            one concept a line.
        class_names: for ``classes``.

    Raises:
        InvalidInput: there is no such file or list, it is empty, or wordfreq is not installed.
    """
    if spec == "classes":
        return ConceptList("classes", _unique(class_names))
    if spec.startswith(f"{_ENGLISH}:"):
        return _english(spec)
    return _read(Path(spec))


def _read(path: Path) -> ConceptList:
    """Read one concept a line, stripped; blank and repeated lines are left out.

    Raises:
        InvalidInput: the file cannot be read, is not UTF-8, or holds no concept.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InvalidInput(
            f"concepts {path} cannot be read ({error.strerror}): give a text file with one concept "
            "a line, english:N, or classes"
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"concepts {path} are not UTF-8 text: save the file as UTF-8") from error
    return ConceptList(path.name.split(".")[0], _unique(text.splitlines()))


def _unique(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))


def _english(spec: str) -> ConceptList:
    count = spec.partition(":")[2]
    if not count.isdecimal() or int(count) < 1:
        raise InvalidInput(f"concepts '{spec}': give a number of words, e.g. {_ENGLISH}:20000")
    try:
        from wordfreq import top_n_list
    except ModuleNotFoundError as error:
        raise InvalidInput(
            f"concepts '{spec}' need the package wordfreq: pip install wordfreq, or "
            "give a text file"
        ) from error
    # Twice as many are asked for, because numbers and single letters are left out.
    frequent = top_n_list("en", 2 * int(count) + 100)
    words = [word for word in frequent if len(word) > 1 and word.replace("'", "").isalpha()]
    return ConceptList(f"{_ENGLISH}{count}", _unique(words)[: int(count)])
