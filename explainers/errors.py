"""The exceptions of lime-tuner.

LimeTunerError              any error that is shown as one line (exit status 1)
├── InvalidInput            a wrong name, value or file was given (exit status 2)
│   ├── InvalidImage        a file is no readable picture
│   ├── InvalidParameters   lime cannot be called with these keyword arguments
│   └── UnsafePickle        a pickle refers to more than LIME parameters need
├── MissingAsset            a photograph or a weights file was not found
├── NotFinite               a network returns NaN or infinity
├── UnusableReference       a reference mask without an object, or without a background
├── StorageError            a database or folder cannot be used
│   └── StorageAway         a database is temporarily unreachable, e.g. while it restarts
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
    """A wrong name, value or file was given."""

    exit_status = 2


class InvalidImage(InvalidInput):
    """A file that is not a readable picture."""


class InvalidParameters(InvalidInput):
    """Values that ``explain_instance`` cannot be called with."""


class UnsafePickle(InvalidInput):
    """A pickle that refers to something other than LIME parameters."""


class MissingAsset(LimeTunerError):
    """A photograph or a weights file that was not found."""


class NotFinite(LimeTunerError):
    """A network that returns NaN or infinity."""


class UnusableReference(LimeTunerError):
    """A reference mask that is empty or covers the whole image."""


class StorageError(LimeTunerError):
    """A database or folder that cannot be used."""


class StorageAway(StorageError):
    """A database that is temporarily unreachable."""


class SubmissionError(LimeTunerError):
    """A grading server that refuses, cannot be reached, or answers without a result."""
