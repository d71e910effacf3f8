"""Photographs: read from files and arrays, cut to a geometry, drawn upon."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
