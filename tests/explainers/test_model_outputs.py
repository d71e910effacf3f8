"""Whatever a network returns becomes (N, C) probabilities of the right value, or one line."""

from __future__ import annotations

import logging
import sys
import threading
from collections import OrderedDict
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from explainers.cam import ActivationMaps
from explainers.classifiers import Classifier, OutputKind
from explainers.engines import TorchEngine, make_engine
from explainers.errors import InvalidInput, LimeTunerError, NotFinite
from explainers.images import Geometry
from tests.explainers.odd_networks import (
    IMAGE,
    PROBABILITIES,
    SIGMOIDS,
    Heads,
    Odd,
    WithLogits,
    as_map,
    no_grad,
)

_GREY = float(np.array([255, 51, 102]) @ np.array([0.299, 0.587, 0.114])) / 255
_OF_GREY = np.exp(4 * _GREY) / (np.exp(4 * _GREY) + 2)  # its other two filters are empty
_RED = 1 / (1 + np.exp(-4.0))


def _classifier(module: nn.Module, **keywords: Any) -> Classifier:
    return Classifier(
        "odd", module, (), geometry=Geometry(16, 16), mean=(0.0,) * 3, std=(1.0,) * 3,
        cam_layer="cells", **keywords,
    )  # fmt: skip


_LOGITS = (OutputKind.LOGITS, PROBABILITIES)
_SHARES = (OutputKind.PROBABILITIES, PROBABILITIES)
_SEVERAL = (OutputKind.SIGMOIDS, SIGMOIDS)
_ONE = [1 - _RED, _RED]

