"""``dissect`` from features, from tables and from networks, and what people get wrong."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy
import torch

from dissection.probing import ClipModel, SavedFeatures, write_features
from explainers.classifiers import Classifier
from tests.dissection.planted_network import draw_scenes
from tests.dissection.tiny_clip import write_tiny_clip
from tests.tuner.command_line import Cli

QUICK = ("--permutations", "50", "--bootstrap", "2")


@pytest.fixture
def features(here: Path) -> Path:
    generator = torch.Generator().manual_seed(0)
    path = here / "features.npz"
    write_features(
        path,
        SavedFeatures(
            torch.randn((150, 8), generator=generator), torch.randn((4, 8), generator=generator),
            ("dog", "cat", "red", "sky"),
            {("net", layer): torch.randn((150, 6), generator=generator) for layer in ("a", "b")},
        ),
    )  # fmt: skip
    return path


@pytest.fixture
def scenes(here: Path) -> Path:
    write_tiny_clip(here / "clip.json")
    (here / "words.txt").write_text("fish\nbird\n\nhouse\nfish\nkey\n")
    draw_scenes(here / "scenes", 12)
    return here / "scenes"


def test_from_features(features: Path, cli: Cli) -> None:
    out = cli.ok("dissect", "--features", str(features), *QUICK, "-o", "found")
    assert "surviving labels" in out
    rows = list(csv.DictReader(Path("found/descriptions.csv").read_text().splitlines()))
    assert [(row["layer"], row["unit"]) for row in rows[:2]] == [("a", "0"), ("a", "1")]
    assert len(rows) == 12
    found = json.loads(
        cli.ok("dissect", "--features", str(features), *QUICK, "--layers", "b", "--json")
    )
    layers = found["models"]["net"]["layers"]
    assert list(layers) == ["b"]
    assert [label["concepts"][0] for label in layers["b"]["labels"]] == [
        row["description"] for row in rows[6:]
    ]
    with sqlalchemy.create_engine("sqlite:///lime-tuner.db").connect() as connection:
        count = connection.exec_driver_sql("SELECT COUNT(*) FROM lime_tuner_units").scalar()
    assert count == 18


def test_from_tables_to_the_report(here: Path, cli: Cli) -> None:
    for name, labels in {"one": ("dog", "dog", "sky"), "two": ("dog", "church", "church")}.items():
        rows = "".join(f"layer4,{n},{label},0.{9 - n}\n" for n, label in enumerate(labels))
        Path(f"{name}.csv").write_text("layer,unit,description,similarity\n" + rows)
    out = cli.ok("dissect", "--descriptions", "one=one.csv", "--descriptions", "two=two.csv")
    assert "one and two share 1 concepts, Jaccard 0.33" in " ".join(out.split())
    cli.ok("report", "--study", "none")
    page = Path("report/index.html").read_text()
    assert "one learned 2 distinct concepts with 3 labelled units" in page
    assert "Only in two: church" in page
    assert Path("report/figures/concepts.svg").is_file()
    assert Path("report/tables/units.csv").read_text().count("\n") == 7


def test_from_a_network(scenes: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    call = (
        "dissect", "--model", "demo", "--probe", str(scenes), "--clip", "clip.json",
        "--clip-weights", "random", "--concepts", "words.txt", *QUICK, "--json",
    )  # fmt: skip
    found = json.loads(cli.ok(*call, "--save", "saved"))
    layers = found["models"]["demo"]["layers"]
    assert len(layers) == 3
    for layer in layers.values():
        assert layer["units"] == len(layer["labels"])
        assert {c for label in layer["labels"] for c in label["concepts"]} <= {
            "fish", "bird", "house", "key",
        }  # fmt: skip
    asked: list[int] = []
    real, encoded = Classifier.predict_proba, ClipModel.encode_texts

    def counted(self: Classifier, images: np.ndarray) -> np.ndarray:
        asked.append(len(images))
        return real(self, images)

    monkeypatch.setattr(Classifier, "predict_proba", counted)
    assert json.loads(cli.ok(*call)) == found  # from the cache, and to the last digit
    assert sum(asked) <= 1  # a black picture, to see where the stages end
    words: list[str] = []
    monkeypatch.setattr(
        ClipModel, "encode_texts", lambda self, some: words.extend(some) or encoded(self, some)
    )
    Path("words.txt").write_text("fish\nbird\nhouse\nlock\n")
    cli.ok(*call)
    assert words == ["lock"]
    assert sum(asked) <= 2 + 3 * 12 * 8  # pictures of units whose labels are more similar now
    Path("words.txt").write_text("fish\nbird\nhouse\nkey\n")
    read = ("dissect", "--saved", "saved", "--concepts", "saved/words.txt", *QUICK, "--json")
    again = json.loads(cli.ok(*read))["models"]["demo"]["layers"]
    assert {name: layer["labels"] for name, layer in again.items()} == {
        name: layer["labels"] for name, layer in layers.items()
    }
    with sqlalchemy.create_engine("sqlite:///lime-tuner.db").connect() as connection:
        sheets = connection.exec_driver_sql(
            "SELECT COUNT(*) FROM lime_tuner_units WHERE sheet_jpeg IS NOT NULL"
        ).scalar()
    assert sheets > 0
    cli.ok(*call)
    cli.ok("report", "--study", "none")
    assert "The images that activate" in Path("report/index.html").read_text()


def test_wrong_calls(features: Path, scenes: Path, cli: Cli) -> None:
    network = ("--model", "demo", "--probe", str(scenes), "--concepts", "words.txt")
    clip = ("--clip", "clip.json", "--clip-weights", "random")
    Path("few").mkdir()
    for picture in sorted(scenes.iterdir())[:3]:
        (Path("few") / picture.name).write_bytes(picture.read_bytes())
    before = {path.name for path in Path().iterdir()}
    for message, *call in (
        ("nothing to dissect",),
        ("--features and --probe", "--features", str(features), "--probe", str(scenes)),
        ("needs a network", "--probe", str(scenes)),
        ("1 --model and 2 --weights", *network, "--weights", "a", "--weights", "b"),
        ("two networks are called", *network, "--model", "demo"),
        ("no layer 'featurs'; the nearest are: features", *network, *clip, "--layers", "featurs"),
        ("has no layer 'c'; it has a, b", "--features", str(features), "--layers", "c"),
        ("no such folder", "--model", "demo", "--probe", "nowhere"),
        ("similarity 'best' is unknown", "--features", str(features), "--similarity", "best"),
        ("share between 0 and 1", "--features", str(features), "--level", "5"),
        ("cannot be read", "--features", "none.npz"),
        ("give NAME=FILE", "--descriptions", "one.csv"),
        ("needs the list", "--saved", "."),
        (
            "few has 3 pictures, soft_wpmi needs at least 100",
            *network[:3],
            "few",
            *clip,
            "--concepts",
            "words.txt",
        ),
        ("text features words_CLIP.pt of no model", "--saved", ".", "--concepts", "words.txt"),
        ("cannot be read", "--descriptions", "one=none.csv"),
        ("none", "--features", str(features), "--storage", "sqlite:///none/a.db"),
    ):
        assert message in cli.refused("dissect", *call), call
    Path("empty.txt").write_text("\n\n")
    message = cli.refused("dissect", *network[:4], *clip, "--concepts", "empty.txt")
    assert "is empty" in message
    tables = dict(np.load(features))
    for name, table, message in (
        ("image_features", tables["image_features"][:, :5], "5 dimensions, text features 8"),
        ("net_a", np.full((150, 6), np.nan), "activations hold values that are not finite"),
        ("net_a", tables["net_a"][:99], "99 have activations"),
    ):
        np.savez("wrong.npz", **{**tables, name: table})
        assert message in cli.refused("dissect", "--features", "wrong.npz")
    few = {k: v if k in ("concepts", "text_features") else v[:30] for k, v in tables.items()}
    np.savez("wrong.npz", **few)
    assert "30 probing images are fewer than the 100" in cli.refused(
        "dissect", "--features", "wrong.npz"
    )
    assert {path.name for path in Path().iterdir()} - before == {"empty.txt", "wrong.npz"}
