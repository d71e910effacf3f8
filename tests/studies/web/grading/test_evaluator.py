"""The process that evaluates: what it answers, that it can be killed, and what it knows."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from explainers.classifiers import load_classifier
from studies.export import explain_with_stock_lime, stock_kwargs
from studies.web.evaluator import EvaluationRefused, EvaluatorDied, EvaluatorProcess, Limits
from studies.web.evaluator.evaluation import TooManySuperpixels, evaluate
from tests.studies.web.grading.tasks import KEYS, demo_folder, demo_task, good

_SLOW = {"num_samples": 5000, "segmentation_fn": None, "batch_size": 1}
_LARGE = {"num_samples": 5000, "batch_size": 5000}
_GRACE_SECONDS = 2.0


@pytest.fixture
def evaluator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EvaluatorProcess:
    """An evaluator, in a process that has secrets."""
    monkeypatch.setenv("LIME_TUNER_TOKEN", "secret-of-the-server")
    monkeypatch.setenv("LIME_TUNER_STORAGE", "postgresql://user:secret@host/db")
    return EvaluatorProcess(demo_folder(tmp_path))


def test_it_answers_what_stock_lime_gives_and_inherits_no_secret(
    evaluator: EvaluatorProcess,
) -> None:
    environment = psutil.Process(evaluator.start()).environ()
    assert "secret" not in str(environment)
    found = evaluator.evaluate(good(), Limits())
    task, classifier = demo_task(), load_classifier("demo", device="cpu")
    for key in KEYS:
        known = explain_with_stock_lime(
            task.images[key], task.references[key], classifier.predict_proba,
            stock_kwargs(good()[key]), seed=0, mask_rule=task.mask_rule.as_kwargs(),
        )  # fmt: skip
        assert found[key]["iou"] == pytest.approx(known.iou, abs=1e-12)
        assert found[key]["label"] == classifier.class_name(known.label)
        assert 0 < found[key]["time"] < 30


def test_repeats_are_averaged_and_the_clock_is_the_median() -> None:
    task = replace(demo_task(KEYS[:1]), repeats=3)
    classifier = load_classifier("demo", device="cpu")
    found = evaluate(task, classifier, good(KEYS[:1]), 1000)[KEYS[0]]
    single = [
        evaluate(replace(task, repeats=1, first_seed=seed), classifier, good(KEYS[:1]), 1000)
        for seed in range(3)
    ]
    assert found["iou"] == pytest.approx(sum(s[KEYS[0]]["iou"] for s in single) / 3)


def test_superpixels_are_counted_before_anything_is_explained() -> None:
    fine = {"algorithm": "felzenszwalb", "scale": 1, "sigma": 0, "min_size": 1}
    parameters = good(KEYS[:1])
    parameters[KEYS[0]] |= {"segmentation_fn": fine, "num_samples": 5000}
    start = time.perf_counter()
    with pytest.raises(TooManySuperpixels, match="superpixels"):
        evaluate(demo_task(KEYS[:1]), load_classifier("demo", device="cpu"), parameters, 50)
    assert time.perf_counter() - start < 5


def test_the_cutoff_and_the_memory_limit_kill_and_the_next_submission_works(
    evaluator: EvaluatorProcess,
) -> None:
    evaluator.start()
    start = time.monotonic()
    with pytest.raises(EvaluationRefused, match="cut-off of 1 s"):
        evaluator.evaluate(good(**_SLOW), Limits(cutoff=1.0))
    assert time.monotonic() - start < 1.0 + _GRACE_SECONDS
    idle_mb = psutil.Process(evaluator.start()).memory_info().rss >> 20
    start = time.monotonic()
    with pytest.raises(EvaluationRefused, match=f"more than {idle_mb + 100} MB"):
        evaluator.evaluate(good(**_LARGE), Limits(memory_mb=idle_mb + 100))
    assert time.monotonic() - start < _GRACE_SECONDS
    with pytest.raises(EvaluationRefused, match=r"superpixels"):
        evaluator.evaluate(good(), Limits(superpixels=1))
    pid = evaluator.start()
    assert evaluator.evaluate(good(), Limits())
    assert not psutil.pid_exists(pid)  # ended with its submission


def test_lime_failing_is_a_refusal_that_says_with_what(evaluator: EvaluatorProcess) -> None:
    parameters = good()
    parameters[KEYS[1]]["distance_metric"] = "mahalanobis"
    with pytest.raises(EvaluationRefused, match="stock lime failed"):
        evaluator.evaluate(parameters, Limits())


def test_a_process_that_dies_or_cannot_start_is_said(
    evaluator: EvaluatorProcess, tmp_path: Path
) -> None:
    process = psutil.Process(evaluator.start())
    process.kill()
    process.wait(10)
    assert evaluator.evaluate(good(KEYS), Limits())  # another one was started
    with pytest.raises(EvaluatorDied, match=r"task\.json"):
        EvaluatorProcess(tmp_path / "nothing").start()


def test_the_process_ends_with_its_server(tmp_path: Path) -> None:
    """Also in the middle of an evaluation, and also when the server is killed."""
    code = (
        "import sys, threading\n"
        "from pathlib import Path\n"
        "from studies.web.evaluator import Limits\n"
        "from studies.web.evaluator.process import EvaluatorProcess\n"
        "from tests.studies.web.grading.tasks import good\n"
        "evaluator = EvaluatorProcess(Path(sys.argv[1]))\n"
        "print(evaluator.start(), flush=True)\n"
        f"evaluator.evaluate(good(**{_SLOW!r}), Limits())\n"
    )
    here = Path(__file__).resolve().parents[4]
    server = subprocess.Popen(
        [sys.executable, "-c", code, str(demo_folder(tmp_path))],
        stdout=subprocess.PIPE, text=True, cwd=here, env={**os.environ, "PYTHONPATH": str(here)},
    )  # fmt: skip
    assert server.stdout is not None
    with server, server.stdout:
        pid = int(server.stdout.readline())
        time.sleep(0.5)
        assert psutil.pid_exists(pid)
        server.kill()
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(pid)
