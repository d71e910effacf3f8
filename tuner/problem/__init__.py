"""What is searched: the space of parameters, the task, how a study is run and when trials stop."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
