"""The page over full, half and empty storages: sensible, self-contained, the same every time."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from pathlib import Path

import optuna
import pytest
from matplotlib.figure import Figure

from explainers.errors import InvalidInput, StorageError
from explainers.lime import LimeParameters
from explainers.metrics import Faithfulness
from studies.catalog.names import catalog_study
from studies.export import settings_digest
from studies.records import add_comparison, add_verification
from studies.report import draw, write_report
from studies.results.attributes import DEFAULTS_ORIGIN, TRANSFER
from studies.results.trial_record import TrialRecord
from studies.storage import open_storage
from tests.studies.comparison_samples import comparison_run
from tests.studies.study_samples import random_studies

KEYS = ("goldfish", "racer", "kite")


class _Page(HTMLParser):
    """What the tests look at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.images: list[dict[str, str | None]] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        if tag == "img":
            self.images.append(found)
        if "href" in found:
            self.links.append(str(found["href"]))
        if "id" in found:
            self.anchors.add(str(found["id"]))


def _index(url: str, prefix: str, folder: Path) -> str:
    written = write_report(url, prefix, folder)
    assert all(path.is_file() for path in written)
    text = (folder / "index.html").read_text(encoding="utf-8")
    page = _Page(text)
    assert all(str(image["src"]).startswith("data:image/") for image in page.images)
    assert all(image["alt"] for image in page.images)
    assert all(link.startswith("#") and link[1:] in page.anchors for link in page.links)
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert not re.search(r"url\(|@import|\bnan\b|None\b", re.sub(r'src="[^"]*"', "", text))
    return text


