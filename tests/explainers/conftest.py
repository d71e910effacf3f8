"""Fixtures of all tests of explainers."""

from __future__ import annotations

import pytest

from explainers import messages


@pytest.fixture(autouse=True)
def warnings_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings that are given once in a process are given once in every test."""
    monkeypatch.setattr(messages, "_warned", set())
