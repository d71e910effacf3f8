"""A grading server: strangers' parameters are explained with stock lime and compared with masks.

:mod:`studies.web.tokens` says who it is, ``limits`` what may be asked, ``evaluations`` waits for
a process of :mod:`studies.web.evaluator`, ``board`` shows what came out, ``app`` is the protocol.
"""

from studies.web.grading.app import GradingService, create_app

__all__ = ["GradingService", "create_app"]
