"""Parts that our web servers share: limits, access checks, problem documents, uploads."""

from studies.web.http.connections import ConnectionLimits, connection_limits
from studies.web.http.entrance import Entrance
from studies.web.http.guard import (
    SESSION_COOKIE,
    Guard,
    is_loopback,
    is_token,
    may_enter,
    session_value,
)
from studies.web.http.problems import (
    PROBLEM_TYPE,
    Problem,
    add_problem_handlers,
    problem_answer,
    problem_responses,
)
from studies.web.http.server import made_app, made_server, run_server
from studies.web.http.storage_watch import StorageGate, StorageWatch
from studies.web.http.uploads import read_file, read_form, read_text
from studies.web.http.wsgi import WsgiAnswer, ask_wsgi

__all__ = [
    "PROBLEM_TYPE", "SESSION_COOKIE", "ConnectionLimits", "Entrance", "Guard", "Problem",
    "StorageGate", "StorageWatch", "WsgiAnswer", "add_problem_handlers", "ask_wsgi",
    "connection_limits", "is_loopback", "is_token", "made_app", "made_server", "may_enter",
    "problem_answer", "problem_responses", "read_file", "read_form", "read_text", "run_server",
    "session_value",
]  # fmt: skip
