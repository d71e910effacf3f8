"""The former place of :func:`explainers.classifiers.load_classifier`, kept for users' programs."""

from explainers.classifiers import load_classifier

__all__ = ["load_classifier"]
