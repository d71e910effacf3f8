"""The section on how everything was measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from explainers.metrics import MEASURES
from studies.report.blocks import Block, Facts, Table
from studies.report.facts import ReportFacts

__all__ = ["how_it_was_measured"]


def how_it_was_measured(facts: ReportFacts) -> list[Block]:
    """List packages, devices, rules and seeds, and explain the measures."""
    run = facts.comparison
    pairs: list[tuple[str, str]] = [("storage", facts.storage), ("study", facts.prefix)]
    if facts.studies:
        first = facts.studies[0].attributes
        pairs += [
            ("runtime weight", str(first.get("runtime_weight", ""))),
            ("mask rule", json.dumps(first.get("mask_rule", {}))),
            ("constraints", ", ".join(first.get("constraints", [])) or "none"),
            ("engine of the search", str(first.get("engine", ""))),
            ("packages of the search", _packages(first.get("package_versions", {}))),
        ]
    if run is not None:
        pairs += [
            ("comparison", f"{run.at:%Y-%m-%d %H:%M} UTC on {run.device}, {run.classifier}"),
            ("masks of heat maps", str(run.arguments.get("rule", ""))),
            ("explainer seeds", f"{run.arguments.get('seeds', '')} from {run.seed}"),
            ("packages of the comparison", _packages(run.package_versions)),
        ]
    rows: Sequence[Sequence[str]] = [
        [measure.title, "higher" if measure.higher_is_better else "lower", measure.source]
        for measure in MEASURES.values()
    ]
    return [Facts(pairs), Table("Measures", ["measure", "better", "source"], rows, (1, 2))]


def _packages(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
