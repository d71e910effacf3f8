"""The command line as people meet it: whole runs, and every mistake as one line."""

from __future__ import annotations

import json
import os
import pickle
import sqlite3
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from explainers.engines import ENGINES
from explainers.lime import LimeParameters
from explainers.machine_load import LoadMeter
from studies.export import export_pickle
from tests.studies.study_samples import random_studies
from tests.tuner.command_line import FEW_MAPS, Cli

DEMO = ["--catalog", "demo"]
FAST = ["--trials", "3", "--seeds", "2", "--images", "house,key", *FEW_MAPS]


def test_from_images_to_a_verified_pickle(here: Path, cli: Cli) -> None:
    tuned = json.loads(cli.ok("tune", *DEMO, *FAST, "--json"))
    assert tuned["study"] == "demo"
    assert list(tuned["images"]) == ["house", "key"]
    house = tuned["images"]["house"]
    assert set(house) == {
        "trials", "pruned", "best", "default", "reliability", "class", "coverage",
        "runtime_doubt",
    }  # fmt: skip
    assert set(house["best"]) == {
        "number", "score", "iou", "iou_std", "runtime_seconds", "runtime_ratio", "parameters",
        "fidelity", "compromise",
    }  # fmt: skip
    assert house["best"]["score"] >= house["default"]["score"]

    # --trials is the total: resuming with the same number adds nothing, with more adds the rest.
    again = json.loads(cli.ok("tune", *DEMO, *FAST, "--json"))
    assert again == tuned
    more = [a if a != "3" else "5" for a in FAST]
    assert json.loads(cli.ok("tune", *DEMO, *more, "--json"))["images"]["key"]["trials"] == 5

    status = json.loads(cli.ok("status", "--json"))
    assert set(status) == {"demo/house", "demo/key"}
    assert "demo/house" in cli.ok("status")
    assert house["reliability"] is None  # the scenes' own masks are not judged

    line = cli.refused("export", *DEMO, status=(2,))
    assert "umbrella" in line
    cli.ok("export", *DEMO, "--fill-defaults", "-o", "p.pkl")
    code, out, err = cli(
        "verify", "p.pkl", *DEMO, "--images", "house", "--seeds", "2", "--baseline-seeds", "1",
        "--json",
    )  # fmt: skip
    assert code == 0, err
    assert "left out" not in err  # those in the pickle that were not asked for
    verified = json.loads(out)
    assert {"avg_iou", "avg_time", "images", "others_share"} <= set(verified)
    assert set(verified["images"]["house"]) == {"iou", "iou_std", "time", "label"}
    assert verified["images"]["house"]["label"] == "house"
    assert verified["defaults"]["avg_time"] > verified["avg_time"]
    with sqlite3.connect(here / "lime-tuner.db") as connection:
        rows = connection.execute("SELECT avg_iou FROM lime_tuner_verifications").fetchall()
    assert rows == [(verified["avg_iou"],)]


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_seconds_of_a_busy_machine_are_told(
    here: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    monkeypatch.setattr(LoadMeter, "others_share", lambda _: share)
    export_pickle({"key": LimeParameters(num_samples=16)}, here / "p.pkl")
    few = ["--images", "key", "--seeds", "1", "--baseline-seeds", "0"]
    code, _, stderr = cli("verify", "p.pkl", *DEMO, *few)
    assert code == 0
    assert ("took 50% of this machine" in stderr) == (share > 0)


def test_an_export_of_nothing_says_what_there_is(here: Path, cli: Cli) -> None:
    random_studies("sqlite:///lime-tuner.db", "mine", ("house", "bird"), 2)
    random_studies("sqlite:///lime-tuner.db", "empty", ("house",), 0)
    for study, catalog, says in (
        ("nothing", "demo", "named 'nothing' or 'nothing/…': it has empty, mine"),
        ("empty", "demo", "'empty' has no finished trial of an image yet"),
        ("mine", "tml25", "'mine' is of bird, house, no images of the catalogue 'tml25'"),
    ):
        line = cli.refused("export", "--study", study, "--catalog", catalog, "--fill-defaults")
        assert says in line
    code, _, err = cli("export", "--study", "mine", "--catalog", "demo", "--fill-defaults")
    assert code == 0
    assert err.startswith("lime-tuner: lime's defaults for ")
    assert "house" not in err


def test_references_are_judged_and_doubtful_ones_left_out(here: Path, cli: Cli) -> None:
    by_maps = ["--reference", "gradcam@0.3"]
    facts = json.loads(cli.ok("reference", *DEMO, *by_maps, "-o", "masks", "--json"))
    scores = {key: fact["reliability"]["score"] for key, fact in facts.items()}
    assert all(0 <= score <= 1 for score in scores.values())
    worst, best = (choose(scores, key=lambda k: scores[k]) for choose in (min, max))
    assert worst in cli.ok("reference", *DEMO, *by_maps, "-o", "masks")
    arguments = [*DEMO, *FAST, *by_maps, "--images", f"{worst},{best}"]
    line = cli.refused("tune", *arguments, "--min-reliability", "1")
    assert f"the best has {scores[best]:.2f}" in line
    between = str((scores[worst] + scores[best]) / 2)
    tuned = json.loads(cli.ok("tune", *arguments, "--min-reliability", between, "--json"))
    assert list(tuned["images"]) == [best]
    assert tuned["images"][best]["reliability"] == pytest.approx(scores[best], abs=1e-3)
    status = json.loads(cli.ok("status", "--json"))
    assert status[f"demo/{best}"]["reliability"] == tuned["images"][best]["reliability"]


def test_pictures_are_not_written_over_photographs_and_masks(here: Path, cli: Cli) -> None:
    """And brackets in their names are no markup."""
    for folder, value in (("photographs", 200), ("masks", 255)):
        (here / folder).mkdir()
        pixels = np.zeros((128, 128), np.uint8)
        pixels[30:60, 30:90] = value
        Image.fromarray(pixels).save(here / folder / "me [x] :cat:.png")
    options = ["--catalog", "photographs", "--model", "demo", "--reference", "masks"]
    before = {path: path.read_bytes() for path in here.glob("*/*.png")}
    for command in ("reference", "explain"):
        for folder in ("photographs", "masks"):
            line = cli.refused(command, *options, "-o", folder)
            assert f"{folder} is the folder of the {folder}" in line
    assert {path: path.read_bytes() for path in here.glob("**/*.png")} == before
    assert "│ me [x] :cat: │" in cli.ok("reference", *options, "-o", "[red] new")
    assert (here / "[red] new" / "me [x] :cat:.png").is_file()


def test_verify_against_a_folder_of_masks(here: Path, cli: Cli) -> None:
    from explainers.lime import LimeParameters
    from studies.export import export_pickle

    export_pickle({"house": LimeParameters(num_samples=20)}, here / "p.pkl")
    (here / "mine").mkdir()
    np.save(here / "mine" / "house.npy", np.eye(128, dtype=bool))
    found = json.loads(
        cli.ok(
            "verify", "p.pkl", *DEMO, "--images", "house", "--seeds", "1", "--baseline-seeds", "0",
            "--reference", "mine", "--json",
        )
    )  # fmt: skip
    assert found["avg_iou"] < 0.2  # a diagonal line, not the catalogue's own mask
    assert "defaults" not in found


def test_pictures(here: Path, cli: Cli) -> None:
    cli.ok("cam", *DEMO, "--images", "house", "--method", "gradcam", "--method", "scorecam")
    for method in ("gradcam", "scorecam"):
        raw = np.load(here / "heatmaps" / method / "house.npy")
        assert raw.shape == (128, 128)
        assert raw.dtype == np.float32
        with Image.open(here / "heatmaps" / method / "house.png") as picture:
            assert picture.size == (128, 128)
    found = json.loads(cli.ok("reference", *DEMO, "--images", "house", "-o", "masks", "--json"))
    with Image.open(here / "masks" / "house.png") as picture:
        share = float((np.asarray(picture) > 0).mean())
    assert found["house"]["share"] == pytest.approx(share, abs=1e-4)
    assert (here / "masks" / "overlays" / "house.png").is_file()
    facts = json.loads(
        cli.ok("explain", *DEMO, "--images", "house", "--reference", "masks", "--json")
    )
    assert 0 <= facts["house"]["iou"] <= 1
    for name in ("house.png", "house.npy", "house.json", "superpixels/house.png"):
        assert (here / "explanations" / name).is_file()


def test_doctor_says_what_works(here: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    found = json.loads(cli.ok("doctor", "--json"))
    assert found["ok"]
    assert "ms an image" in found["checks"]["classifier"]["says"]
    assert set(found["milliseconds_an_image"]) == {"plain torch", *ENGINES} - {"auto"}
    assert min(found["milliseconds_an_image"].values()) > 0
    lines = found["checks"]["engines"]["says"].splitlines()
    assert [line.split()[0] for line in lines] == ["torch", "onnxruntime"]
    assert all("times as fast as plain torch" in line for line in lines)

    true = metadata.version

    def version(name: str) -> str:
        if name == "onnxruntime":
            raise metadata.PackageNotFoundError(name)
        return true(name)

    monkeypatch.setattr(metadata, "version", version)
    (here / "own_box.py").write_text("def f(images): return [[0.25, 0.75]] * len(images)\n")
    found = json.loads(cli.ok("doctor", "--json", "--model", "function:own_box:f"))
    assert "a black box, gets 224 × 224 pixels" in found["checks"]["classifier"]["says"]
    code, out, _ = cli("doctor", "--model", "no_such_model")
    assert code == 1
    assert "onnxruntime is not installed" in out
    assert f"torch {true('torch')}" in out
    code, out, _ = cli("doctor", "--fast", "--storage", "sqlite:////proc/x.db")
    assert code == 1
    assert all(check in out for check in found["checks"] if check != "classifier")
    assert "cannot be written" in " ".join(out.replace("│", " ").split())


def test_settings_come_from_option_environment_file(
    here: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "lime-tuner.toml").write_text('storage = "sqlite:///file.db"\n')
    assert "file.db" in cli.refused("status")
    monkeypatch.setenv("LIME_TUNER_STORAGE", "sqlite:///environment.db")
    assert "environment.db" in cli.refused("status")
    assert "option.db" in cli.refused("status", "--storage", "sqlite:///option.db")
    (here / "lime-tuner.toml").write_text("colour = 3\n")
    assert "colour" in cli.refused("tune", *DEMO)


def mistakes(here: Path) -> dict[str, tuple[list[str], str]]:
    """Wrong calls of ``tune``, and what their line must mention."""
    pictures = here / "pictures"
    pictures.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(pictures / "good.jpg")
    whole = (pictures / "good.jpg").read_bytes()
    (pictures / "broken.jpg").write_bytes(whole[: len(whole) // 3])
    torch.save({"layer.weight": torch.zeros(3)}, here / "other.pth")
    with sqlite3.connect(here / "invoices.db") as connection:
        connection.execute("CREATE TABLE invoices (id INTEGER)")
    masks = here / "zero"
    masks.mkdir()
    for key in ("house", "key"):
        Image.fromarray(np.zeros((128, 128), dtype=np.uint8)).save(masks / f"{key}.png")
    one = ["--images", "house", "--trials", "2"]
    return {
        "no such folder": (["--catalog", "nowhere"], "nowhere"),
        "no such assets": (["--catalog", "tml25", "--assets", "nowhere"], "nowhere"),
        "corrupt picture": (["--catalog", str(pictures), "--model", "demo"], "broken.jpg"),
        "unknown model": ([*DEMO, "--model", "resnet5000"], "resnet5000"),
        "other architecture": (
            [*DEMO, "--model", "squeezenet1_1", "--weights", "other.pth"], "other.pth",
        ),
        "no weights": ([*DEMO, "--model", "resnet18", "--weights", "gone.pth"], "gone.pth"),
        "read-only storage": ([*DEMO, *one, "--storage", "sqlite:////proc/x.db"], "/proc/x.db"),
        "not our database": ([*DEMO, *one, "--storage", "sqlite:///invoices.db"], "invoices"),
        "zero trials": ([*DEMO, "--trials", "0"], "--trials is 0"),
        "zero workers": ([*DEMO, "--workers", "0"], "--workers is 0"),
        "reliability over one": ([*DEMO, "--min-reliability", "2"], "--min-reliability 2"),
        "zero threads": ([*DEMO, "--threads", "0"], "--threads is 0"),
        "all-zero mask": ([*DEMO, *one, "--reference", "zero"], "empty"),
        "mask missing": ([*DEMO, "--images", "cat", "--reference", "zero"], "cat"),
        "unknown image": ([*DEMO, "--images", "dragon"], "dragon"),
        "unknown sampler": ([*DEMO, "--sampler", "magic"], "magic"),
        "unknown method": ([*DEMO, "--reference", "magiccam@0.3"], "magiccam"),
        "unknown rule": ([*DEMO, "--reference", "gradcam@most"], "most"),
        "unknown device": ([*DEMO, "--device", "abacus"], "abacus"),
        "unknown layer": ([*DEMO, "--cam-layer", "layer9"], "layer9"),
        "wrong fix": ([*DEMO, "--fix", "colour=red"], "colour"),
        "no space file": ([*DEMO, "--space", "gone.toml"], "gone.toml"),
        "unknown option": ([*DEMO, "--speed", "9"], "--speed"),
        "not a number": ([*DEMO, "--trials", "many"], "--trials"),
        "no url": ([*DEMO, *one, "--storage", "file.db"], "file.db"),
    }  # fmt: skip


def test_every_mistake_is_one_line_and_leaves_nothing(here: Path, cli: Cli) -> None:
    cases = mistakes(here)
    before = sorted(str(p) for p in here.rglob("*"))
    for name, (arguments, mentions) in cases.items():
        line = cli.refused("tune", *arguments)
        assert mentions in line, (name, line)
        assert sorted(str(p) for p in here.rglob("*")) == before, name


def test_mistakes_of_the_other_commands(here: Path, cli: Cli) -> None:
    (here / "list.pkl").write_bytes(pickle.dumps([1, 2]))
    (here / "evil.pkl").write_bytes(b"cposix\nsystem\n(S'touch canary'\ntR.")
    (here / "file").write_text("")
    for arguments, mentions in (
        (["verify", "gone.pkl"], "gone.pkl"),
        (["verify", "list.pkl", *DEMO], "list"),
        (["verify", "evil.pkl", *DEMO], "posix.system"),
        (["export"], "does not exist"),
        (["status"], "does not exist"),
        (["cam", *DEMO, "--method", "magic"], "magic"),
        (["cam", *DEMO, "-o", "file"], "file"),
        (["explain", *DEMO, "--params", "gone.pkl"], "gone.pkl"),
        (["reference", *DEMO, "-o", "file"], "file"),
        (["dance"], "dance"),
    ):
        assert mentions in cli.refused(*arguments)
    assert not (here / "canary").exists()


def test_an_interrupted_command_says_so(
    here: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tuner.cli.search.tune_run.run_studies", interrupt)
    assert "interrupted" in cli.refused("tune", *DEMO, *FAST, status=(130,))


def test_help_and_status_do_not_wait_for_torch() -> None:
    code = (
        "import sys, tuner.cli, studies.queries\n"
        "heavy = {'torch', 'optuna', 'skimage', 'sklearn', 'lime'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ},
    )
    assert done.returncode == 0, done.stderr
