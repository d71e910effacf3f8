"""The dashboard over real studies: what it shows, while they run, and without being installed."""

from __future__ import annotations

import io
import json
import re
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import requests
from PIL import Image

from explainers.lime import LimeParameters, PredictionCache
from explainers.references import Reference
from studies.dashboard import dashboard_app
from studies.results.trial_record import TrialRecord
from studies.storage import artifact_folder, open_storage
from studies.storage.artifacts import ArtifactFolder, artifact_store
from tests.explainers.numpy_classifiers import QuarterColours, picture
from tests.tuner.command_line import FEW_MAPS, Cli
from tests.tuner.dashboards import ask, asked
from tests.tuner.processes import Command
from tests.tuner.scenes import RUNTIME_MODEL, SMALL_SPACE
from tests.tuner.tiny import TUNE_TINY
from tuner.problem import TuningTask
from tuner.study import PICTURES, StudyNotes
from tuner.tuning import TuningSettings, open_study, run_study

URL = "sqlite:///lime-tuner.db"
TUNE = (*TUNE_TINY, "--images", "house", "--seeds", "2", *FEW_MAPS, "--trials")
ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures("tiny_catalogue")


def note_of(app: Any) -> str:
    return str(asked(app, "/api/studies/1")["note"]["body"])


def test_a_tuned_study_is_worth_looking_at(here: Path, cli: Cli) -> None:
    cli.ok(*TUNE, "4")
    app = dashboard_app(URL)
    (listed,) = asked(app, "/api/studies")["study_summaries"]
    assert listed["study_name"] == "demo/house"
    found = asked(app, "/api/studies/1")
    note, (best,) = found["note"]["body"], found["best_trials"]
    paths = re.findall(r"!\[[^]]*\]\((/artifacts/[^)]*)\)", note)
    assert len(paths) == 3
    for path in paths:
        status, headers, body = ask(app, path)
        assert (status, headers["Content-Type"]) == (200, "image/png")
        with Image.open(io.BytesIO(body)) as shown:
            assert shown.size == (256, 256)
    (own,) = best["artifacts"]
    assert own["filename"] == "explanation.png"
    assert paths[2] == f"/artifacts/1/{best['trial_id']}/{own['artifact_id']}"
    assert sorted(a["filename"] for a in found["artifacts"]) == [
        "lime-defaults.png", "photograph.png",
    ]  # fmt: skip
    (plot,) = found["plotly_graph_objects"]
    figure = json.loads(plot["graph_object"])
    assert figure["data"][-1]["text"] == [str(best["number"])]
    assert "4 trials" in note
    assert found["objective_names"] == ["score"]

    # What is shown once is not kept twice; what people write stays.
    version = found["note"]["version"]
    said = {"version": version + 1, "body": f"{note}\n\nLooks like the door."}
    assert ask(app, "/api/studies/1/note", "PUT", said)[0] == 204
    cli.ok(*TUNE, "5")
    again = asked(dashboard_app(URL), "/api/studies/1")
    assert len(again["artifacts"]) == 2
    assert "5 trials" in again["note"]["body"]
    assert again["note"]["body"].endswith("\n\nLooks like the door.")
    assert again["note"]["body"].count("## house") == 1

    # Lost pictures are drawn again, from answers that are cached.
    for path in artifact_folder(URL).iterdir():
        path.unlink()
    cli.ok(*TUNE, "6")
    app = dashboard_app(URL)
    paths = re.findall(r"\((/artifacts/[^)]*)\)", note_of(app))
    assert [ask(app, path)[0] for path in paths] == [200, 200, 200]
    assert ask(app, "/api/studies/1", "DELETE", {})[0] == 204


def test_a_study_without_a_reference_is_worth_looking_at(here: Path, cli: Cli) -> None:
    shown = cli.ok(*TUNE, "4", "--objective", "faithful")
    assert "default R²" in shown
    assert "nan" not in shown
    found = asked(dashboard_app(URL), "/api/studies/1")
    note, (best,) = found["note"]["body"], found["best_trials"]
    assert re.search(r"## house: faithfulness 0\.\d\d in", note)
    assert "held-out R² of the surrogate" in note
    assert "eference" not in note
    assert len(re.findall(r"!\[[^]]*\]\(/artifacts/", note)) == 3
    assert [own["filename"] for own in best["artifacts"]] == ["explanation.png"]
    (plot,) = found["plotly_graph_objects"]
    figure = json.loads(plot["graph_object"])
    assert figure["layout"]["yaxis"]["title"]["text"] == "faithfulness"
    (starred,) = figure["data"][-1]["y"]
    (measured,) = re.findall(r"faithfulness, their mean \| (\d\.\d+) ", note)
    assert starred == pytest.approx(float(measured), abs=6e-4)


def small_task() -> TuningTask:
    """A task whose classifier answers at once, with an empty cache."""
    reference = np.zeros((48, 40), dtype=bool)
    reference[:24, :20] = True
    return TuningTask(
        image=picture(5, 48, 40), source=QuarterColours(6), reference=Reference(reference, "masks"),
        cache=PredictionCache(), runtime_model=RUNTIME_MODEL,
    )  # fmt: skip


