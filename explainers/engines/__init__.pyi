from .interface import Engine
from .selection import ENGINES, make_engine
from .torch_engine import TorchEngine

__all__ = ["ENGINES", "Engine", "TorchEngine", "make_engine"]
