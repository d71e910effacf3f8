"""The pickle: what is in it, who can read it, and what is refused."""

from __future__ import annotations

import functools
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.segmentation
from lime.lime_image import LimeImageExplainer
from sklearn.linear_model import Ridge

from explainers.errors import InvalidInput
from explainers.lime import (
    DISTANCE_METRICS,
    LIME_ARGUMENTS,
    REGRESSORS,
    SEGMENTERS,
    LimeParameters,
    Regressor,
    Segmentation,
)
from studies.export import (
    ImageVerdict,
    check_kwargs,
    explained_class,
    export_pickle,
    plain_kwargs,
    read_pickle,
    settings_digest,
    summary,
    ungraded,
)

PARAMETERS = {
    "one": LimeParameters(),
    "two": LimeParameters(
        segmentation=Segmentation.of("slic", n_segments=12, compactness=10),
        hide_color=0, num_features=3, num_samples=20, top_labels=1,
        regressor=Regressor.of("Ridge", alpha=0.1),
    ),
    "three": LimeParameters(
        segmentation=Segmentation.of("felzenszwalb", scale=100, min_size=60),
        regressor=Regressor.of("BayesianRidge"), num_samples=20, distance_metric="hamming",
    ),
    "four": LimeParameters(
        segmentation=Segmentation.of("quickshift", kernel_size=3, max_dist=20, ratio=0.5),
        hide_color=(1, 2, 3), num_samples=20, random_seed=5,
    ),
}  # fmt: skip

_READER = """
import pickle, sys
import numpy as np
with open(sys.argv[1], "rb") as file:
    document = pickle.load(file)
assert not any(name.split(".")[0] in ("explainers", "studies", "tuner") for name in sys.modules)
from lime.lime_image import LimeImageExplainer
image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
def classify(images):
    first = images.mean(axis=(1, 2, 3)) / 255
    return np.stack([first, 1 - first], axis=1)
for key, kwargs in document.items():
    explanation = LimeImageExplainer(random_state=0).explain_instance(image, classify, **kwargs)
    explanation.get_image_and_mask(explanation.top_labels[0], num_features=5)
print(",".join(document))
"""


