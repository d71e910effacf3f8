"""The server on a socket: many clients at once, and whatever its own description allows."""

from __future__ import annotations

import pickle
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from studies.records.grades import newest_grades
from studies.web.evaluator import Limits
from studies.web.grading import GradingService, create_app
from studies.web.tokens import read_tokens
from tests.studies.export.hostile_pickles import entry
from tests.studies.web.grading.live import serving
from tests.studies.web.grading.tasks import KEYS, FakeEvaluator, demo_task

_CLIENTS = 50


class _BriefSlot(FakeEvaluator):
    """Takes a moment, as a real one does."""

    def evaluate(
        self, parameters: Mapping[str, Mapping[str, Any]], limits: Limits
    ) -> dict[str, dict[str, Any]]:
        time.sleep(0.05)
        return super().evaluate(parameters, limits)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> GradingService:
    folder = tmp_path_factory.mktemp("live")
    tokens = folder / "tokens"
    tokens.write_text("".join(f"team{n} token-{n}\n" for n in range(_CLIENTS)))
    return GradingService(
        demo_task(), read_tokens(tokens), Limits(), f"sqlite:///{folder / 'g.db'}",
        (_BriefSlot(), _BriefSlot()), per_hour=100_000, capacity=8,
    )  # fmt: skip


@pytest.fixture(scope="module")
def url(service: GradingService) -> Iterator[str]:
    with serving(create_app(service)) as served:
        yield served


def test_fifty_clients_at_once_are_all_answered(url: str, service: GradingService) -> None:
    def submit(number: int) -> requests.Response:
        document = {key: entry(num_samples=100 + number) for key in KEYS}
        return requests.post(
            f"{url}/lime", files={"file": pickle.dumps(document)},
            headers={"token": f"token-{number}"}, timeout=60,
        )  # fmt: skip

    with ThreadPoolExecutor(_CLIENTS) as pool:
        answers = dict(enumerate(pool.map(submit, range(_CLIENTS))))
    counts = Counter(answer.status_code for answer in answers.values())
    assert set(counts) <= {200, 503}
    assert counts[200] >= 10  # two at work and eight waiting, at least
    assert counts[503] >= 1
    board = {grade.team: grade.avg_iou for grade in newest_grades(service.storage)}
    for number, answer in answers.items():
        if answer.status_code == 200:
            assert (
                board.pop(f"team{number}")
                == answer.json()["avg_iou"]
                == (pytest.approx((100 + number) / 10_000))
            )
        else:
            assert int(answer.headers["retry-after"]) > 0
    assert board == {}  # nobody is on it who was not answered


def test_its_own_description_leads_to_no_server_error(url: str) -> None:
    described = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = [found.ok() for found in described.get_all_operations()]
    assert len(operations) == 4
    for operation in operations:

        @settings(max_examples=60, suppress_health_check=list(HealthCheck))
        @given(
            case=operation.as_strategy() | operation.as_strategy(GenerationMode.NEGATIVE),
            token=st.sampled_from([{}, {"token": "token-0"}]),
        )
        def answered(case: Any, token: dict[str, str]) -> None:
            case.call_and_validate(
                headers=token,
                checks=[
                    not_a_server_error, status_code_conformance, content_type_conformance,
                    response_schema_conformance,
                ],
            )  # fmt: skip

        answered()
