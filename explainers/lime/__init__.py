"""LIME: its parameters, superpixels and perturbations, and explanations equal to stock lime's."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
