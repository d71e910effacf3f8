"""Stock lime on a submission, in a process that can be killed (``python -m`` this package).

Nothing heavy is imported here: it is the first thing that such a process does.
"""

from studies.web.evaluator.process import EvaluationRefused, EvaluatorDied, Slot
from studies.web.evaluator.task import EXAM_PREFIX, Exam, Limits, read_exam, write_exam

__all__ = [
    "EXAM_PREFIX", "EvaluationRefused", "EvaluatorDied", "Exam", "Limits", "Slot", "read_exam",
    "write_exam",
]  # fmt: skip
