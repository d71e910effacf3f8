"""Weights files as training scripts write them: what is read, what is told, what is refused."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from explainers.classifiers.weights import load_state
from explainers.errors import InvalidInput


class _Net(nn.Module):
    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.c = nn.Conv2d(3, 4, 3)
        self.f = nn.Linear(4, classes)


@pytest.fixture(autouse=True)
def _warnings(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)


def _values(offset: float = 0.0) -> dict[str, torch.Tensor]:
    return {
        key: torch.arange(value.numel(), dtype=torch.float32).view(value.shape) / 64 + offset
        for key, value in _Net().state_dict().items()
    }


def _prefixed(prefix: str, offset: float = 0.0) -> dict[str, torch.Tensor]:
    return {f"{prefix}{key}": value for key, value in _values(offset).items()}


_ONE = torch.ones(1)
_FORMS: dict[str, tuple[Any, str]] = {
    "plain": (_values(), ""),
    "DataParallel": (_prefixed("module."), "dropped the prefix 'module.' of 4 keys"),
    "compiled": (_prefixed("_orig_mod."), "dropped the prefix '_orig_mod.' of 4 keys"),
    "both": (_prefixed("module._orig_mod."), "dropped the prefix 'module._orig_mod.'"),
    "Lightning": (
        {"state_dict": {**_prefixed("net."), "loss.weight": _ONE}, "epoch": 3},
        "dropped the prefix 'net.' of 4 keys; 1 other key (e.g. 'loss.weight') left out",
    ),
    "model": ({"model": _values(), "optimizer": {"state": {}, "param_groups": []}}, ""),
    "nested": ({"state": {"net": _values()}}, ""),
    "unknown name": ({"trained": _values(), "best": torch.tensor(3.0)}, ""),
    "two": ({"ema": _values(1), "model": _values()}, "'model' is taken, ema not"),
    "entries": ({**_values(), "epoch": 3}, ""),
    "NumPy and Namespace": (
        {"model": _values(), "args": argparse.Namespace(lr=0.1), "best": np.float64(0.9)},
        "",
    ),
    "thop": ({**_values(), "total_ops": _ONE, "c.total_params": _ONE}, "left out 2 keys"),
    "averaged": ({**_prefixed("module."), "n_averaged": _ONE}, "'n_averaged') left out"),
    "half": ({k: v.half() for k, v in _values().items()}, "4 tensors from torch.float16 to"),
    "sparse": ({k: v.to_sparse() for k, v in _values().items()}, ""),
    "parameters": ({k: nn.Parameter(v) for k, v in _values().items()}, ""),
}


@pytest.mark.parametrize("form", _FORMS)
def test_the_values_arrive_and_a_guess_is_told(
    form: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state, message = _FORMS[form]
    path, module = tmp_path / "w.pth", _Net()
    torch.save(state, path)
    load_state(module, path, "net")
    load_state(module, path, "net")
    for key, value in _values().items():
        assert torch.equal(module.state_dict()[key], value)
    assert [message in record.message for record in caplog.records] == [True] * bool(message)


@pytest.mark.parametrize("wrap", [nn.DataParallel, AveragedModel])
def test_a_fit_to_the_last_key_is_taken_as_it_is(
    wrap: type[nn.Module], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, module = wrap(_Net()), wrap(_Net())
    torch.save(source.state_dict(), tmp_path / "w.pth")
    load_state(module, tmp_path / "w.pth", "net")
    assert torch.equal(module.module.f.weight, source.module.f.weight)
    assert caplog.records == []
    torch.save(_values(), tmp_path / "w.pth")  # and the plain network's fit too
    load_state(module, tmp_path / "w.pth", "net")
    assert torch.equal(module.module.f.weight, _values()["f.weight"])
    assert "put the prefix 'module.' before 4 keys" in caplog.text


def test_parts_that_were_wrapped_fit(tmp_path: Path) -> None:
    """As torchvision's old VGG and AlexNet examples save: features alone on several GPUs."""
    state = {k.replace("c.", "c.module."): v for k, v in _values().items()}
    torch.save(state, tmp_path / "w.pth")
    module = _Net()
    load_state(module, tmp_path / "w.pth", "net")
    assert torch.equal(module.c.weight, _values()["c.weight"])


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({}, "holds no tensors"),
        ({"optimizer": {"state": {}}, "epoch": 3}, r"holds no tensors \(optimizer, epoch\)"),
        (torch.zeros(3), "holds Tensor, not a state dict"),
        (_Net(7).state_dict(), "'f.weight' is 7 × 4 in the file and 5 × 4 in the network"),
        ({"c.weight": _values()["c.weight"]}, r"3 tensors missing.*'c\.bias'"),
        ({**_prefixed("student."), **_prefixed("teacher.")}, r"several.*student\., teacher\."),
        ({"G": _values(), "D": _values()}, r"several state dicts \(D, G\)"),
        ({k: v.to(torch.int8) for k, v in _values().items()}, "torch.int8.*quantisation"),
        ({k: v.to("meta") for k, v in _values().items()}, "'c.weight' is on the device meta"),
        (_Net(), r"loaded safely.*_Net.*torch\.save\(model\.state_dict\(\)"),
    ],
)
def test_what_holds_no_weights_of_it(state: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(state, path)
    module = _Net()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.raises(InvalidInput, match=said) as caught:
        load_state(module, path, "net")
    assert "\n" not in str(caught.value)
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("w.pth", b"", "is empty"),
        ("w.h5", b"\x89HDF\r\n\x1a\n", "HDF5 file"),
        ("w.onnx", b"\x08\x07", "is a onnx file"),
        ("w.pth", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("w.pth", b"\n<!DOCTYPE html>", "is a web page"),
        ("w.pth", b"no pickle", "loaded safely"),
        ("w.safetensors", b"xx", "no safetensors file|package safetensors"),
    ],
)
def test_files_of_other_kinds(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=said):
        load_state(_Net(), tmp_path / name, "net")


def test_safetensors(tmp_path: Path) -> None:
    torch_files = pytest.importorskip("safetensors.torch")
    torch_files.save_file(_prefixed("model."), tmp_path / "w.safetensors")
    module = _Net()
    load_state(module, tmp_path / "w.safetensors", "net")
    assert torch.equal(module.f.weight, _values()["f.weight"])


class _Counting(_Net):
    def get_extra_state(self) -> dict[str, int]:
        return {"seen": 3}

    def set_extra_state(self, state: Any) -> None:
        self.seen = state["seen"]


def test_what_a_module_keeps_beside_its_tensors_is_its_own(tmp_path: Path) -> None:
    module = _Counting()
    torch.save(_values(), tmp_path / "w.pth")
    load_state(module, tmp_path / "w.pth", "counting")
    assert module.seen == 3
    assert torch.equal(module.c.weight, _values()["c.weight"])
    torch.save(_Net(7).state_dict(), tmp_path / "other.pth")
    with pytest.raises(InvalidInput, match="number of classes"):
        load_state(module, tmp_path / "other.pth", "counting")
