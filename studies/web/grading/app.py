"""The grading protocol over HTTP: ``POST /lime`` and the score board."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

from fastapi import FastAPI, Query, Request
from fastapi.responses import HTMLResponse
from starlette.concurrency import run_in_threadpool

from explainers.errors import InvalidInput, LimeTunerError, StorageError
from explainers.messages import one_line
from studies.export import load_restricted
from studies.records import records
from studies.records.grades import Grade, add_grade, newest_grades
from studies.web.evaluator import EvaluationRefused, EvaluatorDied, GradingTask, Limits, Result
from studies.web.grading.board import ORDERS, board_page, board_rows
from studies.web.grading.evaluations import (
    Evaluations,
    Evaluator,
    QueueFull,
    RateLimit,
    StillWaiting,
    Submission,
)
from studies.web.grading.limits import checked_submission
from studies.web.http import Problem, StorageWatch, made_app, problem_responses, read_file
from studies.web.tokens import Tokens

__all__ = ["GradingService", "create_app"]

_logger = logging.getLogger("lime_tuner.grade")


@dataclass(frozen=True, eq=False)
class GradingService:
    """The settings and parts of a grading server.

    Attributes:
        storage: URL of the database that grades are recorded in.
        per_hour: submissions that a team may make in an hour.
        capacity: submissions that may wait for an evaluator.
    """

    task: GradingTask
    tokens: Tokens
    limits: Limits
    storage: str
    evaluators: tuple[Evaluator, ...]
    per_hour: int = 30
    capacity: int = 8

    def open(self) -> None:
        """Create the database if there is none yet.

        Raises:
            StorageError: it cannot be used.
        """
        with records(self.storage):
            self.watch.check()

    @cached_property
    def watch(self) -> StorageWatch:
        """Checks that the database is still there."""
        return StorageWatch(self.storage)

    @property
    def patience(self) -> int:
        """Seconds after which a client should try again: a tenth of the cut-off, 5 to 60."""
        return int(min(60.0, max(5.0, self.limits.cutoff / 10)))

    def keep(self, submission: Submission, result: Result) -> None:
        """Record a result.

        Raises:
            StorageError: it cannot be recorded. A deleted database is not created again.
        """
        try:
            self.watch.check()
        except Problem as problem:
            raise StorageError(problem.detail) from problem
        add_grade(
            self.storage,
            team=submission.team,
            upload_sha256=submission.upload_sha256,
            parameters=submission.parameters,
            exam=self.task.facts,
            result=_means(result) | {"images": result},
        )

    def grades(self) -> list[Grade]:
        """Return the newest grade of each team, the best first.

        Raises:
            Problem: 503 they cannot be read.
        """
        self.watch.check()
        try:
            return newest_grades(self.storage)
        except StorageError as error:
            _logger.error("%s", one_line(str(error), 300), extra={"kind": "board"})
            raise Problem(503, "the score board cannot be read now", retry_after=10) from error


def _means(result: Result) -> dict[str, float]:
    """Return the protocol's answer, the means over the images."""
    return {
        "avg_iou": fmean(image["iou"] for image in result.values()),
        "avg_time": fmean(image["time"] for image in result.values()),
    }


def create_app(service: GradingService) -> FastAPI:
    """Create the application, which starts and stops its evaluators."""
    evaluations = Evaluations(
        list(service.evaluators), service.limits, service.capacity, service.keep
    )
    rate = RateLimit(service.per_hour)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(service.open)
        await run_in_threadpool(evaluations.start)
        try:
            yield
        finally:
            await run_in_threadpool(evaluations.stop)

    app = made_app("lime-tuner grade", life)

    @app.post("/lime", responses=_LIME_RESPONSES, openapi_extra=_UPLOAD)
    async def lime(request: Request) -> dict[str, float]:
        """Explain every image with the submitted parameters, and say how good that is."""
        start = time.monotonic()
        # The token is checked first, so that no body is read without one.
        team = service.tokens.team_of(request.headers.get("token"))
        status, why = 200, ""
        try:
            return await _graded(request, team, service, evaluations, rate)
        except Problem as problem:
            status, why = problem.status, problem.detail
            raise
        finally:
            _log(
                event="submission", status=status, why=one_line(why, 200), team=team,
                seconds=round(time.monotonic() - start, 3), waiting=evaluations.waiting,
            )  # fmt: skip

    away = problem_responses(s503="the database is away")

    @app.get("/score_board", response_class=HTMLResponse, responses=_BOARD_AWAY)
    def score_board(sort: str = Query("iou", description=", ".join(ORDERS))) -> HTMLResponse:
        """The newest result of every team, as a page."""
        try:
            grades = service.grades()
        except Problem as problem:
            page = board_page([], "iou", "", away=problem.detail)
            return HTMLResponse(page, problem.status, problem.headers())
        count = len(service.task.keys)
        lead = f"LIME on {count} image{'s' * (count != 1)} against {service.task.rule}."
        return HTMLResponse(board_page(grades, sort, lead))

    @app.get("/api/score_board", responses=away)
    def score_board_json() -> list[dict[str, Any]]:
        """The same as JSON, by place."""
        return board_rows(service.grades())

    @app.get("/healthz", responses=away)
    def health() -> dict[str, Any]:
        """Whether submissions are taken, and how many wait."""
        service.watch.check(write=True)
        service.grades()
        return {"ok": True, "waiting": evaluations.waiting}

    return app


