"""The API, with results that are made up."""

from __future__ import annotations

import json
import pickle
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from studies.export import load_restricted
from studies.records.jobs import Jobs
from studies.web.service import Service, ServiceLimits, create_app
from tests.studies.web.service.services import form_body, made_service, photograph, stored, work_off


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return made_service(tmp_path)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """A service with the study ``mine``, which is done."""
    service = made_service(tmp_path_factory.mktemp("tuned"))
    with TestClient(create_app(service), base_url="http://localhost") as made:
        assert _ask(made).status_code == 202
    assert work_off(service) == 2
    return service


@pytest.fixture
def reader(tuned: Service) -> Iterator[TestClient]:
    """For those who change nothing."""
    with TestClient(create_app(tuned), base_url="http://localhost") as made:
        yield made


@pytest.fixture
def client(service: Service) -> Iterator[TestClient]:
    with TestClient(create_app(service), base_url="http://localhost") as made:
        yield made


def _ask(client: TestClient, study: str = "mine", images: int = 2) -> Any:
    parts: list[Any] = [("images", f"i{n}.png", photograph()) for n in range(images)]
    return client.post("/api/studies", **form_body([*parts, ("study", None, study.encode())]))


def _problem(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["detail"])


def _events(text: str) -> list[tuple[str, Any]]:
    found = re.findall(r"event: (\w+)\ndata: (.*)\n\n", text)
    return [(name, json.loads(data)) for name, data in found]


def test_from_asking_to_taking_away(client: TestClient, service: Service) -> None:
    answer = _ask(client)
    assert (answer.status_code, answer.headers["location"]) == (202, "/api/studies/mine")
    waiting = client.get("/api/studies/mine").json()
    assert (waiting["state"], waiting["reason"]) == ("queued", "waiting for a worker")
    assert waiting["images"]["i0"]["best"] is None
    assert "no image" in _problem(client.get("/api/studies/mine/explain_params.pkl"), 409)
    _problem(client.get("/api/studies/mine/images/i0/parameters.py"), 409)
    assert work_off(service) == 2
    done = client.get("/api/studies/mine").json()
    assert (done["study"], done["state"], list(done["images"])) == ("mine", "done", ["i0", "i1"])
    image = done["images"]["i0"]
    assert (image["trials"], image["pruned"]) == (8, 2)
    assert image["best"]["iou"] > 0.4
    assert image["default"] is None  # nobody has tried lime's own parameters
    answer = client.get("/api/studies/mine/explain_params.pkl")
    assert "attachment" in answer.headers["content-disposition"]
    assert load_restricted(answer.content).keys() == {"i0", "i1"}
    loaded = pickle.loads(answer.content)
    assert loaded["i0"]["num_samples"] == image["best"]["parameters"]["num_samples"]
    code = client.get("/api/studies/mine/images/i0/parameters.py").text
    compile(code, "parameters.py", "exec")
    assert f'"num_samples": {loaded["i0"]["num_samples"]}' in code
    assert [study["study"] for study in client.get("/api/studies").json()] == ["mine"]
    assert client.get("/healthz").json() == {"ok": True, "queued": 0, "running": 0, "workers": 0}


def test_it_says_what_tune_says(reader: TestClient, tuned: Service) -> None:
    from tuner.cli.search.tune_summary import summary_of

    said = reader.get("/api/studies/mine").json()
    summary = json.loads(json.dumps(summary_of(tuned.storage, "mine", ["i0", "i1"])))
    assert said["study"] == summary["study"]
    for key, image in summary["images"].items():
        assert image.pop("default") == image["best"]  # where there are no defaults
        assert {name: said["images"][key][name] for name in image} == image


