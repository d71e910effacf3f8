"""Programs that users copy from the page, the note and ``parameters.py``: copied, they run, and
give what the study has stored."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from explainers.classifiers import Classifier
from explainers.lime import LimeParameters, Segmentation, explain, explanation_mask
from explainers.masks import intersection_over_union
from studies.catalog.demo import DEMO_SEEDS, draw_scene
from studies.dashboard import dashboard_app
from studies.export import parameter_code
from studies.records.jobs import Jobs
from studies.results.attributes import PREPARED
from studies.storage import open_storage
from studies.web.service import Service, create_app
from tests.studies.web.service.services import form_body
from tests.tuner.command_line import FEW_MAPS, Cli
from tests.tuner.dashboards import asked
from tests.tuner.processes import ROOT
from tests.tuner.scenes import RUNTIME_MODEL
from tests.tuner.tiny import TUNE_TINY, tiny_picture
from tuner.study.identity import stored_reference
from tuner.workers.service import ServicePlan, ServiceWorker


def upload(folder: Path, key: str = "house") -> Path:
    """A photograph that is larger and wider than what the tiny network sees, partly transparent;
    its mask lies beside it."""
    image, mask = tiny_picture(key)
    pixels = np.pad(image, ((0, 0), (9, 13), (0, 0)), mode="wrap")
    visible = np.full((*pixels.shape[:2], 1), 255, np.uint8)
    visible[-6:] = 90
    picture = Image.fromarray(np.concatenate([pixels, visible], axis=2))
    path = folder / f"{key}.png"
    picture.resize((3 * picture.width, 3 * picture.height)).save(path)
    shown = Image.fromarray(np.pad(mask, ((0, 0), (9, 13))))
    shown.resize((3 * picture.width, 3 * picture.height)).save(folder / f"{key}_mask.png")
    return path


def mask_of(code: str, folder: Path) -> NDArray[np.bool_]:
    """What a program marks in a process of its own, in a folder."""
    (folder / "copied.py").write_text(f'{code}\nimport numpy\n\nnumpy.save("mask.npy", mask)\n')
    done = subprocess.run(
        [sys.executable, "copied.py"], cwd=folder, capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return np.asarray(np.load(folder / "mask.npy") > 0)


def has_stored_iou(mask: NDArray[np.bool_], study: optuna.Study) -> None:
    """The mask's IoU is that of the best trial's first seed, and within its spread."""
    reference = stored_reference(study.study_name, study.user_attrs)
    assert reference is not None
    ious = study.best_trial.user_attrs["iou_per_seed"]
    found = intersection_over_union(mask, reference.mask)
    assert found == pytest.approx(ious[0], abs=1e-6)
    assert min(ious) - 1e-6 <= found <= max(ious) + 1e-6
    assert found > 0.3


@dataclass(frozen=True)
class Served:
    """A study that a service has made."""

    url: str
    client: TestClient
    study: optuna.Study


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The study of an upload, ``pets/house``, with weights in a folder of the server's."""
    folder = tmp_path_factory.mktemp("served")
    url = f"sqlite:///{folder / 's.db'}"
    open_storage(url).close()
    photograph = upload(folder)
    service = Service(url, folder / "uploads", "tiny")
    with (
        pytest.MonkeyPatch.context() as patch,
        TestClient(create_app(service), base_url="http://localhost") as client,
    ):
        patch.setenv("LIME_TUNER_CACHE", str(folder / "cache"))
        patch.setattr("tuner.workers.service.kept_runtime_model", lambda *_: RUNTIME_MODEL)
        sent: list[Any] = [
            ("images", "house.png", photograph.read_bytes()),
            ("masks", "house.png", (folder / "house_mask.png").read_bytes()),
            ("study", None, b"pets"), ("trials", None, b"6"),
        ]  # fmt: skip
        assert client.post("/api/studies", **form_body(sent)).status_code == 202
        assert client.get("/api/studies/pets").json()["snippet"] == ""
        plan = ServicePlan(
            storage=url, folder=str(folder / "uploads"), model="tests.tuner.tiny:make",
            device="cpu", engine="torch", seeds=2,
        )  # fmt: skip
        jobs, deadline = Jobs(url), time.monotonic() + 120

        def over() -> bool:
            assert time.monotonic() < deadline
            return all(job.state not in ("queued", "running") for job in jobs.everything())

        worker = ServiceWorker(plan, over)
        worker.prepare()
        worker.run(pause=lambda seconds: time.sleep(0.1))
        assert [job.state for job in jobs.everything()] == ["done"]
        jobs.close()
        storage = open_storage(url)
        yield Served(url, client, optuna.load_study(study_name="pets/house", storage=storage))
        storage.close()


