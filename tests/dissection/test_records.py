"""What is recorded of a dissected network is read back."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from dissection.labels import (
    ClassTruth,
    Dissection,
    LayerDescription,
    Unit,
    add_dissection,
    latest_dissections,
)
from dissection.report import dissection_part
from studies.report import Chart, Picture, Table, Text
from studies.storage import open_storage

UNITS = (
    Unit(0, ("dog", "cat"), (0.5, 0.25), 0.01, 0.02, 0.9, True),
    Unit(1, (), ()),
    Unit(2, ("red", "dog"), (0.75, 0.125), 0.5, 0.6, 0.3, False),
    Unit(3, ("dog", "red"), (0.4, 0.1), 0.01, 0.02, 0.8, True),
)


def dissection(model: str, *, sheet: bytes | None = None) -> Dissection:
    return Dissection(
        at=datetime(2026, 11, 22, 3, 4, 5, tzinfo=timezone.utc),
        model=model,
        layers=(
            LayerDescription(
                model, "layer4", UNITS, 0.1, by_size=((20, 0.5), (50, 0.75)),
                truth=ClassTruth(3, 0.5, 1.0, 1.5),
            ),
            LayerDescription(model, "fc", UNITS[2:]),
        ),
        probe="broden",
        concept_list="20k",
        similarity="soft_wpmi",
        settings={"top": 2},
        package_versions={"torch": "2"},
        classifier_sha256="a" * 64,
        probe_sha256="b" * 64,
        images=600,
        concepts=3,
        sheets={} if sheet is None else {("layer4", 2): sheet},
    )  # fmt: skip


def test_what_is_recorded_is_read_back(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    open_storage(url)
    assert latest_dissections(url) == []
    add_dissection(url, replace(dissection("one"), images=7))
    add_dissection(url, dissection("two"))
    add_dissection(url, dissection("one", sheet=b"jpeg"))
    one, two = latest_dissections(url)
    assert (one.model, two.model) == ("one", "two")
    expected = dissection("one", sheet=b"jpeg")
    for name in (
        "at", "probe", "concept_list", "similarity", "settings", "package_versions", "images",
        "classifier_sha256", "probe_sha256", "concepts", "sheets",
    ):  # fmt: skip
        assert getattr(one, name) == getattr(expected, name), name
    for found, known in zip(one.layers, expected.layers, strict=True):
        for name in ("model", "layer", "units", "level", "by_size", "truth"):
            assert getattr(found, name) == getattr(known, name), name


def test_the_report_s_section() -> None:
    assert dissection_part([]) is None
    part = dissection_part([dissection("one"), dissection("two")])
    assert part is not None
    texts = [block.text for block in part.blocks if isinstance(block, Text)]
    assert any("one learned 1 distinct concepts with 3 labelled units" in text for text in texts)
    assert any("survives the correction" in text for text in texts)
    tables = {block.caption: block for block in part.blocks if isinstance(block, Table)}
    assert tables["What the layers learned"].rows[0][:6] == ["one", "layer4", "4", "1", "2", "1"]
    shared = tables["Concepts of one and two"].rows
    assert shared[0] == ["all layers", "1", "0", "0", "1.000", "0.207 to 1.000"]
    assert any("class" in caption for caption in tables)
    names = {block.drawing.name for block in part.blocks if isinstance(block, Chart)}
    assert names == {"concepts", "concept_kinds", "label_similarity", "labels_by_images"}
    assert not any(isinstance(block, Picture) for block in part.blocks)
    assert set(part.tables) == {"units", "concepts", "concept_kinds"}
    assert len(part.tables["units"][1]) == 12
