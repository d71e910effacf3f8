"""The reference's files and ours, in and out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dissection.labels import (
    LayerDescription,
    Unit,
    read_arguments,
    read_descriptions,
    write_descriptions,
)
from dissection.probing import (
    SavedFeatures,
    concept_list,
    read_features,
    read_saved,
    write_features,
    write_saved,
)
from explainers.errors import InvalidInput

FEATURES = SavedFeatures(
    torch.arange(12.0).reshape(4, 3).half(),
    torch.arange(6.0).reshape(2, 3),
    ("dog", "polar bear"),
    {("net", "layer4.1.conv2"): torch.eye(4), ("net", "fc"): torch.ones(4, 2)},
    "broden",
    "20k",
)
UNITS = (
    Unit(0, ("dog", "cat"), (0.5, 0.25), 0.01, 0.02, 0.9, True),
    Unit(1, (), ()),
    Unit(2, ("a, b; \"c\"",), (-0.125,)),
)  # fmt: skip


def same(one: SavedFeatures, other: SavedFeatures) -> bool:
    return (
        one.concepts == other.concepts
        and torch.equal(one.image_features, other.image_features)
        and torch.equal(one.text_features, other.text_features)
        and one.activations.keys() == other.activations.keys()
        and all(torch.equal(one.activations[k], other.activations[k]) for k in one.activations)
    )


def test_saved_activations_of_the_reference(tmp_path: Path) -> None:
    files = write_saved(tmp_path, FEATURES, clip="ViT-B/16", pooling="max")
    assert [file.name for file in files] == [
        "broden_ViT-B16.pt", "20k_ViT-B16.pt", "broden_net_layer4.1.conv2_max.pt",
        "broden_net_fc_max.pt", "20k.txt",
    ]  # fmt: skip
    concepts = concept_list(str(tmp_path / "20k.txt"))
    found = read_saved(tmp_path, concepts, clip="ViT-B/16", pooling="max")
    assert same(found, FEATURES)
    assert (found.probe, found.concept_list) == ("broden", "20k")
    assert found.settings["clip_model"] == "ViT-B16"
    torch.save(FEATURES.text_features, tmp_path / "3k_ViT-B16.pt")  # another list is no obstacle
    only = read_saved(tmp_path, concepts, pooling="max", layers=["fc"])
    assert list(only.activations) == [("net", "fc")]
    for folder, options, message in (
        (tmp_path / "none", {}, "of no model"),
        (tmp_path, {"clip": "RN50"}, "of no model"),
        (tmp_path, {}, "no activations broden_MODEL_LAYER"),
        (tmp_path, {"pooling": "max", "layers": ["b"]}, "no layer 'b'; it has fc, layer4"),
    ):
        with pytest.raises(InvalidInput, match=message):
            read_saved(folder, concepts, **options)


def test_saved_files_that_are_no_tables(tmp_path: Path) -> None:
    write_saved(tmp_path, FEATURES, clip="ViT-B16")
    path = tmp_path / "broden_net_fc.pt"
    for content, message in (
        ({"a": torch.ones(2)}, "hold a dict"),
        (Path("no tensor"), "something other than a tensor"),
        (None, "damaged"),
    ):
        torch.save(content, path)
        if content is None:
            path.write_bytes(b"cut")
        with pytest.raises(InvalidInput, match=message):
            read_saved(tmp_path, concept_list(str(tmp_path / "20k.txt")))


def test_features_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "features.npz"
    write_features(path, FEATURES)
    assert same(read_features(path), FEATURES)
    tables = dict(np.load(path))
    for wrong, message in (
        ({k: v for k, v in tables.items() if k != "concepts"}, "have no concepts"),
        ({k: v for k, v in tables.items() if "net" not in k}, "have no activations"),
        (tables | {"layer4": np.ones((4, 2))}, "must be named MODEL_LAYER"),
        (tables | {"net_fc": np.ones((4, 2), int)}, "holds int64"),
        (tables | {"concepts": np.array(["a", None], object)}, "cannot be read"),
    ):
        np.savez(tmp_path / "wrong.npz", **wrong)
        with pytest.raises(InvalidInput, match=message):
            read_features(tmp_path / "wrong.npz")
    np.save(tmp_path / "array.npy", np.ones(3))
    (tmp_path / "text.npz").write_text("no archive")
    for name in ("array.npy", "text.npz", "none.npz"):
        with pytest.raises(InvalidInput, match="cannot be read"):
            read_features(tmp_path / name)


def test_descriptions_there_and_back(tmp_path: Path) -> None:
    layers = [LayerDescription("net", "layer3", UNITS), LayerDescription("net", "fc", UNITS[:1])]
    path = write_descriptions(tmp_path / "out", layers, {"d_probe": "broden", "top": 5})
    lines = path.read_text().splitlines()
    assert lines[0].startswith("layer,unit,description,similarity,")
    assert lines[1].startswith("layer3,0,dog,0.5,0.25,0.01,0.02,0.9,1,cat")
    found = read_descriptions(tmp_path / "out", "other")
    assert [layer.layer for layer in found] == ["layer3", "fc"]
    for one, other in zip(found[0].units, UNITS, strict=True):
        assert (one.number, one.concept, one.similarity) == (
            other.number, other.concept, other.similarity,
        )  # fmt: skip
    assert read_arguments(path) == {"d_probe": "broden", "top": 5}
    assert json.loads((tmp_path / "out" / "args.txt").read_text())["top"] == 5
    assert read_arguments(tmp_path / "elsewhere.csv") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layer,unit,similarity\n", "has no column description"),
        ("layer,unit,description,similarity\n", "describes no unit"),
        ("layer,unit,description,similarity\na,x,dog,1\n", "line 2: unit 'x'"),
        ("layer,unit,description,similarity\na,1,dog,high\n", "similarity 'high'"),
        ("layer,unit,description,similarity\na,1,dog,1\na,1,cat,1\n", "line 3: unit 1 .* twice"),
    ],
)
def test_descriptions_that_are_none(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "descriptions.csv").write_text(text)
    with pytest.raises(InvalidInput, match=message):
        read_descriptions(tmp_path, "net")


def test_the_reference_s_tables_are_read(assets: Path) -> None:
    for name in ("imagenet", "places365"):
        path = assets / "dissection" / f"broden_20k_resnet18_{name}.csv"
        found = read_descriptions(path, name)
        assert [len(layer.units) for layer in found] == [128, 256, 512]