def test_the_service_s_parameters_run_as_they_are(served: Served, tmp_path: Path) -> None:
    code = served.client.get("/api/studies/pets/images/house/parameters.py").text
    upload(tmp_path)
    has_stored_iou(mask_of(code, tmp_path), served.study)
    assert "shorter side resized to 64" in code
    assert "central 64 × 64" in " ".join(code.replace("#", "").split())


def test_the_page_s_program_runs_beside_the_pickle(served: Served, tmp_path: Path) -> None:
    code = served.client.get("/api/studies/pets").json()["snippet"]
    answer = served.client.get("/api/studies/pets/explain_params.pkl")
    (tmp_path / "explain_params.pkl").write_bytes(answer.content)
    upload(tmp_path)
    has_stored_iou(mask_of(code, tmp_path), served.study)


def test_the_note_s_program_runs_as_it_is(served: Served, tmp_path: Path) -> None:
    note = asked(dashboard_app(served.url), "/api/studies/1")["note"]["body"]
    (code,) = re.findall(r"```python\n(.*?)\n```", note, flags=re.DOTALL)
    upload(tmp_path)
    has_stored_iou(mask_of(code, tmp_path), served.study)


def test_a_catalogue_s_geometry_is_the_note_s(here: Path, tiny_catalogue: Path, cli: Cli) -> None:
    upload(here)
    size = "[geometry]\nresize = 72\ncrop = 64\n"
    tiny_catalogue.write_text(
        f'reference = "masks"\n{size}[[image]]\nkey = "our house"\nfile = "house.png"\n'
        'mask = "house_mask.png"\n'
    )
    cli.ok(*TUNE_TINY, "--seeds", "2", *FEW_MAPS, "--trials", "8")
    note = asked(dashboard_app("sqlite:///lime-tuner.db"), "/api/studies/1")["note"]["body"]
    (code,) = re.findall(r"```python\n(.*?)\n```", note, flags=re.DOTALL)
    assert "Geometry(resize=72, crop=64)" in code
    assert 'load_classifier("tests.tuner.tiny:make", crop=64)' in code.replace("'", '"')
    names: dict[str, Any] = {}
    exec(code, names)
    storage = open_storage("sqlite:///lime-tuner.db")
    study = optuna.load_study(study_name="demo/our house", storage=storage)
    has_stored_iou(names["mask"] > 0, study)
    storage.close()


def test_a_drawn_scene_is_drawn_again(demo_classifier: Classifier) -> None:
    parameters = LimeParameters(Segmentation.of("slic", n_segments=12), num_samples=16)
    facts = {
        "image_key": "house",
        PREPARED: {"file": None, "resize": None, "crop": 128, "classifier": {"model": "demo"}},
    }
    names: dict[str, Any] = {}
    exec(parameter_code(parameters, facts), names)
    scene = draw_scene("house", DEMO_SEEDS["house"])
    assert np.array_equal(names["image"], scene.image)
    expected = explanation_mask(explain(scene.image, demo_classifier, parameters, seed=0))
    assert np.array_equal(names["mask"] > 0, expected)


def test_weights_are_named_and_the_service_hides_their_folder() -> None:
    from studies.web.service.documents import _for_code

    prepared = {
        "file": "it's.png", "resize": 256, "crop": 224,
        "classifier": {"model": "resnet50", "weights": "/home/lab/w.pth"},
    }  # fmt: skip
    code = parameter_code(LimeParameters(), {PREPARED: prepared})
    assert "load_classifier('resnet50', weights='/home/lab/w.pth').predict_proba" in code
    assert 'load_image(Path("it\'s.png"))' in code
    assert "its shorter side resized to 256" in code
    assert "Geometry(resize=256, crop=224)" in code
    squashed = {**prepared, "interpolation": "bicubic", "squash": True}
    code = parameter_code(LimeParameters(), {PREPARED: squashed})
    assert "both sides resized to 256" in code
    assert "Geometry(resize=256, crop=224, interpolation='bicubic', squash=True)" in code
    shown = parameter_code(LimeParameters(), _for_code({PREPARED: prepared, "plan": {}}))
    assert "/home/lab" not in shown
    assert "weights='w.pth'" in shown


def test_another_class_is_read_by_its_number() -> None:
    code = parameter_code(LimeParameters().about(7))
    assert "get_image_and_mask(\n    7, positive_only=True, num_features=5" in code
    assert "on the whole" in code  # and so the photograph has to be prepared