def test_pictures_cost_no_answers_and_change_no_study(tmp_path: Path) -> None:
    outcomes = []
    for noted in (False, True):
        task = small_task()
        study = open_study("a/house", open_storage(f"sqlite:///{tmp_path / f'{noted}.db'}"), {})
        settings = TuningSettings(trials=6, seeds=2, space=SMALL_SPACE, sampler="random")
        notes = StudyNotes(study, task, ArtifactFolder(tmp_path / "artifacts"))
        if noted:
            run_study(study, task, settings, notes.on_trial, (), notes.on_score)
            asked_for = task.cache.counts.new
            notes.write()
            assert task.cache.counts.new == asked_for
            assert set(study.user_attrs[PICTURES]) == {
                "photograph", "lime defaults", f"trial {study.best_trial.number}",
            }  # fmt: skip
        else:
            run_study(study, task, settings)
            notes.write()  # afterwards is early enough: the best trial's picture is the study's
            assert len(study.user_attrs[PICTURES]) == 3
        outcomes.append(
            [(t.state, t.value, t.params, t.user_attrs["answers"]) for t in study.trials]
        )
    assert outcomes[0] == outcomes[1]

    forgetful = StudyNotes(study, small_task(), ArtifactFolder(tmp_path / "elsewhere"))
    forgetful.write()  # an empty cache: the photograph only
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1


def tuned_in(folder: Path) -> tuple[optuna.Study, Path]:
    """A small study with notes, and where its pictures should be."""
    url = f"sqlite:///{folder / 'tuning.db'}"
    task, study = small_task(), open_study("a/picture", open_storage(url), {})
    notes = StudyNotes(study, task, artifact_store(url))
    settings = TuningSettings(trials=3, seeds=2, space=SMALL_SPACE, sampler="random")
    run_study(study, task, settings, notes.on_trial, (), notes.on_score)
    notes.write()
    assert {t.state.name for t in study.trials} <= {"COMPLETE", "PRUNED"}
    return study, artifact_folder(url)


def test_it_tunes_where_no_dashboard_is_installed(
    here: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        for module in ("studies.dashboard.app", "tuner.cli.servers.serving"):
            patched.setattr(f"{module}.find_spec", lambda name: None)
        study, folder = tuned_in(here)
        line = cli.refused("dashboard", status=(2,))
    assert "optuna-dashboard, waitress: pip install -e '.[dashboard]'" in line
    assert not folder.exists()
    assert study.user_attrs == {}
    assert note_of(dashboard_app("sqlite:///tuning.db")) == ""


def test_a_folder_that_cannot_be_written_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "tuning-artifacts").write_text("a file where the folder should be")
    study, folder = tuned_in(tmp_path)
    assert folder.is_file()
    assert len(study.trials) == 3
    (line,) = [r.getMessage() for r in caplog.records if r.name == "tuner.study.notes"]
    assert "a/picture" in line
    assert "tuning-artifacts" in line


def test_looking_does_not_disturb_a_running_study(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    study = optuna.create_study(
        study_name="p/a", storage=open_storage(url), direction="maximize",
        sampler=optuna.samplers.RandomSampler(seed=0),
    )  # fmt: skip
    done, seen = threading.Event(), []

    def look() -> None:
        app = dashboard_app(url)
        while not done.wait(0.1):
            for path in ("", "/param_importances"):
                seen.append(ask(app, f"/api/studies/{study._study_id}{path}")[0])
            seen.append(ask(app, "/api/studies")[0])
            # People write, too.
            version = asked(app, f"/api/studies/{study._study_id}")["note"]["version"]
            words = {"version": version + 1, "body": "x" * 5000}
            seen.append(ask(app, f"/api/studies/{study._study_id}/note", "PUT", words)[0])

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        record = TrialRecord(LimeParameters(), x, [x], [0], 1 + x, 0.5, {}, 7)
        for name, value in record.to_attributes().items():
            trial.set_user_attr(name, value)
        return x

    looking = threading.Thread(target=look)
    looking.start()
    try:
        study.optimize(objective, n_trials=100)
    finally:
        done.set()
        looking.join()
    assert {t.state.name for t in study.trials} == {"COMPLETE"}
    assert len(study.trials) == 100
    assert len(seen) >= 12
    assert set(seen) <= {200, 204}


def test_wrong_calls_are_one_line(here: Path, cli: Cli) -> None:
    assert "does not exist" in cli.refused("dashboard")
    assert "other.db" in cli.refused("dashboard", "--storage", "sqlite:///other.db")
    open_storage(URL)
    assert "--port 70000" in cli.refused("dashboard", "--port", "70000", status=(2,))
    assert "--host" in cli.refused("dashboard", "--host", "no.such.host.invalid", status=(2,))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert port in cli.refused("dashboard", "--port", port, status=(1,))


def test_it_warns_where_others_can_reach_it_and_opens_a_browser(
    here: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Server:
        def run(self) -> None:
            """Ctrl-C at once."""

    shown: list[str] = []
    monkeypatch.setattr("waitress.create_server", lambda *_, **__: Server())
    monkeypatch.setattr("webbrowser.open", shown.append)
    open_storage(URL)
    code, _, err = cli("dashboard", "--host", "0.0.0.0", "--port", "0")
    assert code == 130
    assert "no login" in err
    code, _, err = cli("dashboard", "--port", "0", "--open")
    assert code == 130
    assert "no login" not in err
    (address,) = shown
    assert f"lime-tuner.db on {address};" in err


def test_served_until_interrupted(here: Path) -> None:
    open_storage(URL)
    with Command("dashboard", "--port", "0", folder=here) as started:
        address = started.address()
        assert address.startswith("http://127.0.0.1:")
        page = requests.get(address, timeout=20)
        assert "optuna" in page.text.lower()
        assert requests.get(f"{address}/api/studies", timeout=20).json() == {"study_summaries": []}
        started.send_signal(signal.SIGINT)
        assert started.wait() == 130
    assert len(started.err.splitlines()) == 2  # where it is, and that it was interrupted
    assert "Traceback" not in started.err
