"""The search problem: the space of parameters, the task, a study's settings, early stopping."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
