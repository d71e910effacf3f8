"""When a study is not worth further trials."""

from __future__ import annotations

__all__ = ["is_stagnant", "trials_without_gain"]

_LEAST_TRIALS = 30
_LEAST_SHARE = 0.4
# The longer a study has been going, the longer it waits for its next best, so patience grows with
# its trials: a best found at trial 60 is outwaited at trial 100, one found at 120 at 200.


def trials_without_gain(finished: int, best_number: int | None) -> int:
    """Finished trials after the best one; all of them while there is no best.

    Args:
        best_number: number of the best trial. Failed trials have numbers too, so with many of them
            this is a little low.
    """
    return finished if best_number is None else max(0, finished - best_number - 1)


def is_stagnant(finished: int, best_number: int | None) -> bool:
    """Whether the best trial lies so far back that time is better spent on other studies."""
    patience = max(_LEAST_TRIALS, _LEAST_SHARE * finished)
    return trials_without_gain(finished, best_number) >= patience
