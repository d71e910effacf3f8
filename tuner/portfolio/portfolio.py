"""A portfolio: a few parameter sets, at least one of which does well on nearly every image.

No single setting suits every image, but on most images the best of a few different ones comes close
to the result of a search. They are chosen greedily: each time the set that raises the mean over
images of the best score most. This mean is submodular, so the greedy choice reaches at least
1 - 1/e of the optimum (Nemhauser, Wolsey and Fisher 1978).
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
"""The study attribute that stores a portfolio."""

SHIPPED = ("imagenet30",)
"""Portfolios in the package, as ``data/NAME.json``; each file says how it was made."""

_FORMAT = 1
# Weight of a score itself against the additive model of contender and image means. On images left
# out (twenty photographs, five folds, ten times) the mean score was 0.614 to 0.617 with weights
# 0.35 to 0.5, 0.602 with 1 and 0.572 with 0.1.
_OWN_WEIGHT = 0.5


@dataclass(frozen=True)
class Portfolio:
    """Parameter sets in the order in which they should be tried.

    Attributes:
        made: facts on how it was made: command, date, images, classifier, scores.
    """

    members: tuple[LimeParameters, ...]
    made: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The portfolio as indented JSON."""
        members = [json.loads(member.to_json()) for member in self.members]
        document = {"format": _FORMAT, "made": dict(self.made), "members": members}
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, name: str) -> Portfolio:
        """The inverse of :meth:`to_json`.

        Args:
            name: the file's name, for error messages.

        Raises:
            InvalidInput: the text is not a portfolio, or has another format version.
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
    """Load a portfolio.

    Args:
        source: a file, a name in :data:`SHIPPED`, or the prefix of the studies that it was chosen
            from.
        storage: database URL of those studies.

    Raises:
        InvalidInput: there is no such portfolio.
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
    """A parameter set, and the keys of the images whose searches found it."""

    parameters: LimeParameters
    images: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class ScoredContenders:
    """The scores of every contender on every image.

    Attributes:
        keys: keys of the images.
        scores: (contenders, images), IoU minus the runtime penalty.
        best: (images,) the best known score of each image.
    """

    contenders: tuple[Contender, ...]
    keys: tuple[str, ...]
    scores: NDArray[np.float64]
    best: NDArray[np.float64]

    def chosen(self, size: int, images: Collection[int] | None = None) -> list[int]:
        """Choose contenders by their scores on some images only.

        Contenders that no search of these images found are left out, unless there are no others.

        Args:
            size: how many at most.
            images: positions of the images; ``None`` for all.

        Returns:
            Positions of the contenders, in the order in which they were chosen.
        """
        known = list(range(len(self.keys))) if images is None else sorted(images)
        seen = {self.keys[i] for i in known}
        fair = [n for n, c in enumerate(self.contenders) if not c.images or c.images & seen]
        fair = fair or list(range(len(self.contenders)))  # a catalogue's study found all
        return [fair[n] for n in choose(_shrunk(self.scores[np.ix_(fair, known)]), size)]

    def left_out(self, size: int, folds: int) -> NDArray[np.float64]:
        """(images,) the best score on each image of a portfolio chosen without its fold."""
        found = np.empty(len(self.keys))
        positions = range(len(self.keys))
        for start in range(folds):
            part = list(positions)[start::folds]
            members = self.chosen(size, [i for i in positions if i not in part])
            found[part] = self.scores[np.ix_(members, part)].max(axis=0)
        return found


def _shrunk(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """(contenders, images) scores, moved half way to those of an additive model.

    The best score of a hundred contenders on one image is mostly luck.
    """
    expected = scores.mean(axis=1, keepdims=True) + scores.mean(axis=0, keepdims=True)
    shrunk: NDArray[np.float64] = expected - scores.mean()
    return _OWN_WEIGHT * scores + (1 - _OWN_WEIGHT) * shrunk


def choose(scores: NDArray[np.float64], size: int) -> list[int]:
    """Choose rows greedily so that the mean over columns of the best chosen score is highest.

    Args:
        scores: (contenders, images).
        size: how many; fewer are chosen if no further row raises a best score.
    """
    chosen: list[int] = []
    # The baseline before the first choice; scores may be a little below zero.
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
    """Merge contenders with the same parameters, and the images that found them."""
    merged: dict[LimeParameters, frozenset[str]] = {}
    for contender in contenders:
        known = merged.get(contender.parameters, frozenset())
        merged[contender.parameters] = known | contender.images
    return [Contender(parameters, images) for parameters, images in merged.items()]