def test_it_loads_and_runs_where_our_packages_are_not(tmp_path: Path) -> None:
    file = tmp_path / "explain_params.pkl"
    export_pickle(PARAMETERS, file)
    # An editable install puts the checkout on the path by a .pth file: -S leaves that out, and
    # the site-packages folder is then added by hand.
    site = Path(np.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-S", "-c", _READER, str(file)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(site), "TQDM_DISABLE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ",".join(PARAMETERS)


def test_it_is_plain_dicts_of_the_ten_names(tmp_path: Path) -> None:
    file = tmp_path / "p.pkl"
    export_pickle(PARAMETERS, file)
    document = read_pickle(file)
    assert type(document) is dict
    for key, kwargs in document.items():
        assert type(kwargs) is dict
        assert tuple(kwargs) == LIME_ARGUMENTS
        assert kwargs["num_samples"] == PARAMETERS[key].num_samples
    assert check_kwargs(document, tuple(PARAMETERS)) == []
    assert [f.name for f in tmp_path.iterdir()] == ["p.pkl"]


def test_a_failed_export_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "p.pkl"
    export_pickle(PARAMETERS, file)
    before = file.read_bytes()

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(Exception, match="No space left"):
        export_pickle({"one": LimeParameters(num_samples=7)}, file)
    assert file.read_bytes() == before
    assert [f.name for f in tmp_path.iterdir()] == ["p.pkl"]
    with pytest.raises(InvalidInput):
        export_pickle(PARAMETERS, tmp_path / "no" / "folder.pkl")


def test_others_pickles_are_read_too(tmp_path: Path) -> None:
    file = tmp_path / "p.pkl"
    theirs = {
        "one": {
            **LimeParameters().as_kwargs(),
            "num_samples": np.int64(20),
            "segmentation_fn": functools.partial(
                skimage.segmentation.slic, n_segments=5, start_label=0
            ),
            "model_regressor": Ridge(alpha=2),
        }
    }
    file.write_bytes(pickle.dumps(theirs))
    document = read_pickle(file)
    assert not [c for c in check_kwargs(document, ("one",)) if c.fatal]
    image = np.zeros((16, 16, 3), dtype=np.uint8)
    image[:8] = 200
    LimeImageExplainer(random_state=0).explain_instance(
        image, lambda x: np.tile([0.3, 0.7], (len(x), 1)), **document["one"]
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"progress_bar": False}, "progress_bar"),
        ({"image": 3}, "image"),
        ({"num_samples": "many"}, "num_samples"),
        ({"num_samples": -5}, "num_samples"),
        ({"num_samples": True}, "num_samples"),
        ({"top_labels": None}, "top_labels"),
        ({"hide_color": 300}, "hide_color"),
        ({"hide_color": float("nan")}, "hide_color"),
        ({"segmentation_fn": 3}, "segmentation_fn"),
        ({"model_regressor": "Ridge"}, "model_regressor"),
        ({"labels": "abc"}, "labels"),
        ({"random_seed": 1.5}, "random_seed"),
        ({"distance_metric": 3}, "distance_metric"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_each_wrong_value_is_one_clear_line(change: dict[str, Any], says: str) -> None:
    document = {"one": {**LimeParameters().as_kwargs(), **change}}
    fatal = [c for c in check_kwargs(document, ("one",)) if c.fatal]
    assert len(fatal) == 1
    assert says in str(fatal[0])
    assert "one" in str(fatal[0])


@pytest.mark.parametrize("labels", [5, ("a",), (), (-1,)])
def test_wrong_labels_are_told_where_no_top_ones_are_wanted(labels: Any) -> None:
    kwargs = {**LimeParameters().as_kwargs(), "top_labels": None, "labels": labels}
    fatal = [c for c in check_kwargs({"one": kwargs}, ("one",), graded=False) if c.fatal]
    assert fatal
    assert all("labels" in str(complaint) for complaint in fatal)


def test_missing_and_surplus_entries_are_told_apart() -> None:
    short = LimeParameters().as_kwargs()
    del short["batch_size"]
    complaints = check_kwargs({"one": short, "dragon": {}}, ("one", "two"))
    assert {(c.key, c.fatal) for c in complaints} == {
        ("two", True), ("one", False), ("dragon", False),
    }  # fmt: skip


@pytest.mark.parametrize("document", [[], {}, {3: {}}, {"one": 3}, "text"])
def test_other_documents_are_refused(tmp_path: Path, document: Any) -> None:
    file = tmp_path / "p.pkl"
    file.write_bytes(pickle.dumps(document))
    with pytest.raises(InvalidInput):
        read_pickle(file)


def test_summary_has_the_servers_field_names() -> None:
    found = summary([ImageVerdict("a", (0.2, 0.4), (1.0, 3.0), "cat")])
    assert found["avg_iou"] == pytest.approx(0.3)
    assert found["avg_time"] == 2.0
    assert found["images"]["a"] == {
        "iou": pytest.approx(0.3), "iou_std": pytest.approx(0.1), "time": 2.0, "label": "cat",
    }  # fmt: skip
    assert "avg_object_iou" not in found
    known = summary([ImageVerdict("a", (0.2,), (1.0,), "cat", object_ious=(0.5, 0.75)),
                     ImageVerdict("b", (0.2,), (1.0,), "cat", object_ious=(0.25,))])  # fmt: skip
    assert known["images"]["a"]["object_iou"] == 0.625
    assert known["avg_object_iou"] == 0.4375


def test_settings_digest_sees_what_is_said_not_how_it_came_about() -> None:
    parameters = LimeParameters(
        segmentation=Segmentation.of("slic", n_segments=20), regressor=Regressor.of("Lasso")
    )
    kwargs = parameters.as_kwargs()
    assert settings_digest(kwargs) == settings_digest(pickle.loads(pickle.dumps(kwargs)))
    assert settings_digest(kwargs) == settings_digest(dict(reversed(kwargs.items())))
    others = [
        replace(parameters, segmentation=Segmentation.of("slic", n_segments=21)),
        replace(parameters, segmentation=Segmentation.of("felzenszwalb")),
        replace(parameters, regressor=Regressor.of("Lasso", alpha=0.5)),
        replace(parameters, regressor=None),
        replace(parameters, num_samples=999),
    ]
    digests = {settings_digest(other.as_kwargs()) for other in [parameters, *others]}
    assert len(digests) == len(others) + 1


def _everything_that_is_exported() -> dict[str, LimeParameters]:
    base = LimeParameters(num_samples=20)
    regressors = {
        f"{name} {alpha}": Regressor(
            name, tuple((p, max(alpha, 1.5) if p == "epsilon" else alpha) for p in allowed)
        )
        for name, allowed in REGRESSORS.items()
        for alpha in (0.0, 0.001, 1.0)
    }
    return {
        **{key: replace(base, regressor=each) for key, each in regressors.items()},
        **{
            f"{name} {edge}": replace(base, segmentation=Segmentation.of(
                name, **{p: kind(bounds[edge]) for p, (kind, *bounds) in known.parameters.items()}))
            for name, known in SEGMENTERS.items()
            for edge in (0, 1)
        },
        **{f"hide {c}": replace(base, hide_color=c) for c in (None, 0, 255, (0, 127, 255))},
        **{f"class {k}": base.about(k) for k in (None, 0, 1, 999)},
        **{f"labels {k}": replace(base, labels=k) for k in ((), (0,), tuple(range(10)))},
        **{f"metric {name}": replace(base, distance_metric=name) for name in DISTANCE_METRICS},
        "largest": replace(base, num_features=10**9, random_seed=2**32 - 1, top_labels=10**5),
    }  # fmt: skip


def test_whatever_is_exported_reads_back(tmp_path: Path) -> None:
    file, exported = tmp_path / "p.pkl", _everything_that_is_exported()
    export_pickle(exported, file)
    read = read_pickle(file)
    assert list(read) == list(exported)
    for key, parameters in exported.items():
        kwargs = parameters.as_kwargs()
        assert settings_digest(read[key]) == settings_digest(kwargs), key
        assert plain_kwargs(read[key]) == plain_kwargs(kwargs), key
        assert explained_class(read[key]) == parameters.label, key


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({}, None),
        ({"labels": (3,), "top_labels": 1}, None),
        ({"labels": (3, 4), "top_labels": None}, 3),
        ({"labels": [0], "top_labels": 0}, 0),
        ({"labels": (), "top_labels": None}, None),
        ({"labels": None, "top_labels": None}, None),
    ],
)
def test_a_class_by_its_number_is_for_verify_and_not_for_a_server(
    changes: dict[str, Any], label: int | None
) -> None:
    document = {"one": {**LimeParameters().as_kwargs(), **changes}}
    assert explained_class(document["one"]) == label
    has_top_labels = document["one"]["top_labels"] not in (None, 0)
    graded, verified = (
        [c for c in check_kwargs(document, ("one",), graded=graded) if c.fatal]
        for graded in (True, False)
    )
    assert (not graded, not verified) == (has_top_labels, has_top_labels or label is not None)
    assert bool(ungraded({"one": explained_class(document["one"])})) == (label is not None)
