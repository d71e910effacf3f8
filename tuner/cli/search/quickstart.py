"""``lime-tuner quickstart``: the whole job on the drawn scenes, without any download."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from studies.export import read_pickle
from tuner.cli.context import open_workplace
from tuner.cli.options import AsJson, CatalogOptions, ClassifierOptions, MachineOptions
from tuner.cli.output import console, errors, write_json
from tuner.cli.results.export import run_export, run_verification, show_verification
from tuner.cli.results.pictures import check_folder, write_explanations
from tuner.cli.search.tune_run import TuneRequest, run_tuning
from tuner.options import BUDGET, MACHINE, OUTPUT
from tuner.problem import SearchSpace
from tuner.problem.settings import TuningSettings

__all__ = ["quickstart"]

# A tenth of the superpixel maps that `tune` searches by default, to be quick.
_MAPS: Mapping[str, Mapping[str, tuple[int | float, ...]]] = {
    "lime": {},
    "slic": {"n_segments": (6, 10, 15, 22), "compactness": (5, 20), "sigma": (0, 2)},
    "felzenszwalb": {"scale": (100, 400), "sigma": (0.5, 2.0), "min_size": (100, 300)},
}


def quickstart(
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", help="Folder for everything it makes.", rich_help_panel=OUTPUT
        ),
    ] = Path("quickstart"),
    trials: Annotated[int, typer.Option(help="Trials per scene.", rich_help_panel=BUDGET)] = 12,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes.  [default: the number of cores, at most 4]", rich_help_panel=MACHINE
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tune, export, verify and picture ten drawn scenes with the embedded classifier.

    No network is needed. Running it again goes on with the same studies.
    """
    check_folder(output)
    workspace = open_workplace(
        CatalogOptions(catalog="demo"), ClassifierOptions(model="demo", device="cpu")
    )
    storage = f"sqlite:///{output / 'lime-tuner.db'}"
    pickle_file = output / "explain_params.pkl"
    start = time.monotonic()
    errors.print("1/4 tuning ten scenes against their object masks")
    run_tuning(
        workspace,
        TuneRequest(
            storage=storage,
            study="demo",
            settings=TuningSettings.of(
                {"trials": trials, "seeds": 4, "space": SearchSpace(maps=_MAPS)}
            ),
            machine=MachineOptions(workers=workers or min(4, os.cpu_count() or 1)),
        ),
    )
    errors.print("2/4 exporting the best parameters")
    run_export(
        storage, catalog_source="demo", study="demo", output=pickle_file, fill_defaults=False
    )
    errors.print("3/4 verifying them with stock lime in fresh processes")
    document = read_pickle(pickle_file)
    result = run_verification(
        workspace, pickle_file, document, reference=None, seeds=3, baseline_seeds=1, storage=storage
    )
    errors.print("4/4 drawing the explanations")
    pictures = output / "explanations"
    write_explanations(workspace, document, pictures, seed=0, reference="masks")
    if as_json:
        write_json({**result, "storage": storage, "pickle": str(pickle_file)})
        return
    show_verification(result)
    console.print(f"all of it took {time.monotonic() - start:.0f} s")
    console.print(f"database: {output / 'lime-tuner.db'}   (lime-tuner status --storage {storage})")
    console.print(f"pickle:   {pickle_file}   (explainer.explain_instance(..., **params[KEY]))")
    console.print(f"pictures: {pictures}")