_TAKEN: dict[str, tuple[nn.Module, tuple[OutputKind, Any]]] = {
    "tensor": (Odd(lambda m, x: m.logits(x)), _LOGITS),
    "tuple": (Odd(lambda m, x: (m.logits(x), x.mean())), _LOGITS),
    "list": (Odd(lambda m, x: [m.logits(x)]), _LOGITS),
    "dictionary": (Odd(lambda m, x: {"features": x, "logits": m.logits(x)}), _LOGITS),
    "out": (Odd(lambda m, x: OrderedDict(out=m.logits(x), aux=x)), _LOGITS),
    "only entry": (Odd(lambda m, x: {"classes": m.logits(x)}), _LOGITS),
    "dataclass": (Odd(lambda m, x: WithLogits(m.logits(x))), _LOGITS),
    "heads": (Odd(lambda m, x: Heads(m.logits(x), None)), _LOGITS),
    "label too": (Odd(lambda m, x: (m.logits(x), m.logits(x).argmax(1))), _LOGITS),
    "one cell": (Odd(lambda m, x: m.logits(x)[:, :, None, None]), _LOGITS),
    "squeezed": (Odd(lambda m, x: m.logits(x).squeeze()), _LOGITS),
    "numpy": (Odd(lambda m, x: m.logits(x).detach().numpy()), _LOGITS),
    "softmax": (Odd(lambda m, x: torch.softmax(m.logits(x), 1)), _SHARES),
    "softmax's view": (Odd(lambda m, x: torch.softmax(m.logits(x), 1)[..., None]), _SHARES),
    "mean of softmaxes": (
        Odd(lambda m, x: (m.logits(x).softmax(1) + m.logits(x.flip(3)).softmax(1)) / 2), _SHARES,
    ),
    "log-softmax": (
        Odd(lambda m, x: functional.log_softmax(m.logits(x), 1)),
        (OutputKind.LOG_PROBABILITIES, PROBABILITIES),
    ),
    "sigmoids": (Odd(lambda m, x: torch.sigmoid(m.logits(x))), _SEVERAL),
    "sigmoids without gradients": (Odd(no_grad), _SEVERAL),
    "one logit": (Odd(lambda m, x: m.logits(x), 1), (OutputKind.ONE_LOGIT, _ONE)),
    "one logit squeezed": (
        Odd(lambda m, x: m.logits(x).squeeze(1), 1), (OutputKind.ONE_LOGIT, _ONE),
    ),
    "one sigmoid": (
        Odd(lambda m, x: torch.sigmoid(m.logits(x)), 1), (OutputKind.ONE_PROBABILITY, _ONE),
    ),
    "in place": (Odd(lambda m, x: m.logits(x.mul_(1.0))), _LOGITS),
    "double": (Odd(lambda m, x: m.logits(x)).double(), _LOGITS),
    "half": (Odd(lambda m, x: m.logits(x)).half(), _LOGITS),
    "data parallel": (nn.DataParallel(Odd(lambda m, x: m.logits(x))), _LOGITS),
    "grey": (
        Odd(lambda m, x: m.logits(x), channels=1),
        (OutputKind.LOGITS, [_OF_GREY, (1 - _OF_GREY) / 2, (1 - _OF_GREY) / 2]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", _TAKEN)
def test_what_is_taken(name: str, caplog: pytest.LogCaptureFixture) -> None:
    module, (kind, expected) = _TAKEN[name]
    if name == "data parallel":
        found = replace(_classifier(module), cam_layer="module.cells").recognised()
    else:
        found = _classifier(module).recognised()
    within = 2e-3 if name == "half" else 1e-6
    for images in (IMAGE[None], np.stack([IMAGE] * 4)):
        answers = found.predict_proba(images)
        assert answers.dtype == np.float32
        np.testing.assert_allclose(answers, [expected] * len(images), atol=within)
        engine = TorchEngine(found).predict_proba(images)
        np.testing.assert_allclose(engine, answers, atol=within)
    assert found.output is kind
    facts = found.to_json()
    assert facts["output"] == str(kind)
    assert facts["channels"] == len(facts["mean"]) == (1 if name == "grey" else 3)
    quiet = name in {
        "tensor", "dataclass", "heads", "one cell", "squeezed", "numpy", "in place",
        "data parallel",
    }  # fmt: skip
    assert len(caplog.records) == (0 if quiet else 1), "guesses are told once, plain logits never"
    assert found.recognised() is found


@pytest.mark.parametrize("name", ["dictionary", "sigmoids", "one logit squeezed", "grey"])
def test_compiled_engines_say_the_same(name: str) -> None:
    found = _classifier(_TAKEN[name][0]).recognised()
    made = make_engine(found, "onnxruntime", image=IMAGE)
    assert made.name == "onnxruntime"
    expected = found.predict_proba(np.stack([IMAGE, IMAGE // 2, IMAGE]))
    answers = made.predict_proba(np.stack([IMAGE, IMAGE // 2, IMAGE]))
    np.testing.assert_allclose(answers, expected, atol=1e-5)


_REFUSED: dict[str, tuple[nn.Module, str]] = {
    "nothing": (Odd(lambda m, x: None), "returned None"),
    "text": (Odd(lambda m, x: "cat"), "returned a str"),
    "map": (Odd(as_map), r"'out': shape \(3, 3, 16, 16\) float32, a map"),
    "boxes": (Odd(lambda m, x: [{"boxes": x}] * len(x)), "a list of dict"),
    "two entries": (Odd(lambda m, x: {"a": m.logits(x), "b": x}), "a dict of 'a'"),
    "class numbers": (Odd(lambda m, x: m.logits(x).argmax(1)), "int64, whole numbers"),
    "ranks": (Odd(lambda m, x: m.logits(x).topk(2)), "the chosen values and their places"),
    "best": (Odd(lambda m, x: m.logits(x).max(1)), "the chosen values and their places"),
    "sorted": (Odd(lambda m, x: tuple(m.logits(x).sort(1))), "the chosen values and their places"),
    "percentages": (Odd(lambda m, x: m.logits(x).softmax(1) * 100), "rows sum to 100"),
    "exit": (Odd(lambda m, x: sys.exit(3)), "SystemExit: 3"),
    "rows": (Odd(lambda m, x: m.logits(x)[:1].repeat(5, 1)), r"\(5, 3\).*for 3 images"),
    "softmax of the batch": (Odd(lambda m, x: m.logits(x).softmax(0)), "dim must be 1"),
    "size": (nn.Sequential(nn.Flatten(), nn.Linear(9 * 9, 2)), r"\(3, 3, 16, 16\) float32"),
    "channels": (nn.Sequential(nn.Conv2d(4, 2, 1)), "4 channels"),
}


@pytest.mark.parametrize("name", _REFUSED)
def test_what_is_refused_is_one_line(name: str) -> None:
    module, said = _REFUSED[name]
    found = _classifier(module).recognised()
    for _ in range(2):
        with pytest.raises(LimeTunerError, match=said) as error:
            found.predict_proba(IMAGE[None])
        assert str(error.value).startswith("odd ")
        assert "\n" not in str(error.value)
    assert found.to_json()["output"] == "unknown"


def test_a_size_that_only_a_catalogue_knows(caplog: pytest.LogCaptureFixture) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(16 * 16 * 3, 2), nn.Softmax(1))
    found = Classifier("fixed", module, ()).recognised()
    assert caplog.records == []
    fingerprint = found.fingerprint
    assert found.predict_proba(IMAGE[None]).sum() == pytest.approx(1)
    assert found.to_json()["output"] == "probabilities"
    assert "ends in a softmax" in caplog.text
    assert replace(found).fingerprint == fingerprint, "it does not depend on what was asked before"


def test_what_is_said_is_not_guessed(caplog: pytest.LogCaptureFixture) -> None:
    module = Odd(lambda m, x: torch.softmax(m.logits(x), 1))
    for keywords in ({"outputs_probabilities": True}, {"output": "probabilities"}):
        said = _classifier(module, **keywords)
        assert said.recognised() is said
        np.testing.assert_allclose(said.predict_proba(IMAGE[None])[0], PROBABILITIES, atol=1e-6)
    assert caplog.records == []
    with pytest.raises(InvalidInput, match="logits, probabilities"):
        _classifier(module, output="scores")
    _classifier(module).predict_proba(IMAGE[None])
    assert "sum to 1, which are taken for logits" in caplog.text


def test_one_logit_has_two_names() -> None:
    module = Odd(lambda m, x: m.logits(x), 1)
    nameless = _classifier(module).recognised()
    assert [nameless.class_name(i) for i in (0, 1)] == ["0", "1"]
    named = replace(_classifier(module), class_names=("cat",)).recognised()
    assert named.class_names == ("not cat", "cat")
    assert replace(named).class_names == ("not cat", "cat")


def test_nan_is_one_line_before_anything_is_made_of_it() -> None:
    module = Odd(lambda m, x: m.logits(x))
    nn.init.constant_(module.cells.weight, float("nan"))
    found = _classifier(module).recognised()
    with pytest.raises(NotFinite, match="odd answers NaN"):
        found.predict_proba(IMAGE[None])
    for engine in ("torch", "onnxruntime"):
        with pytest.raises(NotFinite, match="odd answers NaN"):
            make_engine(found, engine, image=IMAGE)


def test_answers_by_chance_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    found = _classifier(Odd(lambda m, x: functional.dropout(m.logits(x)))).recognised()
    torch.manual_seed(0)
    for _ in range(2):
        make_engine(found, "torch", image=IMAGE)
    assert [r.getMessage() for r in caplog.records if "by chance" in r.getMessage()] != []
    assert len(caplog.records) == 1
    assert caplog.records[0].levelno == logging.WARNING


class _InTraining(nn.Module):
    """What forgot, or refuses, to leave train mode."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.cells = nn.Conv2d(3, 3, 1)
        self.norm = norm

    def train(self, mode: bool = True) -> _InTraining:
        return super().train(True)

    def forward(self, images: torch.Tensor) -> Any:
        features = self.cells(images)
        if isinstance(self.norm, nn.BatchNorm1d):
            features = features.mean((2, 3), keepdim=True).flatten(1)
        features = self.norm(features)
        return features if features.ndim == 2 else features[:, :, ::2, ::3].mean((2, 3)) * 40


def test_train_mode_is_the_cause_that_is_told(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    found = _classifier(_InTraining(nn.BatchNorm1d(3))).recognised()
    assert "odd: stays in train mode" in caplog.text
    with pytest.raises(LimeTunerError, match=r"more than 1 value.*stay in train mode, its train"):
        found.predict_proba(image[None])
    found = _classifier(_InTraining(nn.BatchNorm2d(3))).recognised()
    for _ in range(2):
        make_engine(found, "torch", image=image)
    messages = [r.getMessage() for r in caplog.records if "two images at once" in r.getMessage()]
    assert len(messages) == 1


def test_names_of_other_classes_are_told(caplog: pytest.LogCaptureFixture) -> None:
    made = replace(_classifier(Odd(lambda m, x: m.logits(x))), class_names=("a", "b"))
    make_engine(made, "torch", image=IMAGE)
    assert "odd has 2 class names for 3 classes" in caplog.text


def test_a_network_that_keeps_what_it_computed_has_maps() -> None:
    def keeps(module: Any, images: torch.Tensor) -> torch.Tensor:
        module.kept = {"features": [images * 2, module.cells(images)]}
        return module.kept["features"][1].mean((2, 3)) * module.gain  # type: ignore[no-any-return]

    maps = []
    for respond in (keeps, lambda m, x: m.logits(x)):
        found = _classifier(Odd(respond)).recognised()
        with ActivationMaps(found, "gradcam") as asked:
            maps.append(asked.enlarged(np.stack([IMAGE, IMAGE // 2]), 0))
    np.testing.assert_array_equal(*maps)
    module = Odd(lambda m, x: m.logits(x))
    module.lock = threading.Lock()  # type: ignore[assignment]
    with pytest.raises(LimeTunerError, match=r"odd cannot be copied.*lock.*out of the network"):
        ActivationMaps(_classifier(module), "gradcam")


def test_maps_of_a_sure_softmax_are_those_of_its_logits() -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    image[4:8, 8:12, 0] = 255

    def cam(end: Any) -> NDArray[np.float32]:
        # Times 200: the probability is 1 to the last bit, and its gradient 0.
        found = _classifier(Odd(lambda m, x: end(m.logits(x) * 200))).recognised()
        with ActivationMaps(found, "gradcam") as maps:
            return maps.enlarged(image[None], 0)[0]

    expected = cam(lambda logits: logits)
    assert expected[5, 9] == pytest.approx(1)
    assert expected[0, 0] == 0
    ends = (lambda z: z.softmax(1), lambda z: z.log_softmax(1), torch.sigmoid,
            lambda z: WithLogits(z))  # fmt: skip
    for end in ends:
        np.testing.assert_allclose(cam(end), expected, atol=1e-5)


def test_a_network_that_standardises_is_asked_about_pictures_only() -> None:
    """About a blank one it would answer NaN."""

    def standardised(module: Odd, x: torch.Tensor) -> torch.Tensor:
        spread = x.std((1, 2, 3), keepdim=True)
        return module.logits((x - x.mean((1, 2, 3), keepdim=True)) / spread)

    found = _classifier(Odd(standardised)).recognised()
    engine = make_engine(found, "torch", image=IMAGE)
    assert np.isfinite(engine.predict_proba(IMAGE[None])).all()


def test_a_lack_of_memory_is_told_as_that() -> None:
    def greedy(module: Odd, x: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("tried to allocate 2 GiB")

    found = _classifier(Odd(greedy))
    with pytest.raises(LimeTunerError, match="no memory on cpu for 1 images"):
        found.predict_proba(IMAGE[None])
    engine = TorchEngine(found)
    module = engine.module
    with pytest.raises(LimeTunerError, match="no memory"):
        engine.predict_proba(IMAGE[None])
    assert engine.module is module  # not once more in another layout
