"""Superpixel maps that a cache begins with before they are asked for."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from explainers.lime import PredictionCache

IMAGE = np.zeros((4, 6, 3), dtype=np.uint8)


@dataclass
class Columns:
    """Stands for lime's wrapper: superpixels that are columns of some width."""

    width: int
    computed_by: list[threading.Thread] = field(default_factory=list)
    begin: threading.Event | None = None
    algo_type = "columns"

    @property
    def target_params(self) -> dict[str, Any]:
        return {"width": self.width}

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.int64]:
        if self.begin is not None:
            self.begin.wait(30)
        self.computed_by.append(threading.current_thread())
        if self.width < 1:
            raise ValueError("no width")
        labels: NDArray[np.int64] = np.indices(image.shape[:2])[1] // self.width
        return labels


def test_each_is_computed_once_and_elsewhere(tmp_path: Path) -> None:
    narrow, wide, other = Columns(1), Columns(3), Columns(2)
    cache = PredictionCache(tmp_path)
    for _ in range(2):
        cache.expect(IMAGE, [narrow, wide], threads=2)
    for algorithm, superpixels in ((narrow, 6), (wide, 2), (other, 3), (wide, 2)):
        assert cache.superpixels(IMAGE, algorithm).max() + 1 == superpixels
    cache.expect(IMAGE, [narrow, wide], threads=2)
    cache.close()
    again = PredictionCache(tmp_path)
    again.expect(IMAGE, [narrow], threads=2)
    np.testing.assert_array_equal(again.superpixels(IMAGE, narrow), narrow(IMAGE))
    again.close()
    main = threading.current_thread()
    assert [thread is main for thread in narrow.computed_by] == [False, True]
    assert [thread is main for thread in wide.computed_by] == [False]
    assert [thread is main for thread in other.computed_by] == [True]


def test_what_goes_wrong_is_told_where_the_map_is_needed() -> None:
    cache, broken = PredictionCache(), Columns(0)
    cache.expect(IMAGE, [broken], threads=1)
    with pytest.raises(ValueError, match="no width"):
        cache.superpixels(IMAGE, broken)


def test_closing_waits_for_nothing() -> None:
    cache, begin = PredictionCache(), threading.Event()
    slow = [Columns(width, begin=begin) for width in (1, 2, 3)]
    cache.expect(IMAGE, slow, threads=1)
    start = time.monotonic()
    cache.close()
    assert time.monotonic() - start < 10
    begin.set()
    time.sleep(0.2)
    assert not slow[1].computed_by
    assert not slow[2].computed_by
