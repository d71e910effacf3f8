"""The service's HTTP interface: studies are requested, followed, cancelled and downloaded.

Nothing is tuned here. Requests become jobs in the database, which workers take.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import sqlalchemy
from fastapi import FastAPI, Query, Request
from fastapi import Path as InPath
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.responses import FileResponse, RedirectResponse

from explainers.errors import StorageError
from explainers.messages import one_line
from studies.dashboard import dashboard_app
from studies.web.http import (
    SESSION_COOKIE,
    Guard,
    Problem,
    StorageGate,
    is_token,
    made_app,
    may_enter,
    problem_answer,
    problem_responses,
    read_form,
    read_text,
    session_value,
)
from studies.web.service.bodies import TOKEN_BODY, UPLOAD_BODY
from studies.web.service.dashboard import DASHBOARD_PATHS, DashboardDoor
from studies.web.service.event_stream import EventStream
from studies.web.service.limits import STUDY_PATTERN
from studies.web.service.pages import FRESH, StaticParts, docs_page, main_page
from studies.web.service.study_service import Service, Shown, StudyService

__all__ = ["Service", "create_app"]

_UPLOAD_SECONDS = 300.0
_TURN_SECONDS = 20.0
_TOKEN_BYTES = 4_096
_PUBLIC = ("/", "/healthz", "/api/session", "/assets/")
_NEEDS_STORAGE = ("/api/studies", "/report/", *DASHBOARD_PATHS)
_REPORT_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; "
    "style-src 'unsafe-inline'; frame-ancestors 'none'",
    **FRESH,
}
_REPORT_FILE = r"^(figures|tables)/[A-Za-z0-9_-][A-Za-z0-9_.-]*$"
_logger = logging.getLogger("lime_tuner.serve")

_NAMED = {"s404": "no such study", "s422": "no name of a study"}
_Name = Annotated[str, InPath(pattern=STUDY_PATTERN, description="The study's name.")]
_Key = Annotated[str, InPath(max_length=200, description="The image's key.")]


def create_app(service: Service) -> FastAPI:
    study_service = StudyService(service)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        tidying = asyncio.create_task(study_service.keep_tidy())
        try:
            yield
        finally:
            tidying.cancel()
            await asyncio.gather(tidying, return_exceptions=True)
            await study_service.close()

    app = made_app(
        "lime-tuner serve", life,
        Middleware(Guard, token=service.token, public=_PUBLIC),
        Middleware(StorageGate, watch=study_service.watch, paths=_NEEDS_STORAGE),
        description=f"Finds LIME parameters for photographs that {service.model} classifies.",
    )  # fmt: skip

    async def away(_: Request, error: Exception) -> JSONResponse:
        _logger.error("the storage cannot be used: %s", one_line(str(error), 300))
        return problem_answer(
            Problem(503, "the database or the disk is away: try again", retry_after=10)
        )

    app.add_exception_handler(sqlalchemy.exc.SQLAlchemyError, away)
    app.add_exception_handler(StorageError, away)
    _add_studies(app, study_service)
    _add_results(app, study_service)
    _add_pages(app, study_service)
    return app


def _answers(media_type: str, description: str, **why: str) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI ``responses`` of a success and of possible problems."""
    sent = {"content": {media_type: {}}, "description": description}
    return {200: sent, **problem_responses(**why)}


