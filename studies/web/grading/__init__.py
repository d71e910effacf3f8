"""The grading server: it runs stock lime with submitted parameters and scores the masks.

:mod:`studies.web.tokens` identifies teams, ``limits`` checks submissions, ``evaluations`` queues
them for the processes of :mod:`studies.web.evaluator`, ``board`` renders the score board, and
``app`` is the protocol.
"""

from studies.web.grading.app import GradingService, create_app

__all__ = ["GradingService", "create_app"]
