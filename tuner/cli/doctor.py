"""``lime-tuner doctor``: what is installed, reachable, writable, and how fast it is here."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from explainers.errors import LimeTunerError
from tuner.cli import options
from tuner.cli.output import console, table, write_json
from tuner.cli.settings import setting

__all__ = ["doctor"]

_PACKAGES = (
    "lime-tuner", "lime", "optuna", "torch", "torchvision", "grad-cam", "scikit-image",
    "scikit-learn", "numpy", "joblib", "sqlalchemy", "typer", "rich",
)  # fmt: skip


def doctor(
    model: options.Model = None,
    weights: options.Weights = None,
    device: options.Device = None,
    storage: options.Storage = None,
    assets: options.Assets = None,
    fast: Annotated[bool, typer.Option("--fast", help="Leave out timing the classifier.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Check this installation; exit status 1 when something needed does not work."""
    from studies.storage import DEFAULT_STORAGE

    url = setting("storage", storage, DEFAULT_STORAGE)
    checks: dict[str, Callable[[], str]] = {
        "python": platform.python_version,
        "packages": _packages,
        "torchvision import": _torchvision,
        "cache folder": _cache,
        "storage": lambda: _storage(url),
        "photographs of tml25": lambda: _photographs(assets),
    }
    if not fast:
        checks["classifier"] = lambda: _classifier(
            setting("model", model, "demo"), setting("weights", weights), setting("device", device)
        )
    outcome: dict[str, dict[str, Any]] = {}
    for name, check in checks.items():
        try:
            outcome[name] = {"ok": True, "says": check()}
        except (LimeTunerError, OSError, metadata.PackageNotFoundError) as error:
            outcome[name] = {"ok": False, "says": " ".join(str(error).split())}
    # Photographs can be fetched later, and the demo needs none.
    broken = [n for n, o in outcome.items() if not o["ok"] and n != "photographs of tml25"]
    if as_json:
        write_json({"ok": not broken, "checks": outcome})
    else:
        shown = table("lime-tuner doctor", "check", "", "what it says")
        for column in shown.columns:
            column.justify = "left"
        for name, found in outcome.items():
            shown.add_row(name, "ok" if found["ok"] else "no", found["says"])
        console.print(shown)
    if broken:
        raise typer.Exit(1)


def _packages() -> str:
    return ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES)


def _torchvision() -> str:
    from explainers.torchvision_import import import_torchvision

    return f"{import_torchvision().__version__} imports"


def _cache() -> str:
    import tempfile

    from studies.assets import cache_folder

    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass
    used = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    return f"{folder} is writable, {used / 1e6:.1f} MB used"


def _storage(url: str) -> str:
    from studies.storage import check_storage, describe

    check_storage(url, write=True)
    return f"{describe(url)} can be used"


def _photographs(assets: Path | None) -> str:
    from studies.assets import find_local_file
    from studies.catalog import load_catalog

    catalog = load_catalog("tml25")
    folder = setting("assets", assets)
    here = [
        entry.key
        for entry in catalog.images
        if find_local_file(catalog, entry, None if folder is None else Path(folder))
    ]
    if len(here) == len(catalog.images):
        return "all ten are here"
    return f"{len(here)} of {len(catalog.images)} are here; the others are downloaded when needed"


def _classifier(model: str, weights: str | None, device: str | None) -> str:
    import time

    import numpy as np

    from explainers.zoo import load_classifier

    classifier = load_classifier(model, weights=weights, device=device)
    crop = classifier.geometry.crop
    images = np.zeros((10, crop, crop, 3), dtype=np.uint8)
    classifier.predict_proba(images)
    start = time.perf_counter()
    for _ in range(3):
        classifier.predict_proba(images)
    each = (time.perf_counter() - start) / 30
    cores = os.cpu_count()
    return (
        f"{classifier.name} on {classifier.device}: {1000 * each:.1f} ms an image at batch 10 "
        f"({cores} cores), so lime's defaults take about {1000 * each:.0f} s"
    )
