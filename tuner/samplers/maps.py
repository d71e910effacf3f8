"""The order in which superpixel maps are computed: first a coarse choice, later all of them."""

from __future__ import annotations

import math

from explainers.lime import LimeParameters, Segmentation
from tuner.problem import LIME_DEFAULT, SearchSpace, SearchTask

__all__ = ["MapSchedule"]

_GOLDEN = (math.sqrt(5) - 1) / 2
# An algorithm whose best upper bound is this far below the highest gets 1/e of its time.
_SHARE_FALLS_BY, _LEAST_SHARE = 0.05, 0.1


class MapSchedule:
    """Shares modelled seconds among the superpixel algorithms of a space.

    The first map of every algorithm is computed first. Then algorithms with higher upper bounds get
    more time, and the maps of each are spread over its grid. The order depends only on the bounds,
    so it is the same in a resumed study.
    """

    def __init__(self, task: SearchTask, space: SearchSpace) -> None:
        image = next(iter(task.tasks.values())).image
        self._task = task
        self._pixels = image.shape[0] * image.shape[1]
        self._prices: dict[Segmentation | None, float] = {}
        self._waiting = _in_order(space)
        self._spent = dict.fromkeys(self._waiting, 0.0)
        self._promise: dict[str, float] = {}

    def coming(self, seconds: float) -> list[tuple[str, Segmentation | None]]:
        """The next maps with their algorithms, one for each thread of the task.

        The first is certain; the others follow if no upper bound changes the order. Empty when this
        many modelled seconds are spent, or all maps are computed.
        """
        leader = max(self._promise.values(), default=0.0)
        spent, taken = dict(self._spent), dict.fromkeys(self._waiting, 0)

        def due(algorithm: str) -> float:
            promise = self._promise.get(algorithm)
            if promise is None:
                return math.inf if taken[algorithm] else -1.0
            share = max(_LEAST_SHARE, math.exp((promise - leader) / _SHARE_FALLS_BY))
            following = self._waiting[algorithm][taken[algorithm]]
            return (spent[algorithm] + self._seconds(following)) / share

        maps: list[tuple[str, Segmentation | None]] = []
        while len(maps) < self._task.threads and sum(spent.values()) < seconds:
            left = [name for name, waiting in self._waiting.items() if taken[name] < len(waiting)]
            if not left:
                break
            algorithm = min(left, key=due)
            following = self._waiting[algorithm][taken[algorithm]]
            maps.append((algorithm, following))
            taken[algorithm] += 1
            spent[algorithm] += self._seconds(following)
        return maps

    def take(self, algorithm: str) -> None:
        """Count an algorithm's next map as computed."""
        self._spent[algorithm] += self._seconds(self._waiting[algorithm].pop(0))

    def rate(self, algorithm: str, upper: float) -> None:
        """Record the upper bound of a map; minus infinity where the map is useless."""
        self._promise[algorithm] = max(upper, self._promise.get(algorithm, -math.inf))

    def _seconds(self, segmentation: Segmentation | None) -> float:
        if segmentation not in self._prices:
            parameters = LimeParameters(segmentation=segmentation)
            # The number of superpixels does not matter here, and finding it would compute the map.
            parts = self._task.runtime_model.parts(parameters, 1, self._pixels)
            self._prices[segmentation] = parts.segmentation
        return self._prices[segmentation]


def _in_order(space: SearchSpace) -> dict[str, list[Segmentation | None]]:
    """The maps of each algorithm, in an order that covers its grid more and more finely."""
    by_algorithm: dict[str, list[Segmentation | None]] = {}
    for segmentation in space.segmentations():
        name = LIME_DEFAULT if segmentation is None else segmentation.algorithm
        by_algorithm.setdefault(name, []).append(segmentation)
    return {
        # Multiples of the golden ratio fill any grid evenly, whatever its size.
        name: [members[i] for i in sorted(range(len(members)), key=lambda i: (i * _GOLDEN) % 1)]
        for name, members in by_algorithm.items()
    }
