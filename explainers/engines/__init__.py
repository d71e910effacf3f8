"""Faster ways to the same answers.

:meth:`Classifier.predict_proba` is what a user would write and what verification times. The bank
is filled by an engine whose answers agree with it to rounding; the engine's name is part of the
fingerprint, so answers of two engines are never mixed.
"""

from __future__ import annotations

from explainers.engines.interface import Engine
from explainers.engines.selection import ENGINES, make_engine
from explainers.engines.torch_engine import TorchEngine

__all__ = ["ENGINES", "Engine", "TorchEngine", "make_engine"]
