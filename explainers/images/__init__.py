"""Photographs: reading them from files and arrays, preparing them for a classifier, overlays."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
