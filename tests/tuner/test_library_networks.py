"""``tune`` with networks of timm and transformers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from explainers.classifiers.user_code import let_torchvision_import
from tests.explainers.hf_folders import LABELS, save_hf
from tests.tuner.command_line import FEW_MAPS, Cli
from tests.tuner.tiny import write_catalogue

_TUNE = (
    "tune", "--catalog", "demo.toml", "--images", "house", "--trials", "2", "--seeds", "1",
    "--threads", "1", "--sampler", "random", "--engine", "torch", "--fix", "num_samples=32",
    *FEW_MAPS, "--json",
)  # fmt: skip


@pytest.mark.parametrize("library", ["timm", "hf"])
def test_tune(library: str, here: Path, cli: Cli) -> None:
    write_catalogue(here)
    if library == "timm":
        let_torchvision_import()
        import timm

        catalogue = here / "demo.toml"  # smaller than timm's 160, which it takes as well
        small = "[geometry]\nresize = 64\ncrop = 64\n[[image]]"
        catalogue.write_text(catalogue.read_text().replace("[[image]]", small, 1))
        torch.manual_seed(0)
        torch.save(timm.create_model("test_resnet").state_dict(), here / "weights.pt")
        model = ("--model", "timm:test_resnet", "--weights", "weights.pt")
    else:
        save_hf(here / "saved", "resnet")
        model = ("--model", "hf:saved")
    found = json.loads(cli.ok(*_TUNE, *model))
    assert found["images"]["house"]["trials"] == 2
    status = cli.ok("status", "--json")
    if library == "hf":
        assert any(label in status for label in LABELS)