def _add_studies(app: FastAPI, study_service: StudyService) -> None:
    """Add routes to request, follow and cancel studies."""
    limits = study_service.service.limits

    @app.post(
        "/api/studies",
        status_code=202,
        responses=problem_responses(
            s400="no multipart form, or a broken one",
            s408="the body came too slowly",
            s409="a study of that name exists",
            s413="too many bytes or pixels",
            s422="a file, name or number that is not taken; the answer says why",
            s503="the queue is full; see Retry-After",
        ),
        openapi_extra=UPLOAD_BODY,
    )
    async def create_study(request: Request) -> Response:
        """Tune the images of a new study."""
        await run_in_threadpool(study_service.check_room)
        try:
            await asyncio.wait_for(study_service.uploads.acquire(), _TURN_SECONDS)
        except asyncio.TimeoutError as error:
            raise Problem(503, "too many uploads at a time", retry_after=5) from error
        try:
            form = await read_form(
                request, int(limits.upload_mb * 1e6), files=2 * limits.images, fields=8,
                seconds=_UPLOAD_SECONDS, what="with files in its field 'images'",
                too_large=Problem(
                    413, f"the request has more than {limits.upload_mb:g} megabytes: send fewer "
                    "images",
                ),
            )  # fmt: skip
            try:
                study, keys = await run_in_threadpool(study_service.accept, form)
            finally:
                await form.close()
        finally:
            study_service.uploads.release()
        return JSONResponse(
            {"study": study, "images": keys}, 202, headers={"Location": f"/api/studies/{study}"}
        )

    @app.get("/api/studies", responses=problem_responses(s422="no such number"))
    def list_studies(
        most: Annotated[int, Query(ge=1, le=1000, description="How many.")] = 100,
    ) -> list[dict[str, Any]]:
        """The studies of the service, the newest first."""
        found = study_service.documents.of(study_service.jobs.newest(most))
        return list(reversed(found.values()))

    @app.get("/api/studies/{name}", responses=problem_responses(**_NAMED))
    def get_study(name: _Name) -> dict[str, Any]:
        """What a study has found so far, as ``tune --json`` says it, and how far it is."""
        return study_service.document(name)

    @app.delete("/api/studies/{name}", responses=problem_responses(**_NAMED))
    def cancel_study(name: _Name) -> dict[str, Any]:
        """Let a study end after the trial that is running; what it has found stays."""
        study_service.study(name)
        study_service.jobs.cancel(name)
        return study_service.document(name)

    @app.get(
        "/api/studies/{name}/events",
        response_class=Response,
        responses=_answers("text/event-stream", "Events", **_NAMED, s503="too many listen"),
    )
    async def follow_study(name: _Name) -> Response:
        """Server-sent events: ``progress`` with the study's document, ``end`` when it is over."""
        await run_in_threadpool(study_service.study, name)
        return EventStream(study_service.progress, name, limits.listeners)


def _add_results(app: FastAPI, study_service: StudyService) -> None:
    """Add routes to a study's results."""
    not_yet = {
        "s404": "no such study or image", "s409": "nothing is found yet",
        "s422": "no name of a study",
    }  # fmt: skip

    @app.get(
        "/api/studies/{name}/explain_params.pkl",
        response_class=Response,
        responses=_answers("application/octet-stream", "A pickle", **not_yet),
    )
    def take_pickle(name: _Name) -> Response:
        """Keyword arguments for stock lime, by image: those images that have some so far."""
        return Response(
            study_service.pickle(name), media_type="application/octet-stream",
            headers={"Content-Disposition": 'attachment; filename="explain_params.pkl"', **FRESH},
        )  # fmt: skip

    @app.get(
        "/api/studies/{name}/images/{key}/parameters.py",
        response_class=Response,
        responses=_answers("text/x-python", "Python", **not_yet),
    )
    def take_code(name: _Name, key: _Key) -> Response:
        """The best parameters of an image as Python that prepares and explains its photograph."""
        return Response(study_service.code(name, key), media_type="text/x-python", headers=FRESH)

    @app.get(
        "/api/studies/{name}/images/{key}/{shown}.png",
        response_class=Response,
        responses=_answers(
            "image/png",
            "A picture",
            s404="no such study or image, or no such picture yet",
            s422="no name of a study",
        ),
    )
    def show_picture(name: _Name, key: _Key, shown: Shown) -> Response:
        """An image as the classifier sees it, with what LIME marks, or the reference."""
        return Response(
            study_service.picture(name, key, shown), media_type="image/png", headers=FRESH
        )

    @app.get("/report/{name}/", include_in_schema=False)
    def show_report(name: _Name) -> Response:
        return FileResponse(
            study_service.report(name) / "index.html",
            media_type="text/html",
            headers=_REPORT_HEADERS,
        )

    @app.get("/report/{name}/{file:path}", include_in_schema=False)
    def show_report_file(
        name: _Name, file: Annotated[str, InPath(pattern=_REPORT_FILE)]
    ) -> Response:
        path = study_service.report(name) / file
        if not path.is_file():
            raise Problem(404, "the report has no such file")
        return FileResponse(path, headers=_REPORT_HEADERS)


