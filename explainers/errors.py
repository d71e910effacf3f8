"""The exceptions of lime-tuner.

LimeTunerError              anything a user can be told in one line (exit status 1)
├── InvalidInput            what was asked for is wrong: a name, a value, a file (exit status 2)
│   ├── InvalidImage        a file that is no readable picture
│   ├── InvalidParameters   keyword arguments that lime cannot be called with
│   └── UnsafePickle        a pickle that asks for more than LIME parameters need
├── MissingAsset            a photograph or a weights file is nowhere to be found
├── NotFinite               a network that answers NaN or infinity
├── UnusableReference       a reference mask without an object, or without a background
├── StorageError            a database or folder that cannot be used
│   └── StorageAway         a database that does not answer just now: restarted, or out of reach
└── SubmissionError         a grading server refuses, cannot be reached, or answers without a result

Further ones stand beside what raises them, and are caught in their own package:

LimeTunerError
├── InvalidInput
│   ├── Mismatch            tuner.study: this machine has not what a study was made from
│   └── NameTaken           studies.records: there are jobs of a study of that name
├── EvaluationRefused       studies.web: a submission is itself why it has no result
├── EvaluatorDied           studies.web: an evaluating process did not start, or ended
├── QueueFull               studies.web: as many submissions wait as may
└── StillWaiting            studies.web: a team's submission is not answered yet

A message says what was received, what was allowed, and what to do next.
"""

from __future__ import annotations

__all__ = [
    "InvalidImage",
    "InvalidInput",
    "InvalidParameters",
    "LimeTunerError",
    "MissingAsset",
    "NotFinite",
    "StorageAway",
    "StorageError",
    "SubmissionError",
    "UnsafePickle",
    "UnusableReference",
]


class LimeTunerError(Exception):
    """Base of all errors that the command line prints as one line.

    For example::

        try:
            result = tune(image, classifier)
        except LimeTunerError as error:
            print(f"Error: {error}", file=sys.stderr)
            sys.exit(error.exit_status)
    """

    exit_status = 1


class InvalidInput(LimeTunerError):
    """The call itself was wrong."""

    exit_status = 2


class InvalidImage(InvalidInput):
    """A file that is not a readable picture."""


class InvalidParameters(InvalidInput):
    """Values that ``explain_instance`` cannot be called with."""


class UnsafePickle(InvalidInput):
    """A pickle that refers to something other than LIME parameters."""


class MissingAsset(LimeTunerError):
    """A file that was found in none of the places searched."""


class NotFinite(LimeTunerError):
    """A network whose answers are no numbers."""


class UnusableReference(LimeTunerError):
    """A reference mask that nothing can be scored against."""


class StorageError(LimeTunerError):
    """A database or folder that cannot be used."""


class StorageAway(StorageError):
    """A database that does not answer just now."""


class SubmissionError(LimeTunerError):
    """A grading server that refuses, cannot be reached, or answers without a result."""
