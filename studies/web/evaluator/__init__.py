"""Run stock lime on a submission, in a process that can be killed (``python -m`` this package).

torch is not imported here, as the server, which imports this package, does not need it.
"""

from studies.web.evaluator.process import EvaluationRefused, EvaluatorDied, EvaluatorProcess, Result
from studies.web.evaluator.task import TASK_PREFIX, GradingTask, Limits, read_task, write_task

__all__ = [
    "TASK_PREFIX", "EvaluationRefused", "EvaluatorDied", "EvaluatorProcess", "GradingTask",
    "Limits", "Result", "read_task", "write_task",
]  # fmt: skip