def _add_pages(app: FastAPI, study_service: StudyService) -> None:
    """Add the page, its static files, the session and the dashboard."""
    service = study_service.service

    app.mount("/assets", StaticParts())

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    def page() -> Response:
        return main_page()

    @app.get("/docs", response_class=HTMLResponse, include_in_schema=False)
    def docs() -> str:
        return docs_page(app.openapi())

    @app.get("/healthz", responses=problem_responses(s503="the database is away"))
    def health() -> dict[str, Any]:
        """Whether studies are taken, and how many images wait."""
        study_service.watch.check(write=True)
        counts = study_service.jobs.counts()
        return {
            "ok": True,
            "queued": counts["queued"],
            "running": counts["running"],
            "workers": service.workers(),
        }

    @app.get("/api/service")
    def about() -> dict[str, Any]:
        """What may be asked for."""
        limits = service.limits
        return {
            "model": service.model,
            "trials": service.defaults.trials,
            "reference": service.defaults.reference,
            "limits": {
                "images": limits.images, "image_mb": limits.image_mb, "trials": limits.trials,
                "upload_mb": limits.upload_mb, "megapixels": limits.megapixels,
                "timeout": limits.timeout, "queue": limits.queue,
                "kept_days": limits.kept_days,
            },
        }  # fmt: skip

    @app.get("/api/session")
    def entered(request: Request) -> dict[str, bool]:
        """Whether the service has a token, and whether this request may come in."""
        return {
            "token": service.token is not None,
            "may_enter": may_enter(request, service.token),
        }

    @app.post(
        "/api/session",
        status_code=204,
        response_class=Response,
        responses=problem_responses(
            s400="no such body",
            s401="the token is wrong",
            s408="the body came too slowly",
            s413="no token is so long",
        ),
        openapi_extra=TOKEN_BODY,
    )
    async def enter(request: Request) -> Response:
        """For a browser: a cookie instead of the token, which it cannot send with a picture."""
        too_large = Problem(413, f"the body has more than {_TOKEN_BYTES} bytes: send the token")
        given = await read_text(request, _TOKEN_BYTES, too_large=too_large)
        if service.token is not None and not is_token(given.strip(), service.token):
            raise Problem(401, "the token is wrong")
        answer = Response(status_code=204)
        if service.token is not None:
            answer.set_cookie(
                SESSION_COOKIE, session_value(service.token), httponly=True, samesite="strict",
                secure=request.url.scheme == "https", path="/",
            )  # fmt: skip
        return answer

    @app.delete("/api/session", status_code=204, response_class=Response)
    def leave() -> Response:
        """Forget the cookie."""
        answer = Response(status_code=204)
        answer.delete_cookie(SESSION_COOKIE, path="/", httponly=True, samesite="strict")
        return answer

    door = DashboardDoor(lambda: dashboard_app(service.storage), study_service.jobs.counts)
    study_service.renewed.append(door.renew)
    for path in DASHBOARD_PATHS:
        for route in (path, f"{path}/{{rest:path}}"):
            app.add_route(route, door.__call__, methods=_ALL_METHODS, include_in_schema=False)

    @app.get("/favicon.ico", include_in_schema=False)
    def icon() -> Response:
        return RedirectResponse("/assets/service_icon.svg")


_ALL_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