async def _graded(
    request: Request,
    team: str | None,
    service: GradingService,
    evaluations: Evaluations,
    rate: RateLimit,
) -> dict[str, float]:
    if team is None:
        raise Problem(401, "the header 'token' is missing, or nobody has that token")
    seconds = rate.seconds_to_wait(team)
    if seconds:
        raise Problem(
            429, f"a team may submit {service.per_hour} times an hour", retry_after=seconds
        )
    service.watch.check(write=True)
    data = await read_file(request, "file", service.limits.upload_bytes)
    digest = hashlib.sha256(data).hexdigest()
    parameters = await run_in_threadpool(_checked, service, data)
    try:
        answer = evaluations.add(Submission(team, parameters, digest))
        return _means(await asyncio.wrap_future(answer))
    except StillWaiting as error:
        raise Problem(429, str(error), retry_after=service.patience) from error
    except QueueFull as error:
        raise Problem(503, str(error), retry_after=service.patience) from error
    except EvaluationRefused as error:
        raise Problem(422, str(error)) from error
    except (EvaluatorDied, StorageError) as error:
        _logger.error("%s", json.dumps({"event": "failed", "why": one_line(str(error), 300)}))
        raise Problem(
            503, "the evaluation failed here, not because of the file: submit it again",
            retry_after=service.patience,
        ) from error  # fmt: skip


def _checked(service: GradingService, data: bytes) -> Mapping[str, Mapping[str, Any]]:
    """Return the plain parameters of an uploaded file.

    Raises:
        Problem: 400 it is not a pickle of parameters; 422 the parameters are not accepted.
    """
    try:
        document = load_restricted(data)
    except LimeTunerError as error:
        raise Problem(400, str(error)) from error
    except Exception as error:
        _logger.exception("a pickle that the reader did not foresee")
        raise Problem(400, "the file cannot be read as a pickle of LIME parameters") from error
    try:
        return checked_submission(document, service.task.keys, service.limits)
    except InvalidInput as error:
        raise Problem(422, str(error)) from error
    except Exception as error:
        _logger.exception("parameters that the checks did not foresee")
        raise Problem(422, "the parameters are none that stock lime can work with") from error


def _log(**facts: Any) -> None:
    """Log one line of JSON, never a token; the log limits the lines of requests without a team."""
    kind = {} if facts["team"] is not None else {"kind": "nobody's"}
    _logger.info("%s", json.dumps(facts), extra=kind)


_BOARD_AWAY: dict[int | str, dict[str, Any]] = {
    503: {"description": "the database is away", "content": {"text/html": {}}}
}
_LIME_RESPONSES = problem_responses(
    s400="no file, or no pickle of LIME parameters",
    s401="no such token",
    s408="the body came too slowly",
    s413="too large",
    s422="parameters out of bounds, or too expensive to evaluate",
    s429="too many submissions of this team",
    s503="the queue is full, or the database is away",
)
_FILE = {"file": {"type": "string", "format": "binary"}}
_FORM = {"schema": {"type": "object", "properties": _FILE, "required": ["file"]}}
_UPLOAD: dict[str, Any] = {
    "parameters": [
        {"name": "token", "in": "header", "required": True, "schema": {"type": "string"}}
    ],
    "requestBody": {"required": True, "content": {"multipart/form-data": _FORM}},
}
