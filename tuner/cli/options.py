"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Catalog = Annotated[
    str | None,
    typer.Option(
        "--catalog", help="tml25, demo, a TOML file, or a folder of pictures.  [default: tml25]"
    ),
]
Assets = Annotated[
    Path | None,
    typer.Option("--assets", help="Folder that is searched for photographs before the cache."),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="A torchvision classifier, demo, package.module:factory, or "
        "function:package.module:name, a black box.",
    ),
]
Weights = Annotated[
    str | None,
    typer.Option("--weights", help="A state dict file, or a torchvision weights name."),
]
Device = Annotated[
    str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.  [default: auto]")
]
CamLayer = Annotated[
    str | None,
    typer.Option("--cam-layer", help="Layer for class activation maps, e.g. layer4."),
]
Engine = Annotated[
    str | None,
    typer.Option(
        "--engine",
        help="Who computes classifier answers: auto, torch, onnxruntime.  [default: auto]",
    ),
]
ReferenceRule = Annotated[
    str | None,
    typer.Option(
        "--reference",
        help="METHOD@RULE (gradcam@0.3, multiscale@grabcut, scorecam@top10), a folder of masks, "
        "a COCO file, or masks for the catalogue's own.",
    ),
]
Storage = Annotated[
    str | None,
    typer.Option("--storage", help="Database URL.  [default: sqlite:///lime-tuner.db]"),
]
Study = Annotated[
    str | None,
    typer.Option("--study", help="Prefix of the studies' names.  [default: the catalogue's name]"),
]
Calibrated = Annotated[
    str | None,
    typer.Option(
        "--calibrated",
        help="Name of a calibration: prices, reference and mask rule of a grading server.",
    ),
]
Portfolio = Annotated[
    str | None,
    typer.Option(
        "--portfolio",
        help="Tried first in a new study: imagenet30, which comes with the package, a file of "
        "lime-tuner portfolio, or the prefix of studies it was run for.",
    ),
]
Images = Annotated[
    str | None, typer.Option("--images", help="Only these keys, separated by commas.")
]
Log = Annotated[
    Path | None,
    typer.Option(
        "--log",
        help="Log file, or none.  [default: lime-tuner.log beside the SQLite database, or here]",
    ),
]
Notify = Annotated[
    str | None,
    typer.Option("--notify", help="Address that is sent a JSON document when the job ends."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