def test_events_until_it_is_over(client: TestClient, service: Service) -> None:
    import threading

    _ask(client)
    timer = threading.Timer(1.5, work_off, [service])
    timer.start()
    with client.stream("GET", "/api/studies/mine/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        text = answer.read().decode()
    timer.join()
    events = _events(text)
    assert events[0][0] == "progress"
    assert events[0][1]["state"] == "queued"
    assert events[-1] == ("end", {})
    assert events[-2][1] == client.get("/api/studies/mine").json()
    _problem(client.get("/api/studies/other/events"), 404)


def test_cancelled(client: TestClient, service: Service) -> None:
    _ask(client)
    answer = client.delete("/api/studies/mine").json()
    assert (answer["state"], answer["reason"]) == ("cancelled", "somebody has cancelled it")
    assert work_off(service) == 0
    assert client.delete("/api/studies/mine").status_code == 200
    assert _events(client.get("/api/studies/mine/events").text)[-1][0] == "end"
    _problem(client.delete("/api/studies/other"), 404)


def test_a_failure_has_its_reason(client: TestClient, service: Service) -> None:
    _ask(client)
    jobs = Jobs(service.storage)
    job = jobs.claim("w")
    assert job is not None
    jobs.end(job.id, "failed", "broken <picture>")
    jobs.close()
    found = client.get("/api/studies/mine").json()
    assert (found["state"], found["reason"]) == ("failed", "i0: broken <picture>")
    assert found["images"]["i1"]["state"] == "cancelled"


def test_the_queue_ends_somewhere(tmp_path: Path) -> None:
    service = made_service(tmp_path, limits=ServiceLimits(images=5, queue=5))
    with TestClient(create_app(service), base_url="http://localhost") as client:
        assert _ask(client, "one", 3).status_code == 202
        answer = _ask(client, "two", 3)
        assert "3 images wait" in _problem(answer, 503)
        assert int(answer.headers["retry-after"]) > 0
        assert _ask(client, "three", 2).status_code == 202
        assert sorted(stored(service)) == ["one", "one/i0", "one/i1", "one/i2", "three",
                                           "three/i0", "three/i1"]  # fmt: skip
        assert work_off(service, 0) == 5
        assert _ask(client, "two", 3).status_code == 202


def test_pictures(reader: TestClient, tuned: Service) -> None:
    base = "/api/studies/mine/images"
    for shown in ("photo", "reference", "default", "best"):
        _problem(reader.get(f"{base}/i0/{shown}.png"), 404)
    path = tuned.folder / "mine" / "pictures" / "i0" / "photo.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(photograph())
    images = reader.get("/api/studies/mine").json()["images"]
    assert images["i0"]["pictures"]["photo"] is not None
    assert images["i1"]["pictures"]["photo"] is None
    answer = reader.get(f"{base}/i0/photo.png")
    assert (answer.headers["content-type"], answer.content) == ("image/png", photograph())
    for path_ in (
        f"{base}/i0/catalog.png", f"{base}/i9/photo.png", f"{base}/../photo.png",
        f"{base}/..%2f..%2fi0/photo.png", "/api/studies/other/images/i0/photo.png",
        f"{base}/%00/photo.png",
    ):  # fmt: skip
        assert reader.get(path_).status_code in (404, 422), path_


def test_the_report_is_made_once_while_nothing_changes(reader: TestClient, tuned: Service) -> None:
    answer = reader.get("/report/mine/")
    assert "LIME settings for mine" in answer.text
    assert "script-src" not in answer.headers["content-security-policy"]
    (made,) = (tuned.folder / "mine" / "reports").iterdir()
    stamp = (made / "index.html").stat().st_mtime_ns
    assert reader.get("/report/mine/").text == answer.text
    assert (made / "index.html").stat().st_mtime_ns == stamp
    assert reader.get("/report/mine/tables/trials.csv").text.count("\n") > 10
    for path in ("tables/none.csv", "index.html", "tables/..%2f..%2f..%2f..%2fcatalog.toml"):
        assert reader.get(f"/report/mine/{path}").status_code in (404, 422), path


def test_a_query_of_the_dashboard_is_looked_at_in_no_time(reader: TestClient) -> None:
    begun = time.monotonic()
    assert reader.get(f"/dashboard?{'a=' + 'a' * 9000}!").status_code < 500
    assert reader.get(f"/dashboard?a={'aaaaaaaa=' * 400}!").status_code < 500
    assert time.monotonic() - begun < 5


def test_the_dashboard_is_for_reading(reader: TestClient, tuned: Service) -> None:
    page = reader.get("/dashboard/studies/1")
    assert page.text.index("service_dashboard.js") < page.text.index("/static/bundle.js")
    (first, _) = reader.get("/dashboard/api/studies").json()["study_summaries"]
    assert first["study_name"] == "mine/i0"
    identity = first["study_id"]
    detail = reader.get(f"/dashboard/api/studies/{identity}").json()
    assert len(detail["trials"]) == 8
    assert reader.get(f"/csv/{identity}").text.count("\n") > 8
    assert len(reader.get("/static/bundle.js").content) > 100_000
    for method, path in (
        ("DELETE", f"/dashboard/api/studies/{identity}"), ("POST", "/dashboard/api/studies"),
        ("PUT", f"/dashboard/api/studies/{identity}/note"),
        ("POST", f"/dashboard/api/artifacts/{identity}"),
    ):  # fmt: skip
        assert "for reading" in _problem(reader.request(method, path, json={}), 405)


def test_the_api_in_words_has_nothing_from_elsewhere(reader: TestClient) -> None:
    for path in ("/docs", "/"):
        page = reader.get(path).text
        assert re.findall(r"(?:src|href)=\"(?:https?:)?//", page) == []
        assert not re.search(r"<script(?![^>]*src=)|<style| style=| on\w+=", page)
    words = reader.get("/docs").text
    for path in reader.get("/openapi.json").json()["paths"]:
        assert path in words


def test_wrong_names(reader: TestClient) -> None:
    for name in ("a b", "..", "a%2fb", "%3Cscript%3E", "x" * 65, "a%00"):
        answer = reader.get(f"/api/studies/{name}")
        assert answer.status_code in (404, 422), name
        assert "<script>" not in answer.text
    _problem(reader.get("/api/studies/none"), 404)
    _problem(reader.put("/api/studies/none"), 405)
    _problem(reader.get("/assets/service_docs.html.j2"), 404)
    _problem(reader.get("/assets/..%2ftml25.toml"), 404)
