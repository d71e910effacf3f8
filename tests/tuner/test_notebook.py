"""``tune`` in a notebook: what it takes, what it shows while it works, and what its result can."""

from __future__ import annotations

import base64
import io
import logging
import pickle
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import optuna
import pytest
import torch
from matplotlib.figure import Figure
from nbclient import NotebookClient
from numpy.typing import NDArray
from PIL import Image

from explainers.classifiers import BlackBox, Classifier, as_classifier
from explainers.errors import InvalidImage, InvalidInput
from explainers.images import prepare
from explainers.lime import explanation_mask
from explainers.masks import intersection_over_union
from studies.export import read_pickle
from tests.tuner import tiny
from tests.tuner.processes import ROOT
from tests.tuner.scenes import IMAGE, MASK, RUNTIME_MODEL, SMALL_SPACE, tune_house
from tuner import TuningResult, tune
from tuner.runtime.calibration import runtime_model_for
from tuner.study.result import result_of

QUICK: dict[str, Any] = {
    "trials": 6, "seeds": 2, "space": SMALL_SPACE, "runtime_model": RUNTIME_MODEL,
    "engine": "torch", "sampler": "random",
}  # fmt: skip


@pytest.fixture(scope="module")
def result(tiny_classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> TuningResult:
    path = tmp_path_factory.mktemp("photographs") / "a <house> & more.png"
    Image.fromarray(IMAGE).save(path)
    return tune(path, tiny_classifier, MASK, **QUICK)


def pixels_of(result: TuningResult) -> NDArray[np.uint8]:
    assert result.image is not None
    return result.image.task.image


def test_an_image_may_be_a_path_a_picture_or_an_array_of_any_size(
    tmp_path: Path, tiny_classifier: Classifier, caplog: pytest.LogCaptureFixture
) -> None:
    wide = np.asarray(Image.fromarray(IMAGE).resize((200, 128)))
    Image.fromarray(wide).save(tmp_path / "wide.png")
    expected = prepare(Image.fromarray(wide), tiny_classifier.geometry)
    mask = np.asarray(Image.fromarray(MASK).resize((200, 128)))
    one = {**QUICK, "trials": 1, "seeds": 1}
    with caplog.at_level(logging.WARNING):
        for given, says in (
            (str(tmp_path / "wide.png"), "wide.png, 200 × 128 pixels: its shorter side resized"),
            (tmp_path / "wide.png", "to 64 pixels, the central 64 × 64"),
            (Image.fromarray(wide), "a Pillow picture, 200 × 128"),
            (wide, "an array of uint8 from 0 (black) to 255 (white), 200 × 128"),
            (wide / 255, "an array of float64 from 0 (black) to 1 (white), 200 × 128"),
            (torch.from_numpy(wide.copy()).permute(2, 0, 1), "an array of uint8 from 0"),
        ):
            found = tune(given, tiny_classifier, mask, **one)
            assert np.array_equal(pixels_of(found), expected)
            assert found.image is not None
            assert says in found.image.preparation
    assert "from 0 (black) to 1 (white), 200 × 128 pixels: its shorter side" in caplog.text
    same = tune(IMAGE, tiny_classifier, MASK, **one)
    assert pixels_of(same) is IMAGE
    assert same.image is not None
    assert same.image.preparation.endswith("taken as it is")
    with pytest.raises(InvalidImage, match="is not a file"):
        tune(tmp_path / "none.png", tiny_classifier, **one)


def test_a_model_may_be_a_name_a_module_a_classifier_or_a_function(
    tiny_classifier: Classifier, caplog: pytest.LogCaptureFixture
) -> None:
    assert as_classifier(tiny_classifier) is tiny_classifier
    assert as_classifier("tests.tuner.tiny:make").fingerprint == tiny_classifier.fingerprint
    module = tiny_classifier.module
    module.train()
    made = as_classifier(module)
    assert module.training
    assert made.module is not module
    assert not made.module.training
    assert made.cam_layer == "features"
    module.eval()
    images = np.stack([IMAGE, IMAGE[::-1]])

    def classify(images: NDArray[np.uint8]) -> Any:
        return tiny_classifier.predict_proba(images)

    with caplog.at_level(logging.WARNING):
        black_box = as_classifier(classify)
    assert "names no size of images: it gets 224 × 224 pixels of 256" in caplog.text
    assert isinstance(black_box, BlackBox)
    assert np.array_equal(black_box.predict_proba(images), tiny_classifier.predict_proba(images))
    assert as_classifier(classify).fingerprint == black_box.fingerprint
    other = as_classifier(lambda images: tiny_classifier.predict_proba(255 - images))
    assert other.fingerprint != black_box.fingerprint
    for wrong, match in ((torch.nn.Linear, "Linear is no"), (5, "int is no"), (tiny.make, "takes")):
        with pytest.raises(InvalidInput, match=match):
            as_classifier(wrong)  # type: ignore[arg-type]


def test_a_function_needs_a_fingerprint_where_its_answers_are_kept(
    tiny_classifier: Classifier, tmp_path: Path
) -> None:
    def classify(images: NDArray[np.uint8]) -> Any:
        return tiny_classifier.predict_proba(images)

    classify.crop = classify.resize = 64  # type: ignore[attr-defined]
    url = f"sqlite:///{tmp_path / 's.db'}"
    for kept in ({"storage": url}, {"cache": tmp_path / "cache"}):
        with pytest.raises(InvalidInput, match="needs an attribute fingerprint"):
            tune(IMAGE, classify, MASK, **{**QUICK, **kept})
    classify.fingerprint = "the first"  # type: ignore[attr-defined]
    found = tune(IMAGE, classify, MASK, **{**QUICK, "storage": url})
    whole = tune(IMAGE, tiny_classifier, MASK, **QUICK)
    assert found.parameters == whole.parameters
    faithful = tune(IMAGE, classify, objective="faithful", **{**QUICK, "trials": 2, "seeds": 1})
    assert faithful.study.user_attrs["reference"]["rule"] == "none"
    shown = faithful._repr_html_()
    assert "faithfulness" in shown
    assert "held-out R²" in shown
    assert shown.count("<img") == 3  # there is no reference
    assert "nan" not in shown


def test_it_is_quiet_in_scripts_and_shows_a_bar_where_it_is_asked(
    tiny_classifier: Classifier, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert not hasattr(sys, "ps1")
    level, levels = optuna.logging.get_verbosity(), []
    optuna.logging.set_verbosity(optuna.logging.INFO)  # as it is unless somebody has set it
    quiet = tune_house(
        tiny_classifier, trials=3,
        on_trial=lambda _: levels.append(optuna.logging.get_verbosity()),
    )  # fmt: skip
    assert levels == [optuna.logging.WARNING] * 3
    assert optuna.logging.get_verbosity() == optuna.logging.INFO
    optuna.logging.set_verbosity(level)
    assert capsys.readouterr() == ("", "")
    url = f"sqlite:///{tmp_path / 's.db'}"
    shown = tune_house(tiny_classifier, trials=3, progress=True, storage=url)
    said = capsys.readouterr()
    assert said.out == ""
    assert "making the reference" in said.err
    last = said.err.rstrip().rpartition("\r")[2]
    assert "3/3" in last
    assert f"best score {shown.score:.3f}" in last
    assert quiet.score == shown.score
    tune_house(tiny_classifier, trials=5, progress=True, storage=url)  # goes on at three
    last = capsys.readouterr().err.rstrip().rpartition("\r")[2]
    assert "5/5" in last


def test_a_prompt_is_where_a_bar_is_shown(
    tiny_classifier: Classifier, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    tune_house(tiny_classifier, trials=2, progress=False)
    assert capsys.readouterr().err == ""
    tune_house(tiny_classifier, trials=2)
    assert capsys.readouterr().err == ""  # TQDM_DISABLE is set for all tests


def test_it_explains_as_it_was_scored(
    result: TuningResult, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = result.study.trials[result.best["number"]].user_attrs
    for seed, iou in zip(stored["seeds"], stored["iou_per_seed"], strict=True):
        explanation = result.explain(seed)
        found = intersection_over_union(explanation_mask(explanation), MASK)
        assert found == pytest.approx(iou, abs=1e-6)
    assert type(explanation).__module__ == "lime.lime_image"
    assert capsys.readouterr() == ("", "")
    first = result.explain()
    assert np.array_equal(first.segments, result.explain(0).segments)


def test_it_is_written_as_a_pickle_under_the_name_of_the_file(
    result: TuningResult, tmp_path: Path, tiny_classifier: Classifier
) -> None:
    path = tmp_path / "p.pkl"
    assert result.to_pickle(path) == "a <house> & more"
    assert result.to_pickle(str(path), key="cat") == "cat"
    (key,) = read_pickle(path)
    arguments = pickle.loads(path.read_bytes())[key]
    assert (key, len(arguments)) == ("cat", 10)
    assert arguments["num_samples"] == result.parameters.num_samples
    of_array = tune_house(tiny_classifier, trials=1, seeds=1, study="pets/dog")
    assert of_array.to_pickle(path) == "dog"
    with pytest.raises(InvalidInput, match="folder that exists"):
        result.to_pickle(tmp_path / "none" / "p.pkl")


def test_what_a_notebook_shows(result: TuningResult) -> None:
    shown = result._repr_html_()
    assert "<strong>a &lt;house&gt; &amp; more</strong>" in shown
    assert "<house>" not in shown
    titles = re.findall(r"<figcaption>(.*?)</figcaption>", shown)
    assert titles == ["photograph", "reference", "lime&#x27;s defaults", "best"]
    encoded = re.findall(r'src="data:image/png;base64,([^"]+)"', shown)
    pictures = [Image.open(io.BytesIO(base64.b64decode(text))) for text in encoded]
    assert [picture.size for picture in pictures] == [(256, 256)] * 4
    assert len({picture.tobytes() for picture in pictures}) == 4
    assert len(shown) < 400_000
    assert f"{result.iou:.3f} ±" in shown
    assert f"<code>{result.parameters.num_samples}</code>" in shown
    assert f"{result.trials} trials" in shown
    assert "64 × 64 pixels: its shorter side" in shown
    assert "held-out R²" in shown
    assert "prefers-color-scheme" not in shown
    assert set(re.findall(r"(?<![-\w])color:(\w+)", shown)) == {"inherit"}


def test_what_is_explained_is_shown_where_it_is_known(tiny_classifier: Classifier) -> None:
    constrained = tune_house(tiny_classifier, trials=10, seeds=2, constrain="fidelity@0.3")
    shown = constrained._repr_html_()
    for found in (constrained.default, constrained.best):
        assert f"{found['fidelity']['r2']:.3f}" in shown
        assert f"{found['fidelity']['gain']:.3f}" in shown
    assert ("a compromise" in shown) == constrained.best["compromise"]


def test_the_figure_compares_the_defaults_with_the_best(result: TuningResult) -> None:
    figure = result.compare()
    assert isinstance(figure, Figure)
    left, right = figure.axes
    assert left.get_title().startswith(f"lime's defaults\nIoU {result.default['iou']:.2f} in")
    assert right.get_title().startswith(f"best\nIoU {result.iou:.2f} in")
    assert not np.array_equal(left.images[0].get_array(), right.images[0].get_array())
    png = figure._repr_png_()  # type: ignore[attr-defined]
    assert Image.open(io.BytesIO(png)).width > 400


def test_a_result_without_its_image_says_so(result: TuningResult) -> None:
    bare = result_of(result.study)
    assert "<img" not in bare._repr_html_()
    assert f"{bare.iou:.3f}" in bare._repr_html_()
    for method in (bare.explain, bare.compare):
        with pytest.raises(InvalidInput, match="no image at hand"):
            method()


def test_the_example_of_the_readme_runs_in_a_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_classifier: Classifier
) -> None:
    runtime_model_for(tiny_classifier, IMAGE)  # measured once for all tests
    readme = (ROOT / "README.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", readme, flags=re.MULTILINE | re.DOTALL)
    (example,) = [block for block in blocks if "import tune\n" in block]
    lines = [line for line in example.splitlines() if line.strip()]
    assert len(lines) <= 5
    (shown,) = re.findall(r'tune\((".*?"), (".*?")\)', example)
    image, _ = tiny.tiny_picture("cat")
    Image.fromarray(image).resize((160, 120)).save(tmp_path / shown[0].strip('"'), quality=95)
    quick = '"tests.tuner.tiny:make", trials=6, seeds=2, engine="torch", sampler="random"'
    cells = [line.replace(shown[1], quick) for line in lines]
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("TQDM_DISABLE")
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in [*cells, "result"]]
    )
    NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.outputs]
    said = "".join(output.text for output in outputs if output.output_type == "stream")
    shown_data = [output.data for output in outputs if "data" in output]
    assert "best score" in said
    assert any(data.get("text/html", "").count("<img") == 4 for data in shown_data)
    assert any("image/png" in data for data in shown_data)
    assert list(read_pickle(tmp_path / "explain_params.pkl")) == [Path(shown[0].strip('"')).stem]
