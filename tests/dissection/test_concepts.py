"""Lists of concepts: no label is ever shifted."""

from __future__ import annotations

from pathlib import Path

import pytest

from dissection.probing import ConceptList, concept_list
from explainers.errors import InvalidInput


def test_blank_and_repeated_lines_shift_nothing(tmp_path: Path) -> None:
    path = tmp_path / "my.words.txt"
    path.write_bytes("\ufeffdog\r\n\r\n  cat \r\ndog\r\n\tred  car\r\n".encode())
    found = concept_list(str(path))
    assert found == ConceptList("my", ("dog", "cat", "red  car"))
    assert found.sha256 != ConceptList("my", ("cat", "dog", "red  car")).sha256


def test_lists_by_name() -> None:
    assert concept_list("classes", class_names=["tench", "crane", "crane"]).words == (
        "tench", "crane",
    )  # fmt: skip
    words = concept_list("english:500")
    assert (words.name, len(words.words)) == ("english500", 500)
    assert len(set(words.words)) == 500
    assert {"house", "water"} <= set(words.words)
    assert not any(len(word) < 2 or any(c.isdigit() for c in word) for word in words.words)


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "is empty"), (b"\n \n", "is empty"), (b"\xff\xfe\x00", "UTF-8")]
)
def test_files_without_concepts(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=message):
        concept_list(str(path))


def test_wrong_calls(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        concept_list(str(tmp_path / "none.txt"))
    with pytest.raises(InvalidInput, match="is empty"):
        concept_list("classes")
    for wrong in ("english:", "english:0", "english:many"):
        with pytest.raises(InvalidInput, match="number of words"):
            concept_list(wrong)
