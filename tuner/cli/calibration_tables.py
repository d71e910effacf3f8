"""What ``calibrate`` found, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuner.cli.output import console, table

if TYPE_CHECKING:
    from tuner.server.calibration import Calibration, RuleSearch
    from tuner.server.runtime import Errors, Estimate

__all__ = ["show_calibration"]

_SHOWN_CANDIDATES = 10
_DOUBTFUL = 0.1  # leave-one-out error; whoever else uses the machine distorts what it measures


def show_calibration(name: str, calibration: Calibration) -> None:
    """Runtimes, rules and the verdict.

    Args:
        name: that it is stored under.
    """
    _show_runtimes(name, calibration)
    if calibration.rules is not None:
        _show_rules(calibration, calibration.rules)
    say = f"reference and mask rule: {calibration.verdict.text}"
    if calibration.rules is not None:
        say += (
            f"\nall of this means something only if the server's classifier is "
            f"{calibration.rules.classifier}, with the same weights"
        )
    console.print(say, markup=False)
    console.print(f"stored as {name}: lime-tuner tune --calibrated {name}", markup=False)


def _show_runtimes(name: str, calibration: Calibration) -> None:
    line, factors = calibration.line, calibration.factors
    columns = ["answer", "samples", "seconds", "line", "error", "from the others"]
    columns += ["scaled model", "error", "from the others"] if factors is not None else []
    shown = table(f"runtime of {name}, means over images", *columns)
    for number, answer in enumerate(calibration.answers):
        row = [answer.name, f"{answer.samples:.0f}", f"{answer.avg_time:.3f}"]
        row += _fit_cells(line.errors, number)
        row += _fit_cells(factors.errors, number) if factors is not None else []
        shown.add_row(*row)
    shown.add_section()
    last = ["leave-one-out error", "", "", "", "", _share(line.errors.leave_one_out)]
    last += ["", "", _share(factors.errors.leave_one_out)] if factors is not None else []
    shown.add_row(*last)
    console.print(shown)
    terms = [
        f"seconds = {_estimate(line.intercept, 1, 's')}",
        f"{_estimate(line.per_sample, 1000, 'ms')} a sample",
    ]
    if line.per_batch is not None:
        terms.append(f"{_estimate(line.per_batch, 1000, 'ms')} a batch")
    console.print(" + ".join(terms))
    if line.intercept.standard_error is None:
        console.print(
            f"{len(calibration.answers)} answers determine the line exactly: one more is needed to "
            "know how uncertain it is"
        )
    if factors is not None:
        how = "common: the answers do not tell them apart" if factors.common else "least squares"
        console.print(
            f"this machine's segmentation and fit × {factors.fixed:.3g}, its perturbation and "
            f"prediction × {factors.per_sample:.3g} ({how})"
        )
        left_out = factors.errors.leave_one_out
        if left_out is not None and left_out > _DOUBTFUL:
            console.print(
                f"the scaled model foretells the answers to {left_out:.0%} only: run this again "
                "while nothing else uses this machine"
            )


def _fit_cells(errors: Errors, number: int) -> list[str]:
    left_out = "" if errors.left_out is None else f"{errors.left_out[number]:.3f}"
    return [f"{errors.fitted[number]:.3f}", f"{errors.relative[number]:+.1%}", left_out]


def _share(value: float | None) -> str:
    return "too few" if value is None else f"{value:.1%}"


def _estimate(estimate: Estimate, scale: float, unit: str) -> str:
    value = f"{estimate.value * scale:.3g}"
    if estimate.standard_error is None or estimate.interval is None:
        return f"{value} {unit}"
    low, high = (bound * scale for bound in estimate.interval)
    error = estimate.standard_error * scale
    return f"{value} ± {error:.2g} {unit} (95 %: {low:.3g} to {high:.3g})"


def _show_rules(calibration: Calibration, rules: RuleSearch) -> None:
    answered = ", ".join(f"{answer.avg_iou:.3f}" for answer in calibration.answers)
    shown = table(
        f"rules that explain the IoUs {answered} best",
        "reference", "mask", "error", "rank correlation", "predicted", "explains",
    )  # fmt: skip
    for candidate in rules.candidates[:_SHOWN_CANDIDATES]:
        correlation = candidate.rank_correlation
        pairs = zip(candidate.predicted, candidate.standard_errors, strict=True)
        shown.add_row(
            " = ".join((candidate.reference, *candidate.same)),
            candidate.mask_rule,
            f"{candidate.error:.4f}",
            "" if correlation is None else f"{correlation:.2f}",
            ", ".join(f"{iou:.3f} ± {error:.3f}" for iou, error in pairs),
            "yes" if candidate.explains else "no",
        )
    console.print(shown)
    console.print(
        f"{rules.compared} candidates compared with {rules.seeds} seeds an image; "
        f"{len(rules.unusable)} references left an image without a usable mask"
    )
