"""Seconds and memory of the similarities, against the formula as it reads.

``python -m tests.benchmarks.dissection [--images 10000] [--concepts 20000] [--units 2048]
[--similarity NAME ...] [--no-plain]``

Seeded random features and activations. Each similarity runs in a process of its own, which also
says by how much its peak memory rose above what the inputs take; the plain soft WPMI, the layer's
whole tables at once as in the reference implementation, runs in another, in turn with ours.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from dissection.similarity import SIMILARITIES, Probing, similarity_method
from explainers.errors import LimeTunerError
from tests.benchmarks.common import child_environment, positive, run_benchmark, say
from tests.benchmarks.memory_child import status_kilobytes
from tests.dissection.plain_similarities import plain_soft_wpmi

_PLAIN = "plain soft_wpmi"
_WIDTH = 512  # of CLIP ViT-B/16


def _child(options: argparse.Namespace) -> dict[str, Any]:
    """One similarity in this process."""
    generator = torch.Generator().manual_seed(0)
    # CLIP's features lean one way: cosines of images and texts are 0.1 to 0.3, not around 0.
    lean = 0.5 * torch.randn((1, _WIDTH), generator=generator)
    images = torch.randn((options.images, _WIDTH), generator=generator).add_(lean)
    texts = torch.randn((options.concepts, _WIDTH), generator=generator).add_(lean)
    activations = torch.randn((options.images, options.units), generator=generator)
    before = status_kilobytes("VmRSS") or 0
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    start = time.perf_counter()
    if options.child == _PLAIN:
        found = plain_soft_wpmi(images, texts, activations)
    else:
        probing = Probing.of(images, texts, activations)
        found = similarity_method(options.child).score(probing).similarity
    seconds = time.perf_counter() - start
    peak = status_kilobytes("VmHWM") or 0
    return {
        "seconds": round(seconds, 2),
        "added_mb": round((peak - before) / 1024, 1),
        "labels": found.argmax(dim=1).tolist(),
    }


def _run(options: argparse.Namespace, name: str) -> dict[str, Any]:
    sizes = ("images", "concepts", "units")
    command = [sys.executable, "-m", "tests.benchmarks.dissection", "--child", name]
    command += [f"--{size}={getattr(options, size)}" for size in sizes]
    done = subprocess.run(
        command, env=child_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise LimeTunerError(f"{name} failed (memory?): {lines[-1]}")
    found: dict[str, Any] = json.loads(done.stdout)
    say(f"{name}: {found['seconds']} s, {found['added_mb']} MB added")
    return found


def _measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    names = options.similarity or list(SIMILARITIES)
    with_plain = options.plain and "soft_wpmi" in names
    runs: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        for _ in range(options.rounds if name == "soft_wpmi" else 1):
            runs.setdefault(name, []).append(_run(options, name))
            if name == "soft_wpmi" and with_plain:
                runs.setdefault(_PLAIN, []).append(_run(options, _PLAIN))
    document: dict[str, Any] = {
        "images": options.images, "concepts": options.concepts, "units": options.units,
        "similarities": {
            name: {
                "seconds": statistics.median(run["seconds"] for run in found),
                "added_mb": max(run["added_mb"] for run in found),
            }
            for name, found in runs.items()
        },
    }  # fmt: skip
    if with_plain:
        ours, plain = runs["soft_wpmi"], runs[_PLAIN]
        seconds = document["similarities"]
        document |= {
            "ratio": round(seconds[_PLAIN]["seconds"] / seconds["soft_wpmi"]["seconds"], 2),
            "different_labels": sum(
                one != other
                for one, other in zip(ours[0]["labels"], plain[0]["labels"], strict=True)
            ),
        }
    return document


def main() -> None:
    """Parse and measure."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.dissection")
    parser.add_argument("--images", type=positive, default=10_000)
    parser.add_argument("--concepts", type=positive, default=20_000)
    parser.add_argument("--units", type=positive, default=2048)
    parser.add_argument("--rounds", type=positive, default=1, help="of soft_wpmi and the plain one")
    parser.add_argument("--similarity", action="append", choices=list(SIMILARITIES))
    parser.add_argument("--plain", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    if "--child" in sys.argv:
        print(json.dumps(_child(parser.parse_args())))
        return
    run_benchmark(parser, _measure, real_inputs=False)


if __name__ == "__main__":
    main()
