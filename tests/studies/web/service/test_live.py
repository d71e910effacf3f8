"""The service on a socket: many clients at once, its own description, and a browser."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from playwright.sync_api import Browser
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from studies.web.service import Service, ServiceLimits, create_app
from tests.pages import VIEWS, for_everybody, opened
from tests.studies.web.grading.live import serving
from tests.studies.web.service.services import made_service, photograph, stored, work_off

_CLIENTS = 20


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return made_service(tmp_path, limits=ServiceLimits(images=5, queue=12, uploads=2))


@pytest.fixture
def url(service: Service) -> Iterator[str]:
    with serving(create_app(service)) as served:
        yield served


def test_twenty_clients_at_once_are_all_answered(url: str, service: Service) -> None:
    def post(number: int) -> requests.Response:
        data = photograph(size=(400, 300), colour=number)
        return requests.post(
            f"{url}/api/studies", files=[("images", ("a.png", data))],
            data={"study": f"client-{number}", "trials": "1"}, timeout=120,
        )  # fmt: skip

    with ThreadPoolExecutor(_CLIENTS) as pool:
        answers = dict(enumerate(pool.map(post, range(_CLIENTS))))
    counts = Counter(answer.status_code for answer in answers.values())
    assert counts == {202: 12, 503: 8}  # twelve images fill the queue
    for answer in answers.values():
        if answer.status_code == 503:
            assert int(answer.headers["retry-after"]) > 0
            assert "wait or are being tuned" in answer.json()["detail"]
    assert work_off(service, 1) == 12
    said = requests.get(f"{url}/api/studies", timeout=30).json()
    found = {study["study"]: study for study in said}
    taken = {f"client-{number}" for number, a in answers.items() if a.status_code == 202}
    assert found.keys() == taken
    for name, study in found.items():
        assert study["state"] == "done"
        assert [image["trials"] for image in study["images"].values()] == [1]
        kept = service.folder / name / "images" / "a.png"
        assert kept.read_bytes() == photograph(size=(400, 300), colour=int(name.split("-")[1]))


def test_two_of_one_name_at_once(url: str, service: Service) -> None:
    def post(_: int) -> int:
        return requests.post(
            f"{url}/api/studies", files={"images": ("a.png", photograph())}, data={"study": "one"},
            timeout=60,
        ).status_code  # fmt: skip

    with ThreadPoolExecutor(6) as pool:
        answers = Counter(pool.map(post, range(6)))
    assert answers == {202: 1, 409: 5}
    assert sorted(stored(service)) == ["one", "one/a"]


def test_its_own_description_leads_to_no_server_error(url: str, service: Service) -> None:
    requests.post(
        f"{url}/api/studies", files={"images": ("a.png", photograph())}, data={"study": "a"},
        timeout=60,
    )  # fmt: skip
    work_off(service, 2)
    described = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = [found.ok() for found in described.get_all_operations()]
    assert len(operations) == 13
    for operation in operations:

        @settings(max_examples=15, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy() | operation.as_strategy(GenerationMode.NEGATIVE))
        def answered(case: Any) -> None:
            case.call_and_validate(
                checks=[
                    not_a_server_error, status_code_conformance, content_type_conformance,
                    response_schema_conformance,
                ],
            )  # fmt: skip

        answered()


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a service with one study that is done, with pictures."""
    service = made_service(tmp_path_factory.mktemp("shown"))
    with serving(create_app(service)) as url:
        data = photograph(size=(120, 120))
        requests.post(
            f"{url}/api/studies", data={"study": "shown", "trials": "3"},
            files=[
                ("images", (name, data)) for name in ("a_rather_long_name_of_a_cat.png", "b.png")
            ],
            timeout=60,
        )  # fmt: skip
        work_off(service, 3)
        yield url


@pytest.mark.parametrize(("screen", "scheme"), VIEWS)
def test_the_page_is_for_everybody(browser: Browser, shown: str, screen: str, scheme: str) -> None:
    for path, ready in (("/", "#studies a"), ("/?study=shown", ".image-card"), ("/docs", "h2")):
        page, wrong = opened(browser, f"{shown}{path}", screen, scheme, shown)
        page.wait_for_selector(ready)
        for_everybody(page, wrong, screen, scheme)
        page.close()


def test_the_page_shows_the_program_as_the_service_writes_it(browser: Browser, shown: str) -> None:
    page, _ = opened(browser, f"{shown}/?study=shown", "desktop", "light", shown)
    page.wait_for_selector("#use:not([hidden])")
    written = requests.get(f"{shown}/api/studies/shown", timeout=30).json()["snippet"]
    assert page.locator("#snippet").text_content() == written
    assert "pickle.load(file)['a_rather_long_name_of_a_cat']" in written
    page.close()


