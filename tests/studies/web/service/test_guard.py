"""Who may come in: nobody without the token, no foreign page, and no foreign name."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from studies.web.http import SESSION_COOKIE, is_loopback
from studies.web.service import Service, create_app
from tests.studies.web.service.services import form_body, made_service, photograph, stored

TOKEN = "a-token-of-the-lab"
OPEN = ("/", "/healthz", "/api/session", "/assets/service.js", "/assets/service.css")
CLOSED = (
    "/api/studies", "/api/studies/x", "/api/studies/x/events", "/api/service", "/docs",
    "/openapi.json", "/dashboard", "/dashboard/", "/dashboard/api/studies", "/static/bundle.js",
    "/artifacts/1/0", "/csv/1", "/report/x/", "/assets", "/healthz/",
)  # fmt: skip
FORM = form_body([("images", "cat.png", photograph())])


def _client(service: Service, **options: str) -> TestClient:
    base = options.pop("base_url", "http://lab.example")
    return TestClient(create_app(service), base_url=base, headers=options, follow_redirects=False)


@pytest.fixture
def locked(tmp_path: Path) -> Service:
    return made_service(tmp_path, token=TOKEN)


def test_without_the_token_there_is_the_empty_page_only(locked: Service) -> None:
    with _client(locked) as client:
        assert [client.get(path).status_code for path in OPEN] == [200] * len(OPEN)
        for path in CLOSED:
            assert client.get(path).status_code == 401, path
        for wrong in ("Bearer", "Bearer ", "Bearer a-token-of-the-la", f"Basic {TOKEN}", TOKEN):
            answer = client.post(
                "/api/studies", content=FORM["content"],
                headers={**FORM["headers"], "Authorization": wrong},
            )  # fmt: skip
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.headers["content-type"] == "application/problem+json"
            assert TOKEN not in answer.text
        assert client.get("/api/studies", headers={"Cookie": f"{SESSION_COOKIE}={TOKEN}"}).is_error
    assert stored(locked) == []


def test_with_the_token(locked: Service) -> None:
    with _client(locked, Authorization=f"Bearer {TOKEN}") as client:
        assert client.post("/api/studies", **FORM).status_code == 202
        assert client.get("/dashboard/").status_code == 200
        assert client.get("/docs").status_code == 200


def test_a_browser_gets_a_cookie_that_scripts_cannot_read(locked: Service) -> None:
    with _client(locked) as client:
        assert client.post("/api/session", content="wrong").status_code == 401
        assert client.post("/api/session", content=b"x" * 9000).status_code == 413
        assert client.post("/api/session", content=b"\xff").status_code == 400
        assert client.get("/api/studies").status_code == 401
        answer = client.post("/api/session", content=TOKEN)
        assert answer.status_code == 204
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert TOKEN not in cookie
        assert client.get("/api/studies").json() == []
        assert client.get("/api/session").json() == {"token": True, "may_enter": True}
        foreign = {"Origin": "http://evil.example", **FORM["headers"]}
        answer = client.post("/api/studies", content=FORM["content"], headers=foreign)
        assert answer.status_code == 403
        own = {"Origin": "http://lab.example", **FORM["headers"]}
        answer = client.post("/api/studies", content=FORM["content"], headers=own)
        assert answer.status_code == 202
        client.delete("/api/session")
        assert client.get("/api/studies").status_code == 401


def test_without_a_token_only_this_machine_by_its_own_name(tmp_path: Path) -> None:
    service = made_service(tmp_path)
    with _client(service, base_url="http://localhost:8000") as client:
        for host in ("127.0.0.1:8000", "localhost:8000", "[::1]:8000", "127.0.0.2"):
            assert client.get("/healthz", headers={"Host": host}).status_code == 200, host
        for host in ("evil.example", "localhost.evil.example", "10.0.0.1", "127.0.0.1.nip.io", ""):
            for path in ("/healthz", "/api/studies", "/dashboard/", "/"):
                assert client.get(path, headers={"Host": host}).status_code == 403, host
        for more in (
            {"Origin": "http://evil.example"}, {"Origin": "null"},
            {"Origin": "http://localhost:9999"}, {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
        ):  # fmt: skip
            headers = {**FORM["headers"], **more}
            answer = client.post("/api/studies", content=FORM["content"], headers=headers)
            assert answer.status_code == 403, more
            assert client.delete("/api/studies/x", headers=more).status_code == 403
    assert stored(service) == []


def test_what_browsers_are_told(tmp_path: Path) -> None:
    with _client(made_service(tmp_path), base_url="http://localhost") as client:
        for path in ("/", "/api/studies", "/nowhere", "/docs"):
            headers = client.get(path).headers
            policy = headers["content-security-policy"]
            assert "default-src 'self'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    ("host", "is_own"),
    [("127.0.0.1", True), ("::1", True), ("[::1]", True), ("LocalHost", True), ("0.0.0.0", False),
     ("::", False), ("192.168.0.1", False), ("localhost.example", False), ("", False)],
)  # fmt: skip
def test_loopback(host: str, is_own: bool) -> None:
    assert is_loopback(host) == is_own
