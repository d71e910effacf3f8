"""Predictions for perturbed images, computed once and kept.

A prediction depends on the classifier, the image, the superpixel map, the colour that hides, and on
which superpixels are switched off: the *pattern*. It depends on nothing else, so rows that are
repeated within an explanation, between explainer seeds or between trials need no new prediction.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from explainers.images import array_digest
from explainers.lime.cache_store import CacheStore
from explainers.lime.perturbation import HideColor, Perturbation

_SKIMAGE_VERSION = metadata.version("scikit-image")
_KEPT_CLASSES = 5  # by default lime explains the five likeliest classes
_SMALL_CLASS_COUNT = 16  # up to so many classes, all are kept
_ASK_BATCH = 16  # for predictors without a batch_size; changes the speed only
_ENTRIES_IN_MEMORY = 512

_SuperpixelAlgorithm = Callable[[NDArray[np.uint8]], NDArray[np.integer]]
"""(H, W, 3) uint8 → (H, W) labels."""


class Predictor(Protocol):
    """A :class:`explainers.classifiers.Classifier`, or an engine for it.

    Two more attributes are used where there are any, for speed only:

    - ``batch_size: int``, images to hand over at once;
    - ``predict_perturbed(perturbation: Perturbation, rows: NDArray[np.integer]) -> NDArray``,
      (S, n_superpixels) 0/1 → (S, C) probabilities, for who builds the perturbed images itself.

    For example::

        class Brightness:
            fingerprint = "brightness-1"

            def predict_proba(self, images):
                bright = images.mean(axis=(1, 2, 3)) / 255
                return np.stack([bright, 1 - bright], axis=1)
    """

    @property
    def fingerprint(self) -> str:
        """Equal for two predictors exactly when their predictions may be exchanged."""

    def predict_proba(self, images: NDArray[np.uint8], /) -> NDArray[Any]:
        """(N, H, W, 3) uint8 → (N, C) probabilities."""


@dataclass
class PredictionCounts:
    """Number of predictions that explanations needed: ``needed = repeated + new``."""

    needed: int = 0
    new: int = 0

    @property
    def repeated(self) -> int:
        """Predictions that were taken from the cache."""
        return self.needed - self.new


@dataclass
class _Entry:
    """Predictions of one (classifier, image, superpixels, hide colour, classes)."""

    number: int | None  # in the store
    classes: NDArray[np.int64]  # (K,), the columns kept, ascending
    index: dict[bytes, int] = field(default_factory=dict)
    values: NDArray[Any] | None = None  # (capacity, K)
    last_chunk: int = 0

    def add(self, patterns: list[bytes], answers: NDArray[Any]) -> None:
        fresh = [i for i, pattern in enumerate(patterns) if pattern not in self.index]
        count = len(self.index)
        if self.values is None:
            self.values = np.empty((max(256, len(patterns)), len(self.classes)), answers.dtype)
        while count + len(fresh) > len(self.values):
            self.values = np.concatenate([self.values, np.empty_like(self.values)])
        for i in fresh:
            # A pattern may come twice within one call; the first answer stays.
            if patterns[i] not in self.index:
                self.index[patterns[i]] = count
                self.values[count] = answers[i]
                count += 1


def _map_key(
    image: NDArray[np.uint8], algorithm: Any, image_digest: str | None
) -> tuple[str, str] | None:
    """Cache key of a superpixel map; ``None`` for callables of which no parameters are known."""
    name = getattr(algorithm, "algo_type", None)
    if name is None:
        return None
    digest = array_digest(image) if image_digest is None else image_digest
    return digest, json.dumps([name, sorted(algorithm.target_params.items()), _SKIMAGE_VERSION])


def _computed(algorithm: _SuperpixelAlgorithm, image: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.asarray(algorithm(image), dtype=np.int64)


class PredictionCache:
    """Predictions in memory, and on disk when a folder is given.

    Safe to use from several processes at once on one folder; not from several threads.

    For example, two explanations for which only the predictions that differ are asked::

        cache = PredictionCache(Path("cache"))
        for seed in (0, 1):
            explain(image, classifier, LimeParameters(), seed=seed, cache=cache)
        print(cache.counts)  # PredictionCounts(needed=..., new=...)
        cache.close()

    Args:
        folder: where ``answers.sqlite3`` lives; ``None`` keeps everything in memory.
        max_bytes: size limit of the file, 2 GB by default.
    """

    def __init__(self, folder: Path | None = None, max_bytes: int = 2_000_000_000) -> None:
        self._store = CacheStore(folder and folder / "answers.sqlite3", max_bytes)
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._originals: dict[tuple[str, str], NDArray[Any]] = {}
        # In the smallest type, because a study computes hundreds of maps.
        self._maps: dict[tuple[str, str], NDArray[np.unsignedinteger]] = {}
        self._expected: dict[tuple[str, str], Future[NDArray[np.int64]]] = {}
        self._ahead: ThreadPoolExecutor | None = None
        self.counts = PredictionCounts()

    def close(self) -> None:
        """Close the file; superpixel maps that are still computed are dropped."""
        if self._ahead is not None:
            self._ahead.shutdown(wait=False, cancel_futures=True)
            self._ahead = None
        self._expected.clear()
        self._store.close()

    def superpixels(
        self,
        image: NDArray[np.uint8],
        algorithm: _SuperpixelAlgorithm,
        image_digest: str | None = None,
    ) -> NDArray[np.int64]:
        """The superpixel map of an image, computed once.

        Args:
            image: (H, W, 3) uint8.
            algorithm: a lime ``SegmentationAlgorithm``; any other callable is called every time,
                because nothing is known about what it depends on.

        Returns:
            (H, W) int64 labels.
        """
        key = _map_key(image, algorithm, image_digest)
        if key is None:
            return np.asarray(algorithm(image))
        labels = self._known_map(key)
        if labels is None:
            expected = self._expected.pop(key, None)
            labels = _computed(algorithm, image) if expected is None else expected.result()
            self._store.save_superpixels(*key, labels)
            self._keep_map(key, labels)
        return labels

    def expect(
        self,
        image: NDArray[np.uint8],
        algorithms: Sequence[_SuperpixelAlgorithm],
        threads: int,
        image_digest: str | None = None,
    ) -> None:
        """Compute maps in the background; scikit-image releases the GIL.

        Args:
            image, algorithms: as for :meth:`superpixels`.
            threads: how many maps are computed at a time; the first call decides.
        """
        for algorithm in algorithms:
            key = _map_key(image, algorithm, image_digest)
            if key is None or key in self._expected or self._known_map(key) is not None:
                continue
            if self._ahead is None:
                self._ahead = ThreadPoolExecutor(threads)
            self._expected[key] = self._ahead.submit(_computed, algorithm, image)

    def _known_map(self, key: tuple[str, str]) -> NDArray[np.int64] | None:
        kept = self._maps.get(key)
        if kept is not None:
            return kept.astype(np.int64)
        labels = self._store.load_superpixels(*key)
        if labels is not None:
            self._keep_map(key, labels)
        return labels

    def _keep_map(self, key: tuple[str, str], labels: NDArray[np.int64]) -> None:
        self._maps[key] = labels.astype(np.min_scalar_type(int(labels.max(initial=0))))

    def original(
        self, predictor: Predictor, image: NDArray[np.uint8], image_digest: str
    ) -> NDArray[Any]:
        """(C,) probabilities of the unperturbed image."""
        key = (predictor.fingerprint, image_digest)
        prediction = self._originals.get(key)
        if prediction is None:
            prediction = self._store.load_original(*key)
        if prediction is None:
            prediction = np.asarray(predictor.predict_proba(image[None]))[0]
            self.counts.new += 1
            self._store.save_original(*key, prediction)
        self._originals[key] = prediction
        return prediction

    def predictions(
        self,
        predictor: Predictor,
        image: NDArray[np.uint8],
        segments: NDArray[np.int64],
        hide_color: HideColor,
        rows: NDArray[np.integer],
        classes: NDArray[np.int64],
        image_digest: str,
    ) -> NDArray[Any]:
        """Probabilities of some classes for perturbed images.

        Args:
            image: (H, W, 3) uint8.
            segments: (H, W) labels from 0; numbers may be missing.
            hide_color: as in lime: a grey value, a colour, or ``None`` for superpixel means.
            rows: (S, n_superpixels) 0/1; 0 switches a superpixel off.
            classes: (K,) class numbers wanted.
            image_digest: :func:`explainers.images.array_digest` of the image.

        Returns:
            (S, K), of the dtype the classifier answers in.
        """
        original = self.original(predictor, image, image_digest)
        kept = _kept_classes(original, classes)
        colour = "mean" if hide_color is None else hide_color
        key = json.dumps(
            [predictor.fingerprint, image_digest, array_digest(segments), colour, kept.tolist()]
        )
        packed = np.packbits(rows.astype(bool), axis=1)
        patterns = [row.tobytes() for row in packed]
        entry = self._entry(key, kept, packed.shape[1])
        self.counts.needed += len(patterns)
        shown = np.packbits(np.ones(rows.shape[1], dtype=bool)).tobytes()
        if shown not in entry.index:  # nothing is switched off: the image itself, predicted above
            entry.add([shown], original[None, kept])

        unknown = [i for i, pattern in enumerate(patterns) if pattern not in entry.index]
        if unknown:
            self._refresh(entry, packed.shape[1])
            first = {patterns[i]: i for i in reversed(unknown) if patterns[i] not in entry.index}
            asked = np.array(sorted(first.values()), dtype=np.int64)
            if len(asked):
                perturbation = Perturbation(image, segments, hide_color)
                fresh = _ask(predictor, perturbation, rows[asked])[:, kept]
                self.counts.new += len(asked)
                entry.add([patterns[i] for i in asked], fresh)
                if entry.number is not None:
                    self._store.append_chunk(entry.number, packed[asked], fresh)
        assert entry.values is not None
        positions = np.fromiter((entry.index[p] for p in patterns), np.int64, len(patterns))
        columns = np.searchsorted(kept, classes)
        return entry.values[positions][:, columns]

    def _entry(self, key: str, kept: NDArray[np.int64], pattern_bytes: int) -> _Entry:
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry(self._store.entry_id(key), kept)
            self._refresh(entry, pattern_bytes)
            while len(self._entries) > _ENTRIES_IN_MEMORY:
                self._entries.popitem(last=False)
        self._entries.move_to_end(key)
        return entry

    def _refresh(self, entry: _Entry, pattern_bytes: int) -> None:
        """Load the chunks that any process has appended since the last call."""
        if entry.number is None:
            return
        for number, blob, answers in self._store.load_chunks(
            entry.number, entry.last_chunk, pattern_bytes, len(entry.classes)
        ):
            patterns = [blob[i : i + pattern_bytes] for i in range(0, len(blob), pattern_bytes)]
            entry.add(patterns, answers)
            entry.last_chunk = number


def _kept_classes(original: NDArray[Any], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """(K,) classes kept in an entry: all if they are few, else the likeliest and those wanted."""
    if len(original) <= _SMALL_CLASS_COUNT:
        return np.arange(len(original))
    return np.union1d(np.argsort(original)[-_KEPT_CLASSES:], wanted)


def _ask(
    predictor: Predictor, perturbation: Perturbation, rows: NDArray[np.integer]
) -> NDArray[Any]:
    """(S, C) predictions, with perturbed images built batch by batch."""
    answers = []
    batch = getattr(predictor, "batch_size", _ASK_BATCH)
    # An engine on an accelerator builds the images there.
    direct = getattr(predictor, "predict_perturbed", None)
    for start in range(0, len(rows), batch):
        some = rows[start : start + batch]
        if direct is not None:
            answers.append(direct(perturbation, some))
        else:
            answers.append(np.asarray(predictor.predict_proba(perturbation.images(some))))
    return np.concatenate(answers)