def test_the_page_works_by_keyboard_and_link(browser: Browser, shown: str, tmp_path: Path) -> None:
    page, wrong = opened(browser, shown, "desktop", "light", shown, "blob:")
    page.wait_for_selector("#studies a")
    (tmp_path / "cat.png").write_bytes(photograph())
    page.locator("#images").focus()
    page.set_input_files("#images", str(tmp_path / "cat.png"))
    assert page.locator("#chosen img").count() == 1
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Remove cat.png"
    page.keyboard.press("Enter")
    assert page.locator("#chosen img").count() == 0
    page.set_input_files("#images", str(tmp_path / "cat.png"))
    page.locator("#trials").fill("2")
    page.locator("#study-name").fill("by-keyboard")
    page.keyboard.press("Enter")
    page.wait_for_selector("#study:not([hidden])")
    assert page.evaluate("document.activeElement.id") == "study-title"
    assert page.url == f"{shown}/?study=by-keyboard"
    assert page.locator("#study-state").inner_text() == "waiting"
    page.on("dialog", lambda dialog: dialog.accept())
    page.locator("#cancel").click()
    page.wait_for_selector('#study-state[data-state="cancelled"]')
    page.go_back()
    page.wait_for_selector("#start:not([hidden])")
    assert wrong == []
    other, _ = opened(browser, f"{shown}/?study=by-keyboard", "phone", "dark", shown)
    other.wait_for_selector('#study-state[data-state="cancelled"]')
    other.close()
    page.close()


def test_the_page_tells_when_the_storage_is_gone_and_when_it_is_back(
    browser: Browser, url: str, service: Service
) -> None:
    page = browser.new_page()
    page.clock.install()
    page.goto(url)
    page.get_by_text("None yet.").wait_for()
    assert page.locator("#away").is_hidden()
    file = Path(service.storage.removeprefix("sqlite:///"))
    moved = [path.rename(f"{path}.away") for path in file.parent.glob(f"{file.name}*")]
    page.clock.fast_forward(11_000)
    page.get_by_role("alert").get_by_text("the database is gone").wait_for()
    for path in moved:
        path.rename(str(path).removesuffix(".away"))
    page.clock.fast_forward(11_000)
    page.locator("#away").wait_for(state="hidden")
    page.get_by_text("None yet.").wait_for()
    page.close()


def test_the_dashboard_finds_its_own_api(browser: Browser, shown: str) -> None:
    page, wrong = opened(browser, f"{shown}/dashboard/", "desktop", "light", shown)
    page.get_by_text("shown/b").click()
    page.get_by_role("heading", name="History").wait_for()
    assert [line for line in wrong if "verbose" not in line] == []
    page.close()


def test_the_page_asks_for_the_token(browser: Browser, tmp_path: Path) -> None:
    service = made_service(tmp_path, token="the-token-of-the-lab")
    with serving(create_app(service)) as url:
        page, wrong = opened(browser, url, "desktop", "light", url)
        page.wait_for_selector("#login:not([hidden])")
        assert wrong == []
        page.locator("#token").fill("something else")
        page.keyboard.press("Enter")
        page.wait_for_selector("#login-wrong:not(:empty)")
        page.locator("#token").fill("the-token-of-the-lab")
        page.keyboard.press("Enter")
        page.wait_for_selector("#start:not([hidden])")
        assert len(wrong) == 1  # the browser tells of the wrong token
        page.locator("#leave").wait_for()
        # What cannot send a header is let in, too.
        page.goto(f"{url}/docs")
        assert page.locator("h1").inner_text() == "API"
        assert page.evaluate("document.cookie") == ""
        page.close()


def test_a_listener_hears_what_changes(url: str, service: Service) -> None:
    requests.post(
        f"{url}/api/studies", files={"images": ("a.png", photograph())}, data={"study": "a"},
        timeout=60,
    )  # fmt: skip

    def listen(_: int) -> str:
        return requests.get(f"{url}/api/studies/a/events", timeout=60).text

    with ThreadPoolExecutor(10) as pool:
        heard = [pool.submit(listen, n) for n in range(10)]
        time.sleep(1.5)
        work_off(service, 4)
        texts = {found.result().rpartition("event: progress")[2] for found in heard}
    assert len(texts) == 1
    assert '"state": "done"' in texts.pop()
