"""The search for LIME parameters, and the command line.

In a notebook::

    from tuner import tune
    result = tune("cat.jpg", "resnet50")
    result  # pictures, numbers and parameters
    result.explain()  # stock lime's explanation with the best parameters
    result.to_pickle("explain_params.pkl")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuner.tuning import TuningResult, tune

__all__ = ["TuningResult", "tune"]


def __getattr__(name: str) -> Any:
    # `lime-tuner --help` imports this package too, and must not wait for torch and Optuna.
    if name in __all__:
        from tuner import tuning

        return getattr(tuning, name)
    raise AttributeError(f"module 'tuner' has no attribute {name!r}")
