"""Engines answer as the classifier does, or are not used."""

from __future__ import annotations

import importlib.util
import json
import logging
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from explainers.classifiers import Classifier
from explainers.engines import Engine, TorchEngine, make_engine
from explainers.engines.onnx_engine import OnnxEngine
from explainers.errors import InvalidInput
from explainers.images import load_image, prepare
from explainers.lime import Perturbation
from studies.catalog.demo import DEMO_SEEDS, draw_scene

_KINDS = {"torch": TorchEngine, "onnxruntime": OnnxEngine}
_SCENES = np.stack([draw_scene(name, seed).image for name, seed in DEMO_SEEDS.items()])
_SCENE = _SCENES[0]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, demo_classifier: Classifier) -> Path:
    """A cache folder that every engine for the scenes has been kept in."""
    folder = tmp_path_factory.mktemp("kept") / "engines"
    for name in _KINDS:
        make_engine(demo_classifier, name, image=_SCENE, cache=folder)
    return folder


@pytest.fixture(
    scope="module", params=[*((name, 1) for name in _KINDS), (OnnxEngine.name, 3)],
    ids=lambda param: f"{param[0]}-{param[1]}",
)  # fmt: skip
def engine(request: pytest.FixtureRequest, kept: Path, demo_classifier: Classifier) -> Engine:
    name, threads = request.param
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        made = make_engine(demo_classifier, name, image=_SCENE, cache=kept)
    finally:
        torch.set_num_threads(before)
    assert isinstance(made, _KINDS[name])
    return made


@pytest.fixture
def no_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever converts a network gets PyTorch and a warning."""

    def convert(*_: object) -> bytes:
        raise RuntimeError("converted again")

    monkeypatch.setattr(OnnxEngine, "convert", convert)


@pytest.fixture
def convert_from_kept(kept: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Conversions take no time; the engines that were converted for."""
    done: list[str] = []
    content = _model_file(kept).read_bytes()

    def convert(*_: object) -> bytes:
        done.append(OnnxEngine.name)
        return content

    monkeypatch.setattr(OnnxEngine, "convert", convert)
    return done


def _model_file(cache: Path) -> Path:
    (found,) = cache.glob("onnxruntime-*.onnx")
    return found


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


# What every engine owes.


def test_answers_are_the_classifiers_for_any_batch(
    engine: Engine, demo_classifier: Classifier
) -> None:
    images = np.concatenate([_SCENES, _SCENES[:, :, ::-1], _SCENES[:, ::-1]])
    assert len(images) > engine.batch_size + 3
    expected = demo_classifier.predict_proba(images)
    assert np.ptp(expected, axis=0).min() > 0.1  # no two scenes could be confused
    for size in (1, 3, engine.batch_size, engine.batch_size + 3, len(images)):
        for start in (0, len(images) - size):
            found = engine.predict_proba(images[start : start + size])
            assert found.dtype == np.float32
            assert found.shape == (size, 10)
            assert np.abs(found - expected[start : start + size]).max() < 1e-5


def test_an_answer_outlives_the_next_call(engine: Engine) -> None:
    answer = engine.predict_proba(_SCENES[:2])
    before = answer.copy()
    engine.predict_proba(_SCENES[2:4])
    assert np.array_equal(answer, before)


