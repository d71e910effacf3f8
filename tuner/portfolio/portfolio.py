"""A portfolio: the few parameter sets of which one nearly always does well.

No single setting suits every image, but a handful of different ones covers most of what a search
of each image finds. They are chosen greedily: next comes whichever raises the images' best most.
The gain is submodular, so greed comes to at least 1 - 1/e of the best choice (Nemhauser, Wolsey
and Fisher 1978).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explainers.errors import InvalidInput, InvalidParameters
from explainers.lime import LimeParameters
from studies.queries import overview, study_attributes
from studies.storage import holds_studies

__all__ = [
    "PORTFOLIO", "SHIPPED", "Contender", "Portfolio", "ScoredContenders", "choose", "distinct",
    "load_portfolio",
]  # fmt: skip

PORTFOLIO = "portfolio"
"""The study attribute that a portfolio is kept in."""

SHIPPED = ("imagenet30",)
"""Portfolios that come with the package: ``data/NAME.json``, which says how each was made."""

_FORMAT = 1
# Of a score; the rest is what its contender and its image are worth on average. Choices made with
# 0.35 to 0.5 gave most on images left out (twenty photographs, ten times five folds: 0.614 to
# 0.617, with 1 0.602, with 0.1 0.572).
_OWN_WEIGHT = 0.5


@dataclass(frozen=True)
class Portfolio:
    """Parameter sets in the order in which they should be tried.

    Attributes:
        made: how it was made: command, date, images, classifier, scores.
    """

    members: tuple[LimeParameters, ...]
    made: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Several lines of JSON."""
        members = [json.loads(member.to_json()) for member in self.members]
        document = {"format": _FORMAT, "made": dict(self.made), "members": members}
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, name: str) -> Portfolio:
        """The inverse.

        Args:
            name: of the file, for errors.

        Raises:
            InvalidInput: it is no portfolio, or of another version.
        """
        try:
            document = json.loads(text)
            if document["format"] != _FORMAT:
                raise InvalidInput(
                    f"portfolio {name} has format {document['format']!r}, this version reads "
                    f"{_FORMAT}: make it anew with lime-tuner portfolio"
                )
            members = tuple(LimeParameters.from_json(json.dumps(m)) for m in document["members"])
            made = dict(document["made"])
        except (ValueError, KeyError, TypeError, InvalidParameters) as error:
            raise InvalidInput(
                f"{name} is not a portfolio ({type(error).__name__}: {error}): give a file that "
                "lime-tuner portfolio wrote"
            ) from error
        if not members:
            raise InvalidInput(f"portfolio {name} is empty: make one with lime-tuner portfolio")
        return cls(members, made)


def load_portfolio(source: str, storage: str) -> Portfolio:
    """A file, one that comes with the package, or the prefix of studies that one was made of.

    Raises:
        InvalidInput: there is none.
    """
    path = Path(source)
    if path.is_file():
        return Portfolio.from_json(path.read_text("utf-8"), source)
    if source in SHIPPED:
        text = resources.files("tuner").joinpath("data", f"{source}.json").read_text("utf-8")
        return Portfolio.from_json(text, source)
    if holds_studies(storage):
        names = [row.study for row in overview(storage, source)]
        for attributes in study_attributes(storage, names).values():
            if PORTFOLIO in attributes:
                return Portfolio.from_json(attributes[PORTFOLIO], source)
    raise InvalidInput(
        f"--portfolio {source} is neither a file, nor {' or '.join(SHIPPED)}, nor a study prefix "
        "that lime-tuner portfolio was run for: run it with --studies, or give another name"
    )


@dataclass(frozen=True)
class Contender:
    """A parameter set and the images (keys) whose searches proposed it."""

    parameters: LimeParameters
    images: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class ScoredContenders:
    """Every contender on every image.

    Attributes:
        keys: of the images.
        scores: (contenders, images), IoU minus the price of the runtime.
        best: (images,) the best score that is known of each image.
    """

    contenders: tuple[Contender, ...]
    keys: tuple[str, ...]
    scores: NDArray[np.float64]
    best: NDArray[np.float64]

    def chosen(self, size: int, images: Collection[int] | None = None) -> list[int]:
        """The contenders that are chosen when only some images (by position) may be looked at.

        Candidates that only the other images' searches, or that of all, proposed are left out;
        unless there are no others.
        """
        known = list(range(len(self.keys))) if images is None else sorted(images)
        seen = {self.keys[i] for i in known}
        fair = [n for n, c in enumerate(self.contenders) if not c.images or c.images & seen]
        fair = fair or list(range(len(self.contenders)))  # a whole catalogue proposed all of them
        return [fair[n] for n in choose(_shrunk(self.scores[np.ix_(fair, known)]), size)]

    def left_out(self, size: int, folds: int) -> NDArray[np.float64]:
        """(images,) the best score of a portfolio that was chosen without the image."""
        found = np.empty(len(self.keys))
        positions = range(len(self.keys))
        for start in range(folds):
            part = list(positions)[start::folds]
            members = self.chosen(size, [i for i in positions if i not in part])
            found[part] = self.scores[np.ix_(members, part)].max(axis=0)
        return found


def _shrunk(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """(contenders, images) scores, drawn half way to those of an additive model.

    The best of a hundred contenders on one image is mostly lucky there.
    """
    expected = scores.mean(axis=1, keepdims=True) + scores.mean(axis=0, keepdims=True)
    shrunk: NDArray[np.float64] = expected - scores.mean()
    return _OWN_WEIGHT * scores + (1 - _OWN_WEIGHT) * shrunk


def choose(scores: NDArray[np.float64], size: int) -> list[int]:
    """Greedily the rows whose best per column is highest on average.

    Args:
        scores: (contenders, images).
        size: how many; fewer where no further row raises anything.
    """
    chosen: list[int] = []
    # Before the first, nothing is reached; scores may be a little below zero.
    reached = np.full(scores.shape[1], min(0.0, float(scores.min(initial=0.0))))
    for _ in range(min(size, len(scores))):
        gains = np.maximum(scores - reached, 0.0).sum(axis=1)
        best = int(np.argmax(gains))
        if not gains[best] > 0:
            break
        chosen.append(best)
        reached = np.maximum(reached, scores[best])
    return chosen


def distinct(contenders: Sequence[Contender]) -> list[Contender]:
    """The same parameters once, with all images that proposed them."""
    merged: dict[LimeParameters, frozenset[str]] = {}
    for contender in contenders:
        known = merged.get(contender.parameters, frozenset())
        merged[contender.parameters] = known | contender.images
    return [Contender(parameters, images) for parameters, images in merged.items()]
