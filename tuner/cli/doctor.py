"""``lime-tuner doctor``: what is installed, reachable, writable, and how fast it is here."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image

from explainers.classifiers import import_torchvision, load_classifier
from explainers.engines import ENGINES, make_engine
from explainers.errors import LimeTunerError
from explainers.images import prepare
from studies.catalog import load_catalog
from studies.catalog.assets import cache_folder, find_local_file
from studies.catalog.demo import DEMO_SEEDS, draw_scene
from studies.storage import check_storage, describe
from tuner.cli.context import DEFAULT_CATALOG
from tuner.cli.options import (
    AsJson,
    AssetsOption,
    ClassifierOptions,
    StorageOptions,
    takes_groups,
)
from tuner.cli.output import console, table, write_json
from tuner.options import MACHINE

if TYPE_CHECKING:
    from explainers.classifiers import Classifier

__all__ = ["doctor"]

_PACKAGES = (
    "lime-tuner", "lime", "optuna", "torch", "torchvision", "grad-cam", "scikit-image",
    "scikit-learn", "numpy", "joblib", "sqlalchemy", "typer", "rich",
)  # fmt: skip
_MEASURED_CALLS, _MEASURED_SECONDS = 3, 0.4  # minima for a measurement


@takes_groups
def doctor(
    classifier: ClassifierOptions,
    where: StorageOptions,
    photographs: AssetsOption,
    fast: Annotated[
        bool,
        typer.Option(
            "--fast",
            help="Leave out timing the classifier and its engines.",
            rich_help_panel=MACHINE,
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check this installation.

    The exit status is 1 when something needed does not work.
    """
    checks: dict[str, Callable[[], str]] = {
        "python": platform.python_version,
        "packages": _packages,
        "torchvision import": _torchvision,
        "cache folder": _cache,
        "storage": lambda: _storage(where.storage),
        "photographs of tml25": lambda: _photographs(photographs.assets),
    }
    speeds = _Speeds()
    if not fast:
        checks["classifier"] = lambda: speeds.of_classifier(
            classifier.model or "demo", classifier.weights, classifier.device
        )
    checks["engines"] = speeds.of_engines
    outcome: dict[str, dict[str, Any]] = {}
    for name, check in checks.items():
        try:
            outcome[name] = {"ok": True, "says": check()}
        except (LimeTunerError, OSError, metadata.PackageNotFoundError) as error:
            outcome[name] = {"ok": False, "says": " ".join(str(error).split())}
    # Photographs can be fetched later, and the demo needs none.
    broken = [n for n, o in outcome.items() if not o["ok"] and n != "photographs of tml25"]
    if as_json:
        write_json(
            {"ok": not broken, "checks": outcome, "milliseconds_an_image": speeds.milliseconds}
        )
    else:
        shown = table("lime-tuner doctor", "check", "", "what it says")
        shown.left = {0, 1, 2}
        for name, found in outcome.items():
            shown.add_row(name, "ok" if found["ok"] else "no", found["says"])
        console.print(shown)
    if broken:
        raise typer.Exit(1)


def _packages() -> str:
    return ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES)


def _torchvision() -> str:
    return f"{import_torchvision().__version__} imports"


def _cache() -> str:
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass
    used = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    return f"{folder} is writable, {used / 1e6:.1f} MB used"


def _storage(url: str) -> str:
    check_storage(url, write=True)
    return f"{describe(url)} can be used"


def _photographs(assets: Path | None) -> str:
    catalog = load_catalog(DEFAULT_CATALOG)
    here = [entry.key for entry in catalog.images if find_local_file(catalog, entry, assets)]
    if len(here) == len(catalog.images):
        return "all ten are here"
    return f"{len(here)} of {len(catalog.images)} are here; the others are downloaded when needed"


class _Speeds:
    """Times the classifier and its engines; engines are timed only after the classifier was."""

    def __init__(self) -> None:
        self._classifier: Classifier | None = None
        self.milliseconds: dict[str, float] = {}

    def of_classifier(self, model: str, weights: str | None, device: str | None) -> str:
        classifier = load_classifier(model, weights=weights, device=device)
        each = _milliseconds(classifier.predict_proba, _scene(classifier), 10)
        self._classifier = classifier
        self.milliseconds["plain torch"] = each
        return (
            f"{_taken_for(classifier)}\n"
            f"{classifier.name} on {classifier.device}: {each:.1f} ms an image at batch 10 "
            f"({os.cpu_count()} cores), so lime's defaults take about {each:.0f} s"
        )

    def of_engines(self) -> str:
        return "\n".join(self._of_engine(name) for name in ENGINES if name != "auto")

    def _of_engine(self, name: str) -> str:
        try:
            says = f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            return f"{name} is not installed"
        if self._classifier is None:
            return says
        image = _scene(self._classifier)
        try:
            engine = make_engine(
                self._classifier, name, image=image, cache=cache_folder() / "engines"
            )
        except LimeTunerError as error:
            return f"{says}: {error}"
        if name != "torch" and engine.name != name:
            return f"{says} cannot be used for {self._classifier.name}"
        each = _milliseconds(engine.predict_proba, image, engine.batch_size)
        self.milliseconds[name] = each
        return (
            f"{says}: {each:.1f} ms an image at batch {engine.batch_size}, "
            f"{self.milliseconds['plain torch'] / each:.1f} times as fast as plain torch"
        )


def _taken_for(classifier: Classifier) -> str:
    """The classifier's input, its output, and the layer of its activation maps, in words."""
    facts = classifier.to_json()
    size = f"{facts['crop']} × {facts['crop']} pixels"
    if facts["resize"] not in (None, facts["crop"]):
        size = f"{size} of pictures scaled to {facts['resize']}"
    if facts["mean"] is None:
        return f"{classifier.name}: a black box, gets {size}, gives {facts['output']}"
    scaling = ", ".join(
        f"{name} {'/'.join(f'{value:g}' for value in facts[name])}" for name in ("mean", "std")
    )
    layer = facts["map_layer"]
    maps = "no layer for class activation maps" if layer is None else f"maps from layer '{layer}'"
    return (
        f"{classifier.name}: {facts['channels']} channels, {size}, {scaling}, gives "
        f"{facts['output']}, {maps}"
    )


def _scene(classifier: Classifier) -> NDArray[np.uint8]:
    """A drawn image for the classifier; engines are checked on it, so it must not be blank."""
    scene = draw_scene("cat", DEMO_SEEDS["cat"]).image
    return prepare(Image.fromarray(scene), classifier.geometry)


def _milliseconds(
    predict: Callable[[NDArray[np.uint8]], object], image: NDArray[np.uint8], batch: int
) -> float:
    """Least milliseconds an image, after a warm-up call."""
    images = np.repeat(image[None], batch, axis=0)
    predict(images)
    taken: list[float] = []
    while len(taken) < _MEASURED_CALLS or sum(taken) < _MEASURED_SECONDS:
        start = time.perf_counter()
        predict(images)
        taken.append(time.perf_counter() - start)
    return 1000 * min(taken) / batch
