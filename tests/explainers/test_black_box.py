"""Black boxes: answers are all there is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from explainers.black_box import BlackBox
from explainers.engines import make_engine
from explainers.errors import InvalidInput, LimeTunerError
from explainers.reference import parse_reference
from explainers.zoo import load_classifier

_IMAGES = np.zeros((3, 8, 8, 3), dtype=np.uint8)
_MODULE = '''
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

def told(images):
    return classify(images)

told.fingerprint = "version 1"

def fails(images):
    raise ValueError("no\\nconnection")

def logits(images):
    return classify(images) * 9

def flat(images):
    return classify(images)[:, 0]

number = 3
'''


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
    dotted = load_classifier(f"function:{module}:model.predict_proba")
    assert dotted.predict_proba(_IMAGES).shape == (3, 2)


def test_answers_of_another_source_are_not_the_same(module: str, tmp_path: Path) -> None:
    before = load_classifier(f"function:{module}:classify").fingerprint
    told = load_classifier(f"function:{module}:told").fingerprint
    (tmp_path / f"{module}.py").write_text(_MODULE + "\n# changed\n")
    assert load_classifier(f"function:{module}:classify").fingerprint != before
    assert load_classifier(f"function:{module}:told").fingerprint == told, "it is given"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fails", "no connection"),
        ("logits", "softmax"),
        ("flat", r"\(N, C\)"),
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
    found = load_classifier(f"function:{module}:classify")
    with pytest.raises(InvalidInput, match="black box"):
        make_engine(found, "onnxruntime", image=_IMAGES[0])
    for method in ("gradcam@0.3", "eigencam@0.3", "scorecam@0.3"):
        with pytest.raises(InvalidInput, match="--objective faithful"):
            parse_reference(method).of(found, _IMAGES[0], "it")
