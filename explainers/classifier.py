"""The former place of :class:`explainers.classifiers.Classifier`, kept for users' own factories."""

from explainers.classifiers import Classifier

__all__ = ["Classifier"]
