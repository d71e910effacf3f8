"""Decide when further trials of a study are not worth their time."""

from __future__ import annotations

__all__ = ["is_stagnant", "trials_without_gain"]

_LEAST_TRIALS = 30
_LEAST_SHARE = 0.4
# Improvements become rarer with the number of trials, so patience grows with it: a study whose best
# is trial 60 is stagnant at trial 100, one whose best is trial 120 at trial 200.


def trials_without_gain(finished: int, best_number: int | None) -> int:
    """Return the number of finished trials after the best one; all of them while there is none.

    Args:
        best_number: number of the best trial. Failed trials have numbers, too, so with many of them
            the result is too low.
    """
    return finished if best_number is None else max(0, finished - best_number - 1)


def is_stagnant(finished: int, best_number: int | None) -> bool:
    """Whether the best trial is so old that time is better spent on other studies."""
    patience = max(_LEAST_TRIALS, _LEAST_SHARE * finished)
    return trials_without_gain(finished, best_number) >= patience