def test_everything_is_there_and_the_same_twice(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    random_studies(url, "tml25", KEYS, 16)
    add_comparison(url, comparison_run("tml25", *KEYS, other_classes=True))
    text = _index(url, "tml25", tmp_path / "one")
    page = _Page(text)
    assert len(page.images) == 6 + 3 * (3 + 6 + 4)
    assert "3 of 3 images" in text
    assert "goldfish: the reference is doubtful (reliability 0.10)" in text
    assert "the catalogue says cock" in text
    assert "maps disagree &lt;&amp; so on&gt;" in text
    assert text.count('class="answer"') == 5
    _index(url, "tml25", tmp_path / "two")
    for path in sorted((tmp_path / "one").rglob("*.*")):
        twin = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert path.read_bytes() == twin.read_bytes(), path.name
    names = {path.name for path in (tmp_path / "one").rglob("*.*")}
    assert {"measures.csv", "trials.csv", "agreement.csv", "side_by_side.svg",
            "time_against_fidelity.png", "agreement_by_type.svg", "several_classes.png",
            "iou_per_image.svg", "search.png", "importance.svg"} <= names  # fmt: skip
    lines = (tmp_path / "one" / "tables" / "measures.csv").read_text().splitlines()
    assert lines[0].startswith("image,type,method,deletion,insertion,iou,pointing")
    assert len(lines) == 1 + 3 * 5
    assert ",,0.25,0.75,0.125," in lines[1]  # the missing measure is an empty cell


def test_verified_and_constrained(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    random_studies(url, "tml25", KEYS[:2], 4)
    text = _index(url, "tml25", tmp_path / "before")
    assert "run lime-tuner export and lime-tuner verify" in text
    assert "made without a constraint" in text
    assert "Only the likeliest class was explained" in text
    storage = open_storage(url)
    goldfish = optuna.load_study(study_name="tml25/goldfish", storage=storage)
    goldfish.set_user_attr("constraints", ["fidelity"])
    best = goldfish.best_trial.user_attrs
    judged = {"r2": 0.75, "gain": 0.5}
    goldfish.add_trial(
        optuna.trial.create_trial(
            value=goldfish.best_value + 1e-3, user_attrs={**best, "fidelity": judged}
        )
    )
    goldfish.add_trial(
        optuna.trial.create_trial(
            state=optuna.trial.TrialState.PRUNED,
            user_attrs={
                "iou": best["iou"] + 0.125, "runtime_ratio": 0.5, "feasible": False,
                "reason": "says little", "fidelity": {**judged, "gain": 0.25},
            },
        )
    )  # fmt: skip
    parameters = LimeParameters.from_json(best["lime_parameters"])
    found = {"iou": best["iou"] - 0.25, "iou_std": 0.0625, "time": 1.5, "label": "goldfish"}
    add_verification(
        url, pickle_sha256="p", catalog="tml25", classifier_sha256="a", reference="gradcam@0.3",
        seeds=5, settings={"goldfish": settings_digest(parameters.as_kwargs()), "racer": "old"},
        result={
            "avg_iou": 0.5, "avg_time": 1.5, "images": {"goldfish": found, "racer": found},
            "defaults": {"images": {"goldfish": found | {"iou": 0.125, "time": 24.0}}},
        },
    )  # fmt: skip
    text = _index(url, "tml25", tmp_path / "after")
    assert "with lime&#39;s defaults 0.125 in 24.00 s (1 image)" in text
    assert "+0.250 of that is luck" in text
    assert "Constraint: fidelity. Of 1 best setting none explains less than it allows." in text
    assert f"what was refused reached {best['iou'] + 0.125:.3f}" in text
    assert "ins − del, tuned" in text
    assert "measured trials of 1 image" in text
    assert "says little" in text


def test_dollar_signs_in_names_are_no_formulas() -> None:
    def figure() -> Figure:
        drawn = Figure()
        drawn.text(0, 0, "IMG $^$ and $5_$")
        return drawn

    assert "<!-- IMG $^$ and $5_$ -->" in draw("a", figure).svg


def test_half_a_study_and_a_comparison_without_tuned_settings(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    random_studies(url, "tml25", KEYS[:1], 2)
    random_studies(url, "tml25", KEYS[1:2], 0)
    text = _index(url, "tml25", tmp_path / "one")
    assert "1 of 2 images" in text
    assert "No trial is complete yet for racer" in text
    assert "run lime-tuner compare" in text
    add_comparison(url, comparison_run("tml25", KEYS[0], tuned=False))
    text = _index(url, "tml25", tmp_path / "two")
    assert "run lime-tuner compare" not in text
    assert "The images are not of both types" in text


def test_another_catalogue_s_storage_and_an_empty_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    open_storage(url)
    text = _index(url, "tml25", tmp_path / "empty")
    assert "has no study &#39;tml25/…&#39;" in text
    assert "Run lime-tuner tune" in text
    random_studies(url, "demo", KEYS, 2)
    assert "It holds studies of demo" in _index(url, "tml25", tmp_path / "other")
    assert not (tmp_path / "other" / "figures").exists()


def _add(study: optuna.Study, values: list[float], record: TrialRecord, **further: object) -> None:
    attributes = {**record.to_attributes(), **further}
    study.add_trial(optuna.trial.create_trial(values=values, user_attrs=attributes))


def _record(iou: float, seconds: float, faithful: Faithfulness | None = None) -> TrialRecord:
    parameters = LimeParameters(num_samples=round(1000 * seconds / 16))
    return TrialRecord(
        parameters, iou, [] if math.isnan(iou) else [iou], [0], seconds, seconds / 16, {}, 7,
        faithful=faithful,
    )  # fmt: skip


def test_without_a_reference(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    study = optuna.create_study(
        study_name="box/dog", storage=open_storage(url), direction="maximize"
    )
    study.set_user_attr("objective", "faithful")
    baseline, own = Faithfulness(0.25, 0.5, 0.75), Faithfulness(0.5, 0.625, math.nan)
    _add(study, [0.4], _record(math.nan, 16.0, baseline), origin=DEFAULTS_ORIGIN)
    _add(study, [0.5], _record(math.nan, 2.0, own))
    text = _index(url, "box", tmp_path / "one")
    assert "tuned for 1 of 1 images" in text
    assert "scored by how faithful explanations are to the classifier" in text
    assert "No trial is complete" not in text
    assert "no complete trial" not in text
    assert "R² is 0.500 instead of 0.250 and insertion minus deletion 0.625 instead of" in text
    assert "both are better on 1 of 1 image" in text
    assert "Pareto fronts" not in text


def test_two_objectives(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    study = optuna.create_study(
        study_name="two/dog", storage=open_storage(url), directions=["maximize", "minimize"]
    )
    for iou, seconds in ((0.25, 16.0), (0.5, 1.0), (0.75, 4.0), (0.5, 2.0)):
        _add(study, [iou, seconds], _record(iou, seconds))
    text = _index(url, "two", tmp_path / "one")
    assert "from 1 s to 4 s an explanation" in text
    assert (tmp_path / "one" / "figures" / "fronts.svg").is_file()
    rows = re.search(r"On the fronts</caption>.*?</table>", text, re.DOTALL)
    assert rows is not None
    assert re.findall(r">(\d\.\d{3})<", rows[0]) == ["1.000", "0.500", "4.000", "0.750"]


def test_one_setting_for_all(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    study = optuna.create_study(
        study_name=catalog_study("tml25"), storage=open_storage(url), direction="maximize"
    )
    spread = {"mean": 0.375, "low": 0.25, "high": 0.5, "size": 2}
    for name, value in {
        "aggregate": "q25", "reference_areas": {"dog": 0.875, "cat": 0.625},
        TRANSFER: {"folds": 2, "left_out": spread, "gap": spread | {"mean": 0.125}},
    }.items():  # fmt: skip
        study.set_user_attr(name, value)
    _add(
        study, [0.2], _record(0.25, 16.0), origin=DEFAULTS_ORIGIN,
        iou_per_image={"dog": 0.125, "cat": 0.375},
    )  # fmt: skip
    _add(study, [0.5], _record(0.5, 2.0), iou_per_image={"dog": 0.75, "cat": 0.25})
    text = _index(url, "tml25", tmp_path / "one")
    assert "One setting was looked for that suits all images" in text
    assert "One setting for 2 images, chosen by the q25 in 2 trials: IoU 0.500" in text
    assert "2.00 s instead of 16.00 s" in text
    assert "Marking every whole picture would have an IoU of 0.750" in text
    assert "(2 folds, fresh seeds) such a setting has 0.375 [0.250, 0.500]; the gap is" in text
    assert "all images" in text
    random_studies(url, "tml25", KEYS[:1], 4)
    both = _index(url, "tml25", tmp_path / "two")
    assert "tuned for 1 of 1 images" in both
    assert "One setting for 2 images" in both


def test_what_cannot_be_read_or_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"none\.db does not exist"):
        write_report(f"sqlite:///{tmp_path / 'none.db'}", "tml25", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    url = f"sqlite:///{tmp_path / 's.db'}"
    open_storage(url)
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="is a file"):
        write_report(url, "tml25", tmp_path / "file")