def test_memory_layout_does_not_matter(engine: Engine) -> None:
    planes = np.ascontiguousarray(_SCENES[:4].transpose(0, 3, 1, 2))
    planar = planes.transpose(0, 2, 3, 1)
    assert not planar.flags.c_contiguous
    expected = engine.predict_proba(_SCENES[:4])
    assert np.abs(engine.predict_proba(planar) - expected).max() < 1e-6
    planes.setflags(write=False)
    read_only = planes.transpose(0, 2, 3, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.abs(engine.predict_proba(read_only) - expected).max() < 1e-6


def test_fingerprints_are_the_classifiers_and_tell_engines_apart(
    kept: Path, demo_classifier: Classifier
) -> None:
    prints = {
        make_engine(demo_classifier, name, image=_SCENE, cache=kept).fingerprint for name in _KINDS
    }
    assert len(prints | {demo_classifier.fingerprint}) == 3
    assert all(demo_classifier.fingerprint in p for p in prints)


def test_images_built_on_the_device_are_the_same(demo_classifier: Classifier) -> None:
    """On the CPU here; what is compared is the building."""
    engine = TorchEngine(demo_classifier)
    generator = np.random.default_rng(0)
    grid = np.arange(128) // 7
    for scene, cells, hide_color in (
        (_SCENES[0], 19, None), (_SCENES[1], 19, (9, 200, 77)), (_SCENES[0], 3, 0)
    ):  # fmt: skip
        segments = (grid % cells)[:, None] * cells + grid % cells
        segments.setflags(write=False)  # as the prediction_cache's are
        perturbation = Perturbation(scene, segments, hide_color)
        rows = generator.integers(0, 2, (5, cells * cells))
        expected = demo_classifier.predict_proba(perturbation.images(rows))
        assert np.ptp(expected, axis=0).max() > 1e-3
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = engine.predict_on_device(perturbation, rows)
        assert np.abs(found - expected).max() < 1e-5


class _OnAccelerator(TorchEngine):
    """Treats the CPU as an accelerator."""

    on_accelerator = True  # type: ignore[assignment]


@pytest.mark.parametrize(("images", "asked"), [(1, 32), (33, 64), (64, 64), (257, 512)])
def test_an_accelerator_sees_few_sizes_of_batch(
    images: int, asked: int, demo_classifier: Classifier
) -> None:
    engine = _OnAccelerator(demo_classifier)
    seen: list[int] = []
    engine.module.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    some = np.resize(_SCENES[:, :32, :32], (images, 32, 32, 3))
    found = engine.predict_proba(some)
    assert seen == [asked]
    assert found.shape == (images, len(demo_classifier.class_names))
    assert np.abs(found - demo_classifier.predict_proba(some)).max() < 1e-5
    assert engine.fingerprint != TorchEngine(demo_classifier).fingerprint


def test_photograph(mobilenet: Classifier, assets: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = assets / "images" / "tml25" / "n01443537_goldfish.JPEG"
    image = prepare(load_image(path), mobilenet.geometry)
    engine = make_engine(mobilenet, "onnxruntime", image=image)
    assert isinstance(engine, OnnxEngine), caplog.text
    grid = np.arange(224) // 32
    rows = np.random.default_rng(1).integers(0, 2, (6, 49))
    rows[0] = 1
    images = Perturbation(image, grid[:, None] * 7 + grid, None).images(rows)
    expected = mobilenet.predict_proba(images)
    assert mobilenet.class_name(int(expected[0].argmax())) == "goldfish"
    assert np.abs(engine.predict_proba(images) - expected).max() < 1e-4


# The cache of converted networks.


@pytest.mark.usefixtures("no_conversion")
def test_a_kept_network_is_not_converted_again(kept: Path, demo_classifier: Classifier) -> None:
    facts = json.loads(_model_file(kept).with_suffix(".json").read_text())
    engine = make_engine(demo_classifier, "onnxruntime", image=_SCENE, cache=kept)
    assert isinstance(engine, OnnxEngine)
    assert engine.batch_size == facts["batch_sizes"].get(
        str(torch.get_num_threads()), engine.batch_size
    )
    # What decides the graph decides the file too.
    for classifier, image in (
        (demo_classifier, np.ascontiguousarray(_SCENE[:120])),
        (replace(demo_classifier, mean=(0.4, 0.4, 0.4)), _SCENE),
    ):
        other = make_engine(classifier, "onnxruntime", image=image, cache=kept)
        assert isinstance(other, TorchEngine)


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _blank(content: bytes) -> bytes:
    """As after a power failure: the right length, a page of weights never written."""
    middle = len(content) * 3 // 4
    return content[:middle] + bytes(4096) + content[middle + 4096 :]


@pytest.mark.parametrize(
    ("file", "damage"),
    [("model", _cut), ("model", _blank), ("model", lambda _: b""), ("facts", _cut)],
    ids=["model cut", "model blank", "model empty", "facts cut"],
)
def test_a_damaged_file_is_replaced(
    file: str,
    damage: Callable[[bytes], bytes],
    kept: Path,
    tmp_path: Path,
    demo_classifier: Classifier,
    convert_from_kept: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    cache = tmp_path / "engines"
    shutil.copytree(kept, cache)
    path = _model_file(cache)
    if file == "facts":
        path = path.with_suffix(".json")
    path.write_bytes(damage(path.read_bytes()))
    for _ in range(2):
        engine = make_engine(demo_classifier, "onnxruntime", image=_SCENE, cache=cache)
        assert isinstance(engine, OnnxEngine)
        expected = demo_classifier.predict_proba(_SCENES)
        assert np.abs(engine.predict_proba(_SCENES) - expected).max() < 1e-5
    assert convert_from_kept == ["onnxruntime"]  # the second call found the new file
    assert _warnings(caplog) == []


@pytest.mark.usefixtures("convert_from_kept")
def test_a_folder_that_cannot_be_made_costs_only_time(
    tmp_path: Path,
    demo_classifier: Classifier,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").write_text("a folder cannot be made here")
    for cache in (tmp_path / "file", tmp_path / "file" / "engines"):
        engine = make_engine(demo_classifier, "onnxruntime", image=_SCENE, cache=cache)
        assert isinstance(engine, OnnxEngine)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert _warnings(caplog) == []


# Engines that are not used.


def _shifted(by: float) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    return lambda answers: np.concatenate([answers[:, :-1], answers[:, -1:] + np.float32(by)], 1)


def _change_answers(
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[NDArray[np.float32]], NDArray[np.float32]],
) -> None:
    true = OnnxEngine.predict_proba

    def changed(self: Any, images: NDArray[np.uint8], /) -> NDArray[np.float32]:
        return change(true(self, images))

    monkeypatch.setattr(OnnxEngine, "predict_proba", changed)


@pytest.mark.parametrize(
    "change",
    [
        _shifted(2e-4),
        _shifted(float("nan")),
        lambda answers: answers[:, :-1],
        lambda answers: answers[:1],
    ],
    ids=["shifted", "not a number", "a class less", "an image only"],
)
@pytest.mark.usefixtures("convert_from_kept")
def test_other_answers_are_refused(
    change: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    tmp_path: Path,
    demo_classifier: Classifier,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    _change_answers(monkeypatch, change)
    engine = make_engine(demo_classifier, "onnxruntime", image=_SCENE, cache=tmp_path)
    assert isinstance(engine, TorchEngine)
    (line,) = _warnings(caplog)
    assert "onnxruntime" in line
    assert "demo" in line
    assert "PyTorch is used" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("convert_from_kept")
def test_answers_within_the_tolerance_are_taken(
    demo_classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    _change_answers(monkeypatch, _shifted(5e-5))
    assert isinstance(make_engine(demo_classifier, "onnxruntime", image=_SCENE), OnnxEngine)


class _ThroughNumpy(torch.nn.Module):
    """What a trace takes for a constant."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution = torch.nn.Conv2d(3, 6, 5, stride=4)

    def prepare(self, image: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(np.sort(image.numpy(), axis=-1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) → (N, 6), image by image."""
        prepared = torch.stack([self.prepare(image) for image in images])
        logits: torch.Tensor = 10 * self.convolution(prepared).relu().mean(dim=(2, 3))
        return logits


class _Branching(_ThroughNumpy):
    """What a trace follows one way only."""

    def prepare(self, image: torch.Tensor) -> torch.Tensor:
        return image if image.mean() > 0 else -image


class _Unsupported(_ThroughNumpy):
    """An operator that neither exporter knows."""

    def prepare(self, image: torch.Tensor) -> torch.Tensor:
        changed: torch.Tensor = torch.special.i0e(image)
        return changed


@pytest.mark.parametrize("module", [_ThroughNumpy, _Branching, _Unsupported])
def test_a_network_that_cannot_be_exported_runs_in_torch(
    module: type[_ThroughNumpy],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    classifier = Classifier("odd", module(), tuple("abcdef"))
    root = logging.getLogger()
    before = (root.level, list(root.filters), list(root.handlers))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine = make_engine(classifier, "onnxruntime", image=_SCENE, cache=tmp_path)
    assert isinstance(engine, TorchEngine)
    expected = classifier.predict_proba(_SCENES)
    assert np.abs(engine.predict_proba(_SCENES) - expected).max() < 1e-5
    (line,) = _warnings(caplog)
    assert "odd" in line
    assert "PyTorch is used" in line
    assert "\n" not in line
    assert list(tmp_path.iterdir()) == []
    assert tuple(capfd.readouterr()) == ("", "")  # exporters print graphs and stack traces
    assert (root.level, root.filters, root.handlers) == before


def test_auto_is_onnx_runtime_where_it_is_installed(
    kept: Path,
    demo_classifier: Classifier,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert make_engine(demo_classifier, image=_SCENE, cache=kept).name == "onnxruntime"
    _hide(monkeypatch, "onnxruntime")
    assert make_engine(demo_classifier, image=_SCENE, cache=kept).name == TorchEngine.name
    assert _warnings(caplog) == []


def _hide(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """As if it was not installed."""
    true = importlib.util.find_spec

    def find_spec(name: str, *arguments: Any) -> ModuleSpec | None:
        return None if name == package else true(name, *arguments)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)


def test_wrong_names_and_missing_packages_are_told(
    demo_classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidInput, match=r"'tensorrt'.*auto, torch, onnxruntime$"):
        make_engine(demo_classifier, "tensorrt", image=_SCENE)
    with pytest.raises(InvalidInput, match=r"^engine 'openvino' is gone: .*onnxruntime"):
        make_engine(demo_classifier, "openvino", image=_SCENE)
    elsewhere = replace(demo_classifier, module=torch.nn.Linear(1, 1), device=torch.device("meta"))
    with pytest.raises(InvalidInput, match=r"'onnxruntime'.*on meta.*--device cpu"):
        make_engine(elsewhere, "onnxruntime", image=_SCENE)
    _hide(monkeypatch, "onnx")
    with pytest.raises(InvalidInput, match=r"'onnxruntime'.*pip install onnxruntime onnx, .*torch"):
        make_engine(demo_classifier, "onnxruntime", image=_SCENE)
