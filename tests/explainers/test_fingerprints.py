"""A fingerprint changes with everything that decides an answer, and with nothing else."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from explainers.classifiers import Classifier, load_classifier
from explainers.engines import TorchEngine, make_engine
from explainers.engines.onnx_engine import OnnxEngine
from explainers.images import Geometry

_SOURCE = """
import torch
from torch import nn
from {name}_parts import prepared

class Net(nn.Module):
    def __init__(self, gain=1.0):
        super().__init__()
        self.convolution = nn.Conv2d(3, 2, 1)
        nn.init.constant_(self.convolution.weight, 0.1)
        nn.init.zeros_(self.convolution.bias)
        self._gain = gain
        self.shift = torch.tensor([1.0])
        self.register_buffer("hidden", torch.tensor([2.0]), persistent=False)

    def forward(self, x):
        self.last = self.convolution(prepared(x)).mean(dim=(2, 3))
        return self.last * self._gain + self.shift * self.hidden
"""


@pytest.fixture
def name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Of a module of the user's, with another beside it that it imports from."""
    name = f"own_{abs(hash(str(tmp_path)))}"
    (tmp_path / f"{name}.py").write_text(_SOURCE.format(name=name))
    (tmp_path / f"{name}_parts.py").write_text("def prepared(x):\n    return x\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield name
    for each in (name, f"{name}_parts"):
        sys.modules.pop(each, None)


def _of(module: nn.Module) -> str:
    return Classifier("own", module, (), geometry=Geometry(16, 16)).fingerprint


def _made(name: str, **keywords: Any) -> nn.Module:
    for each in (name, f"{name}_parts"):
        sys.modules.pop(each, None)
    importlib.invalidate_caches()
    made: nn.Module = importlib.import_module(name).Net(**keywords)
    return made


def test_existing_databases_go_on() -> None:
    """These stand in databases: studies refuse another network, and answers are kept by them."""
    demo = load_classifier("demo", device="cpu").fingerprint
    assert demo == "b1ddaf28e8757d0f13e0d0fbf80fd0fccd41ab6baa11a63ae79062e7bb7dcc21"
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.Flatten())
    nn.init.constant_(plain[0].weight, 0.25)
    known = "49654588b0fa66ea47d49350a2c9e8ddc6dccfe6ad2ca7609bfa336cbcf0db04"
    assert Classifier("x", plain, ()).fingerprint == known, "torch's own layers have no own code"


def test_code_counts(name: str, tmp_path: Path) -> None:
    before = _of(_made(name))
    assert _of(_made(name)) == before
    asked = _made(name)
    Classifier("own", asked, ()).predict_proba(np.zeros((1, 16, 16, 3), np.uint8))
    assert _of(asked) == before, "what a forward pass leaves behind does not count"
    for file, old, new in (
        (f"{name}_parts.py", "return x", "return x.flip(1)"),
        (f"{name}.py", "* self._gain", "/ self._gain"),
    ):
        path = tmp_path / file
        text = path.read_text()
        path.write_text(text.replace(old, new))
        assert _of(_made(name)) != before, file
        path.write_text(text)
    assert _of(_made(name)) == before


def test_attributes_count(name: str) -> None:
    before = _of(_made(name))
    assert _of(_made(name, gain=2.0)) != before
    for attribute in ("shift", "hidden"):
        module = _made(name)
        getattr(module, attribute).add_(1)
        assert _of(module) != before, attribute


def test_closures_count() -> None:
    def made(apply: Any) -> nn.Module:
        class Net(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                found: torch.Tensor = apply(x.mean(dim=(2, 3)))
                return found

        return Net()

    prints = {
        _of(made(lambda x: x)),
        _of(made(lambda x: -x)),
    }
    assert len(prints) == 2


def test_quantised_networks_have_one() -> None:
    def made(scale: float) -> nn.Module:
        torch.manual_seed(0)
        net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
        net[2].weight.data.mul_(scale)
        quantised: nn.Module = torch.ao.quantization.quantize_dynamic(
            net.eval(), {nn.Linear}, dtype=torch.qint8
        )
        return quantised

    assert _of(made(1)) == _of(made(1)) != _of(made(2))
    found = Classifier("own", made(1), (), geometry=Geometry(16, 16)).recognised()
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype(np.uint8)
    expected = found.predict_proba(images)
    np.testing.assert_allclose(TorchEngine(found).predict_proba(images), expected, atol=1e-6)


def test_a_kept_engine_of_another_network_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Classifier, "fingerprint", "the same for all")
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype(np.uint8)
    for weight in (1.0, -1.0):
        net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        nn.init.dirac_(net[0].weight).data.mul_(weight)
        found = Classifier("own", net, (), geometry=Geometry(16, 16))
        engine = make_engine(found, "onnxruntime", image=images[0], cache=tmp_path)
        assert isinstance(engine, OnnxEngine)
        np.testing.assert_allclose(
            engine.predict_proba(images), found.predict_proba(images), atol=1e-5
        )
