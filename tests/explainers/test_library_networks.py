"""Networks of timm and transformers: prepared, named and explained as the libraries do it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from explainers.cam import heat_map
from explainers.classifiers import Classifier, load_classifier
from explainers.classifiers.user_code import let_torchvision_import
from explainers.errors import InvalidInput, MissingAsset
from explainers.images import Geometry, load_image, prepare
from tests.explainers.hf_folders import LABELS, SIDE, save_hf

let_torchvision_import()

import timm  # noqa: E402
import transformers  # noqa: E402

_EXACT = 1e-6


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """PNGs with areas and details, of odd sides: margins of every remainder."""
    paths = []
    for width, height in ((387, 301), (299, 403), (302, 301)):
        rng = np.random.default_rng(width)
        areas = Image.fromarray(rng.integers(0, 256, (9, 7, 3)).astype(np.uint8))
        pixels = np.asarray(areas.resize((width, height), Image.Resampling.BICUBIC), float)
        pixels = np.clip(pixels + rng.normal(0, 12, pixels.shape), 0, 255).astype(np.uint8)
        paths.append(tmp_path_factory.mktemp("photograph") / "odd.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


Theirs = Callable[[Image.Image], torch.Tensor]


def _assert_prepared(classifier: Classifier, paths: list[Path], own: Theirs) -> None:
    for path in paths:
        ours = classifier.normalise(prepare(load_image(path), classifier.geometry)[None])[0]
        with Image.open(path) as opened:
            theirs = own(opened.convert("RGB"))
        assert ours.shape == theirs.shape
        assert float((ours - theirs).abs().max()) <= _EXACT


def _assert_explained(classifier: Classifier, path: Path, cells: int) -> None:
    shapes: list[tuple[int, ...]] = []
    reshape = classifier.reshape_transform or (lambda features: features)
    hook = classifier.cam_target().register_forward_hook(
        lambda module, inputs, output: shapes.append(tuple(reshape(output).shape))
    )
    image = prepare(load_image(path), classifier.geometry)
    hot = heat_map(classifier, image, "gradcam")
    hook.remove()
    assert {shape[2:] for shape in shapes} == {(cells, cells)}
    assert hot.shape == image.shape[:2]
    assert np.isfinite(hot).all()
    assert hot.std() > 0.05


# timm. Name, what makes it smaller, its layer of activation maps, and that one's cells a side.
_TIMM: dict[str, tuple[dict[str, Any], str, int]] = {
    "test_resnet": ({}, "layer4", 5),
    "test_convnext": ({}, "stages", 5),
    "test_efficientnet": ({}, "bn2", 5),
    "test_vit": ({}, "blocks.5.norm1", 10),
    "swin_tiny_patch4_window7_224": (
        {"depths": (1, 1, 1, 1), "embed_dim": 24, "num_heads": (1, 2, 4, 8)},
        "layers.3.blocks.0.norm1", 7,
    ),
    "mobilenetv3_small_050": ({}, "blocks", 7),
    "mobilevit_xxs": ({}, "final_conv", 8),
    "test_nfnet": ({}, "final_act", 5),
}  # fmt: skip


def _timm(monkeypatch: pytest.MonkeyPatch, name: str, **keywords: Any) -> Classifier:
    torch.manual_seed(0)
    monkeypatch.setattr(timm, "create_model", partial(timm.create_model, **keywords))
    return load_classifier(f"timm:{name}", weights="random", device="cpu")


@pytest.mark.parametrize("name", _TIMM)
def test_timm(name: str, photographs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    smaller, layer, cells = _TIMM[name]
    classifier = _timm(monkeypatch, name, **smaller)
    config = timm.data.resolve_model_data_config(classifier.module)
    transform = timm.data.create_transform(**config, is_training=False)
    _assert_prepared(classifier, photographs, transform)
    assert (classifier.name, classifier.cam_layer) == (f"timm:{name}", layer)
    _assert_explained(classifier, photographs[0], cells)
    with torch.inference_mode():
        theirs = transform(load_image(photographs[0]))[None]
        expected = torch.softmax(classifier.module(theirs), dim=1).numpy()
    image = prepare(load_image(photographs[0]), classifier.geometry)
    assert np.allclose(classifier.predict_proba(image[None]), expected, atol=1e-5)
    known = timm.data.ImageNetInfo().label_descriptions()
    assert list(classifier.class_names) == known
    assert classifier.class_name(1).startswith("goldfish")


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest", "lanczos"])
@pytest.mark.parametrize("mode", ["center", "squash"])
def test_timms_other_preparations(
    mode: str,
    interpolation: str,
    photographs: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    overlay = {"crop_mode": mode, "interpolation": interpolation, "crop_pct": 0.83}
    classifier = _timm(monkeypatch, "test_resnet", pretrained_cfg_overlay=overlay)
    config = timm.data.resolve_model_data_config(classifier.module)
    assert config["crop_mode"] == mode
    transform = timm.data.create_transform(**config, is_training=False)
    _assert_prepared(classifier, photographs, transform)
    assert "differ" not in caplog.text
    assert classifier.to_json()["interpolation" if interpolation != "bilinear" else "resize"]


def test_a_preparation_that_cannot_be_had_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _timm(monkeypatch, "test_resnet", pretrained_cfg_overlay={"crop_mode": "border"})
    (line,) = (r.getMessage() for r in caplog.records if "differ" in r.getMessage())
    assert line.startswith("timm:test_resnet: photographs are resized to 168 and cropped to 160")
    assert "crop_mode=border" in line


def test_timm_takes_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for classes, file in ((1000, "same.pt"), (7, "seven.pt")):
        torch.manual_seed(1)
        made = timm.create_model("test_resnet", num_classes=classes)
        torch.save({"state_dict": made.state_dict()}, tmp_path / file)
        loaded = load_classifier("timm:test_resnet", weights=str(tmp_path / file), device="cpu")
        assert torch.equal(loaded.module.fc.weight, made.fc.weight)
        assert len(loaded.class_names) == (1000 if classes == 1000 else 0)
        assert loaded.spec is not None
        assert loaded.spec["model"] == "timm:test_resnet"
    chosen = load_classifier(
        "timm:test_vit", weights="random", device="cpu", cam_layer="blocks.2.norm1"
    )
    assert chosen.reshape_transform is not None
    with pytest.raises(MissingAsset, match=r"no\.pt does not exist"):
        load_classifier("timm:test_resnet", weights=str(tmp_path / "no.pt"), device="cpu")
    with pytest.raises(InvalidInput, match="does not hold weights of timm:test_vit"):
        load_classifier("timm:test_vit", weights=str(tmp_path / "same.pt"), device="cpu")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet51", r"has no 'resnet51': did you mean one of .*resnet50"),
        ("resnet18.a1_in2k", r"did you mean one of .*resnet18\.a1_in1k"),
        ("nothing like it at all", r"has no 'nothing like it at all': timm\.list_models"),
    ],
)
def test_unknown_names(name: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as raised:
        load_classifier(f"timm:{name}", weights="random", device="cpu")
    assert "\n" not in str(raised.value)


def test_networks_without_classes_and_squares(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="gives features"):
        _timm(monkeypatch, "test_resnet", num_classes=0)
    overlay = {"input_size": (3, 160, 96)}
    with pytest.raises(InvalidInput, match="96 × 160"):
        _timm(monkeypatch, "test_resnet", num_classes=4, pretrained_cfg_overlay=overlay)


def test_own_labels_of_a_timm_network(monkeypatch: pytest.MonkeyPatch) -> None:
    overlay = {"label_names": ["n1", "n2"], "label_descriptions": {"n2": "two"}}
    made = _timm(monkeypatch, "test_resnet", num_classes=2, pretrained_cfg_overlay=overlay)
    assert made.class_names == ("n1", "two")


@pytest.mark.parametrize(("library", "extra"), [("timm", "timm"), ("transformers", "hf")])
def test_a_library_that_is_not_installed(
    library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InvalidInput, match=rf"{library}: pip install 'lime-tuner\[{extra}\]'"):
        load_classifier(f"{extra}:resnet18", device="cpu")


def test_weights_that_cannot_be_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*arguments: Any, **keywords: Any) -> None:
        raise OSError("We couldn't connect\nto the hub")

    monkeypatch.setattr(timm.models._hub, "hf_hub_download", offline)
    with pytest.raises(MissingAsset, match=r"couldn't connect to the hub\): give a local file"):
        load_classifier("timm:test_resnet", device="cpu")
    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", offline)
    with pytest.raises(MissingAsset, match=r"hf:some/model cannot be read.*connect to the hub"):
        load_classifier("hf:some/model", device="cpu")


# transformers. Its layer of activation maps, and that one's cells a side.
_HF = {
    "resnet": ("resnet.encoder.stages.1", 8),
    "vit": ("vit.layers.1.layernorm_before", 8),
    "swin": ("swin.encoder.layers.1.blocks.0.layernorm_before", 8),
    "convnext": ("convnext.encoder.stages.1", 8),
    "convnext large": ("convnext.encoder.stages.1", 48),
    "cropped": ("vit.layers.1.layernorm_before", 8),
    "squashed": ("vit.layers.1.layernorm_before", 8),
    "twice": ("vit.layers.1.layernorm_before", 8),
}


@pytest.mark.parametrize("family", _HF)
def test_hf(
    family: str, photographs: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = save_hf(tmp_path / "saved", family)
    classifier = load_classifier(f"hf:{folder}", device="cpu")
    assert "differ" not in caplog.text
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    _assert_prepared(
        classifier,
        photographs,
        lambda picture: processor(picture, return_tensors="pt")["pixel_values"][0],
    )
    layer, cells = _HF[family]
    assert (classifier.name, classifier.cam_layer) == (f"hf:{folder}", layer)
    _assert_explained(classifier, photographs[0], cells)
    model = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        inputs = processor(load_image(photographs[0]), return_tensors="pt")
        expected = torch.softmax(model(**inputs).logits, dim=1).numpy()
    image = prepare(load_image(photographs[0]), classifier.geometry)
    assert np.allclose(classifier.predict_proba(image[None]), expected, atol=1e-5)
    assert classifier.class_names == LABELS
    assert load_classifier(f"hf:{folder}", device="cpu").fingerprint == classifier.fingerprint


def test_the_default_processor_differs_by_a_grey_level_at_most(
    photographs: list[Path], tmp_path: Path
) -> None:
    folder = save_hf(tmp_path, "cropped")
    classifier = load_classifier(f"hf:{folder}", device="cpu")
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    for picture in map(load_image, photographs):
        theirs = processor(picture, return_tensors="pt")["pixel_values"][0]
        ours = classifier.normalise(prepare(picture, classifier.geometry)[None])[0]
        assert float((ours - theirs).abs().max()) < 1.1 / 255 / min(classifier.std)


def test_hf_takes_weights(tmp_path: Path) -> None:
    folder = save_hf(tmp_path / "saved", "resnet")
    model = load_classifier(f"hf:{folder}", device="cpu").module
    changed = {key: value + 1 for key, value in model.state_dict().items()}
    torch.save(changed, tmp_path / "changed.pt")
    loaded = load_classifier(f"hf:{folder}", weights=str(tmp_path / "changed.pt"), device="cpu")
    assert torch.equal(
        loaded.module.state_dict()["classifier.1.bias"], changed["classifier.1.bias"]
    )
    assert loaded.input_dtype == torch.float32
    half = model.half()
    half.save_pretrained(folder)
    assert load_classifier(f"hf:{folder}", device="cpu").input_dtype == torch.float32
    random = load_classifier(f"hf:{folder}", weights="random", device="cpu")
    assert random.input_dtype == torch.float32


def test_bars_are_hidden_while_a_folder_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = transformers.utils.logging
    read, seen = transformers.AutoConfig.from_pretrained, []

    def watched(*arguments: Any, **keywords: Any) -> Any:
        seen.append(bars.is_progress_bar_enabled())
        return read(*arguments, **keywords)

    folder = save_hf(tmp_path, "vit")
    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", watched)
    load_classifier(f"hf:{folder}", device="cpu")
    assert seen[0] is False
    assert bars.is_progress_bar_enabled()


def _edited(folder: Path, file: str, **changes: Any) -> None:
    document = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**document, **changes}))


def test_folders_that_are_no_image_classifiers(tmp_path: Path) -> None:
    def refused(message: str, kind: type[Exception] = InvalidInput) -> None:
        with pytest.raises(kind, match=message) as raised:
            load_classifier(f"hf:{folder}", device="cpu")
        assert "\n" not in str(raised.value)

    folder = save_hf(tmp_path / "blue", "blue first")
    refused("blue, green, red")
    folder = save_hf(tmp_path / "several", "vit", problem_type="multi_label_classification")
    refused("several classes at once")
    folder = save_hf(tmp_path / "base", "vit")
    load_classifier(f"hf:{folder}", device="cpu").module.vit.save_pretrained(folder)
    refused(r"was not trained as a classifier: its weights lack 2 tensors \(e\.g\. 'classifier\.")
    folder = save_hf(tmp_path / "text", "vit")
    transformers.BertConfig().save_pretrained(folder)
    refused("is no image classifier")
    folder = save_hf(tmp_path / "code", "vit")
    _edited(folder, "config.json", model_type="mine", auto_map={"AutoConfig": "mine.Config"})
    (folder / "mine.py").write_text("raise SystemExit('was run')")
    refused("without code of its author")
    folder = save_hf(tmp_path / "oblong", "vit")
    _edited(folder, "preprocessor_config.json", size={"height": 64, "width": 32})
    refused("not square")
    folder = save_hf(tmp_path / "pickled", "vit")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused("safetensors", MissingAsset)
    folder = save_hf(tmp_path / "bare", "vit")
    (folder / "preprocessor_config.json").unlink()
    refused("has not all files", MissingAsset)


def test_one_label_is_one_logit(tmp_path: Path, photographs: list[Path]) -> None:
    folder = save_hf(tmp_path, "vit", id2label={0: "tumour"})
    classifier = load_classifier(f"hf:{folder}", device="cpu")
    assert classifier.class_names == ("not tumour", "tumour")
    image = prepare(load_image(photographs[0]), classifier.geometry)
    assert classifier.predict_proba(image[None]).shape == (1, 2)


def test_what_a_geometry_shows_and_stores() -> None:
    assert repr(Geometry(256, 224)) == "Geometry(resize=256, crop=224)"  # keys of stored features
    assert Geometry(256, 224).to_json() == {"resize": 256, "crop": 224}
    other = Geometry(75, SIDE, "bicubic", squash=True, floor=True)
    assert other.scaled(2.0) == Geometry(150, 2 * SIDE, "bicubic", squash=True, floor=True)
    assert other.to_json()["interpolation"] == "bicubic"
    assert repr(other) != repr(Geometry(75, SIDE))
    with pytest.raises(InvalidInput, match=r"interpolation='cubic'.*bicubic"):
        Geometry(interpolation="cubic")
