"""Black boxes: answers are all there is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from explainers.classifiers import BlackBox, load_classifier
from explainers.engines import make_engine
from explainers.errors import InvalidInput, LimeTunerError
from explainers.references import parse_reference

_IMAGES = np.zeros((3, 8, 8, 3), dtype=np.uint8)
_MODULE = """
import numpy as np

class Model:
    def predict_proba(self, images):
        bright = images.reshape(len(images), -1).mean(axis=1) / 255
        return np.stack([bright, 1 - bright], axis=1)

model = Model()

def classify(images):
    return model.predict_proba(images)

classify.class_names = ["bright", "dark"]
classify.crop, classify.resize = 8, None

def versioned(images):
    return classify(images)

versioned.fingerprint = "version 1"

def fails(images):
    raise ValueError("no\\nconnection")

def logits(images):
    return classify(images) * 9

def silent(images):
    return None

def rows(images):
    return (row for row in classify(images))

def diverged(images):
    return classify(images) * np.nan

def texts(images):
    return [["bright", "dark"]] * len(images)

def squeezed(images):
    return classify(images).squeeze().tolist()

def inverted(images):
    np.subtract(255, images, out=images)
    return classify(images)

def several(images):
    return classify(images) * [0.5, 1]

def noisy(images):
    return classify(images) * np.random.default_rng().uniform(0.9, 1)

def tensor(images):
    import torch
    return torch.from_numpy(classify(images)).bfloat16().requires_grad_()

def flat(images):
    return classify(images)[:, 0]

def percent(images):
    return classify(images) * 100

def logarithms(images):
    return np.log(classify(images) + 1e-9)

def leaves(images):
    raise SystemExit(3)

def named(images):
    return classify(images)
named.class_names = {0: "bright", 1: "dark"}
named.crop, named.resize = np.int64(16), np.int64(16)

def one_text(images):
    return classify(images)
one_text.class_names = "ab"

def odd_crop(images):
    return classify(images)
odd_crop.crop = "big"

number = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Its name; a different one for each test, because modules are imported once."""
    name = f"boxes_{abs(hash(str(tmp_path)))}"
    (tmp_path / f"{name}.py").write_text(_MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_a_function_classifies(module: str) -> None:
    found = load_classifier(f"function:{module}:classify")
    assert isinstance(found, BlackBox)
    assert found.class_names == ("bright", "dark")
    assert (found.geometry.resize, found.geometry.crop) == (None, 8)
    assert found.predict_proba(_IMAGES).tolist() == [[0, 1]] * 3
    assert found.spec is not None
    again = load_classifier(**found.spec)
    assert again.fingerprint == found.fingerprint
    engine = make_engine(found, image=_IMAGES[0])
    assert engine.predict_proba(_IMAGES).dtype == np.float32
    assert engine.fingerprint == found.fingerprint
    named = load_classifier(f"function:{module}:named")
    assert named.class_names == ("bright", "dark")
    assert json.dumps(named.to_json()["crop"]) == "16"
    dotted = load_classifier(f"function:{module}:model.predict_proba")
    assert dotted.predict_proba(_IMAGES).shape == (3, 2)


def test_answers_of_another_source_are_not_the_same(module: str, tmp_path: Path) -> None:
    before = load_classifier(f"function:{module}:classify").fingerprint
    versioned = load_classifier(f"function:{module}:versioned").fingerprint
    (tmp_path / f"{module}.py").write_text(_MODULE + "\n# changed\n")
    assert load_classifier(f"function:{module}:classify").fingerprint != before
    assert load_classifier(f"function:{module}:versioned").fingerprint == versioned, "it is given"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fails", "no connection"),
        ("logits", "softmax"),
        ("flat", r"\(N, C\)"),
        ("silent", "returned None"),
        ("rows", "returned a generator"),
        ("diverged", "answers NaN.*: the function has to return finite numbers"),
        ("percent", "100, which is no probability: they are percentages, divide them by 100"),
        ("logarithms", "they are logarithms, apply exp first"),
        ("leaves", "SystemExit: 3"),
        ("texts", "a list of list"),
    ],
)
def test_wrong_answers_are_one_line(module: str, name: str, said: str) -> None:
    found = load_classifier(f"function:{module}:{name}")
    with pytest.raises(LimeTunerError, match=said) as error:
        found.predict_proba(_IMAGES)
    assert "\n" not in str(error.value)


def test_what_cannot_be_is_refused(module: str) -> None:
    for spec in ("nowhere:classify", f"{module}:nothing", f"{module}:number", "sys:exit"):
        with pytest.raises(InvalidInput, match="function"):
            load_classifier(f"function:{spec}")
    with pytest.raises(InvalidInput, match="no --weights"):
        load_classifier(f"function:{module}:classify", weights="w.pth")
    for name, said in (("one_text", "class_names of type str"), ("odd_crop", "crop='big' is imp")):
        with pytest.raises(InvalidInput, match=said):
            load_classifier(f"function:{module}:{name}")
    found = load_classifier(f"function:{module}:classify")
    with pytest.raises(InvalidInput, match="black box"):
        make_engine(found, "onnxruntime", image=_IMAGES[0])
    for method in ("gradcam@0.3", "eigencam@0.3", "scorecam@0.3"):
        with pytest.raises(InvalidInput, match="--objective faithful"):
            parse_reference(method).of(found, _IMAGES[0], "it")


def test_what_libraries_return_is_taken(module: str) -> None:
    for name, count in (("squeezed", 1), ("squeezed", 3), ("tensor", 3)):
        found = load_classifier(f"function:{module}:{name}").predict_proba(_IMAGES[:count])
        assert found.dtype == np.float32
        assert found.tolist() == [[0, 1]] * count


def test_a_function_that_writes_into_its_images_gets_copies(module: str) -> None:
    found = load_classifier(f"function:{module}:inverted")
    image = np.full((8, 8, 3), 51, dtype=np.uint8)
    engine = make_engine(found, image=image)
    for ask in (found.predict_proba, engine.predict_proba):
        for _ in range(2):
            np.testing.assert_allclose(ask(image[None]), [[0.8, 0.2]], atol=1e-6)
    assert (image == 51).all()


def test_odd_answers_are_told_once(module: str, caplog: pytest.LogCaptureFixture) -> None:
    image = np.full((8, 8, 3), 51, dtype=np.uint8)
    for name, said in (("several", "sum to 0.9"), ("noisy", "answers by chance")):
        found = load_classifier(f"function:{module}:{name}")
        caplog.clear()
        for _ in range(3):
            make_engine(found, image=image)
        messages = [r.getMessage() for r in caplog.records if said in r.getMessage()]
        assert len(messages) == 1
    caplog.clear()
    make_engine(load_classifier(f"function:{module}:classify"), image=image)
    assert caplog.records == []
