"""A study goes on only with what it was made from, whoever asks, and whoever asks first."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import sqlalchemy
from optuna.study import StudyDirection
from PIL import Image

from explainers.errors import InvalidInput, LimeTunerError
from explainers.lime import PredictionCache
from explainers.references import Reference
from studies.storage import open_storage
from studies.storage.reconnecting import ReconnectingStorage
from tests.tuner.command_line import FEW_MAPS, Cli
from tests.tuner.scenes import RUNTIME_MODEL, SMALL_SPACE
from tests.tuner.tiny import MODEL
from tuner.problem import TuningTask
from tuner.problem.settings import TuningSettings
from tuner.problem.spec import PLAN, StudySpec
from tuner.runtime.model import RuntimeModel
from tuner.study.identity import StudyIdentity, check_identity, read_studies
from tuner.tuning import as_stored, open_study, study_facts


def _mask(rows: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    mask = np.zeros((8, 8), dtype=bool)
    mask[:rows] = True
    return mask


def _reference(rows: int = 4, rule: str = "drawn/a.png") -> dict[str, Any]:
    return Reference(_mask(rows), rule).to_json()


_CLASSIFIER = {"name": "two", "sha256": "c" * 64}
# What studies have had so far, in the order in which it was written.
_OLD_FACTS: dict[str, Any] = {
    "catalog": "demo",
    "image_key": "a",
    "image_sha256": "a" * 64,
    "classifier": _CLASSIFIER,
    "class_index": 1,
    "class_name": "cat",
    "probability": 0.75,
    "reference": _reference(),
    "mask_rule": {"num_features": 5, "positive_only": True},
    "runtime_weight": 0.1,
    "runtime_model": RUNTIME_MODEL.to_json(),
    "search_space": SMALL_SPACE.to_json(),
    "constraints": [],
    "objective": "agreement",
    "engine": "torch",
    "package_versions": {"lime": "0.2.0.1"},
}
_OLD_PLAN = {
    "catalog": "demo", "model": "two", "weights": None, "cam_layer": None, "trials": 3, "seeds": 10,
    "sampler": "ceiling", "answers": None, "warm_start": True, "seed": 0,
}  # fmt: skip
_FACTS = {**_OLD_FACTS, "cam_layer": "features", "sampler": "ceiling", "seeds": 10, "seed": 0}


def _differences(changes: dict[str, Any], stored: dict[str, Any] | None = None) -> list[str]:
    made = StudyIdentity.of(_FACTS if stored is None else stored)
    return made.differences(StudyIdentity.of({**_FACTS, **changes}))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"package_versions": {"lime": "9"}, "engine": "openvino", "runtime_model": "{}"},
        # The same mask from elsewhere; the same weights under another name.
        {"reference": _reference(rule="elsewhere/a.npy")},
        {"classifier": {**_CLASSIFIER, "name": "three"}},
        {"probability": 0.7512},  # another device's
        {"mask_rule": {"positive_only": True, "num_features": 5}},
        {"cam_layer": "features.2"},  # not looked at for a mask of one's own
        {"catalog": "the folder was moved"},
    ],
)
def test_what_may_change(changes: dict[str, Any]) -> None:
    assert _differences(changes) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"runtime_weight": 0.5}, "runtime_weight=0.1, not 0.5"),
        ({"sampler": "tpe"}, "sampler=ceiling, not tpe"),
        ({"seeds": 3}, "seeds=10, not 3"),
        ({"seed": 7}, "seed=0, not 7"),
        ({"objective": "faithful"}, "objective=agreement, not faithful"),
        ({"constraints": ["fidelity"]}, 'constraints=[], not ["fidelity"]'),
        ({"class_index": 2}, "class_index=1, not 2"),
        ({"probability": 0.2}, "probability=0.75, not 0.2"),
        ({"mask_rule": {"num_features": 9, "positive_only": True}}, "mask_rule num_features=5, "
         "not 9"),
        (
            {"search_space": SMALL_SPACE.fix(["num_samples=64"]).to_json()},
            "search_space num_samples=[16, 1000], not [64, 64]",
        ),
        (
            {"calibration": {"name": "monday", "runtime_sha256": "00"}},
            "the runtime model of this machine, not with calibration monday (00), so their "
            "seconds do not compare",
        ),
        (
            {"classifier": {"name": "two", "sha256": "d" * 64}},
            f"classifier=two (sha256 {'c' * 12}), not two (sha256 {'d' * 12})",
        ),
        # What follows from another photograph is not told beside it.
        ({"image_sha256": "b" * 64, "class_index": 2, "class_name": "dog", "probability": 0.1},
         "image_sha256=aaa"),
    ],
)  # fmt: skip
def test_what_must_not_change(changes: dict[str, Any], said: str) -> None:
    (line,) = _differences(changes)
    assert said in line


def test_a_mask_is_its_pixels_and_a_computed_one_its_rule() -> None:
    edited = _reference(rows=5)
    (line,) = _differences({"reference": edited})
    before = _FACTS["reference"]["sha256"]
    assert line == (
        f"reference=drawn/a.png (sha256 {before[:12]}), not drawn/a.png (sha256 "
        f"{edited['sha256'][:12]}), which has been changed"
    )
    computed = {**_FACTS, "reference": _reference(rule="gradcam@0.3")}
    assert _differences({"reference": _reference(5, "gradcam@0.3")}, computed) == []
    (line,) = _differences({"reference": _reference(5, "gradcam@0.5")}, computed)
    assert "gradcam@0.3" in line
    assert "gradcam@0.5" in line
    # Of another layer the same rule gives another mask.
    assert _differences(
        {"reference": _reference(5, "gradcam@0.3"), "cam_layer": "features.2"}, computed
    ) == ["cam_layer=features, not features.2"]


def test_the_layer_of_a_mask_that_is_kept_is_not_made_up() -> None:
    """Studies of before do not say it, or in their plan only."""
    old = {**_OLD_FACTS, "reference": _reference(rule="gradcam@0.3")}
    wanted = StudyIdentity.of({**old, "cam_layer": "features.2"})
    assert StudyIdentity.of(old).differences(wanted) == []
    assert "cam_layer" not in StudyIdentity.of(old).missing(wanted)
    planned = StudyIdentity.of({**old, PLAN: {**_OLD_PLAN, "cam_layer": "features"}})
    assert planned.differences(wanted) == ["cam_layer=features, not features.2"]
    assert planned.missing(wanted)["cam_layer"] == "features"


def test_images_of_a_catalogue_are_told_by_their_keys() -> None:
    made = {"scope": "catalog", "images": {"a": "1", "b": "2"}, "classifier": _CLASSIFIER,
            "reference": {"rule": "masks", "sha256": "x"}}  # fmt: skip
    wanted = {**made, "images": {"a": "1", "b": "3", "c": "4"},
              "reference": {"rule": "masks", "sha256": "y"}}  # fmt: skip
    found = StudyIdentity.of(made).differences(StudyIdentity.of(wanted))
    assert found == ["images b=2, not 3; without c"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [1.0, float("-inf")]}])
def test_nothing_is_made_from_no_number(value: Any) -> None:
    storage = optuna.storages.InMemoryStorage()
    with pytest.raises(InvalidInput, match="finite"):
        open_study("s", storage, {**_FACTS, "probability": value})
    assert storage.get_all_studies() == []


def test_a_study_of_before_goes_on_and_has_the_new_facts_then(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 's.db'}")
    for name, facts in (("cli", {**_OLD_FACTS, PLAN: _OLD_PLAN}), ("api", _OLD_FACTS)):
        study = optuna.create_study(study_name=name, storage=storage, direction="maximize")
        for fact, value in facts.items():
            study.set_user_attr(fact, value)
        study.add_trial(optuna.create_trial(value=0.5))
    # The plan says what the facts did not.
    with pytest.raises(InvalidInput, match="sampler=ceiling, not tpe"):
        open_study("cli", storage, {**_FACTS, "sampler": "tpe"})
    open_study("cli", storage, _FACTS)
    open_study("api", storage, {**_FACTS, "sampler": "tpe"})
    for name, sampler in (("cli", "ceiling"), ("api", "tpe")):
        study = optuna.load_study(study_name=name, storage=storage)
        assert study.user_attrs["sampler"] == sampler
        assert len(study.trials) == 1
        other = {**_FACTS, "sampler": "random"}
        with pytest.raises(InvalidInput, match=f"sampler={sampler}, not random"):
            open_study(name, storage, other)


@pytest.mark.parametrize(
    ("attributes", "directions", "trials", "said"),
    [
        ({}, ["maximize"], 3, "3 trials, and does not say what it was made from"),
        ({"owner": "somebody"}, ["maximize"], 3, "3 trials"),
        ({"owner": "somebody"}, ["maximize"], 0, "the attribute 'owner'"),
        ({}, ["minimize"], 0, "its objectives are to minimize"),
        ({}, ["maximize"] * 3, 0, "its objectives are to maximize, maximize, maximize"),
        ({}, ["maximize", "minimize"], 0, "with --pareto and cannot go on without"),
        ({**_FACTS, "probability": float("nan")}, ["maximize"], 1, "probability=NaN, not 0.75"),
        ({**_FACTS, "reference": 5}, ["maximize"], 1, "reference=5, not"),
        ({**_FACTS, "classifier": ["x"]}, ["maximize"], 1, 'classifier=["x"], not'),
        ({**_FACTS, "search_space": "{"}, ["maximize"], 1, "search_space={, not"),
        ({**_FACTS, "mask_rule": "\x1b[2J\n"}, ["maximize"], 1, "mask_rule=[2J, not"),
        ({**_FACTS, "calibration": 7}, ["maximize"], 1, "7, not with the runtime model of this"),
    ],
)  # fmt: skip
def test_what_is_not_ours_or_damaged_is_left_alone(
    attributes: dict[str, Any], directions: list[str], trials: int, said: str
) -> None:
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(study_name="s", storage=storage, directions=directions)
    for name, value in attributes.items():
        study.set_user_attr(name, value)
    for _ in range(trials):
        study.add_trial(optuna.create_trial(value=5.9))
    with pytest.raises(InvalidInput) as refused:
        open_study("s", storage, _FACTS)
    assert said in str(refused.value)
    assert str(refused.value).isprintable()
    assert "another name" in str(refused.value)
    assert json.dumps(study.user_attrs) == json.dumps(attributes)  # nan is nan


def test_an_attribute_that_is_no_json_is_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    storage = open_storage(url)
    open_study("s", storage, _FACTS)
    with storage.engine.begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE study_user_attributes SET value_json = '{\"a'"))
    with pytest.raises(InvalidInput, match="attribute of study 's' is damaged"):
        open_study("s", storage, _FACTS)
    with pytest.raises(InvalidInput, match="damaged"):
        read_studies(url, ["s"])


def test_an_empty_study_is_anybodys(tmp_path: Path) -> None:
    """Somebody made it in the dashboard, or was killed while it was made."""
    storage = open_storage(f"sqlite:///{tmp_path / 's.db'}")
    for name, attributes in (("new", {}), ("cut off", {"catalog": "demo", "image_key": "a"})):
        study = optuna.create_study(study_name=name, storage=storage, direction="maximize")
        for fact, value in attributes.items():
            study.set_user_attr(fact, value)
        calibrated = {"calibration": {"name": "x", "runtime_sha256": "0"}} if not attributes else {}
        assert open_study(name, storage, {**calibrated, **_FACTS}).user_attrs == {
            **calibrated, **_FACTS,
        }  # fmt: skip


def _raced(storages: list[ReconnectingStorage], name: str, ours: list[dict[str, Any]]) -> list[str]:
    """What calls that open a study at the same moment say, each with facts of its own."""
    ready, said = threading.Barrier(len(ours)), [""] * len(ours)

    def call(number: int) -> None:
        ready.wait()
        try:
            open_study(name, storages[number], ours[number])
        except LimeTunerError as error:
            said[number] = str(error)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(len(ours))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said


def test_of_two_that_make_a_study_at_the_same_moment_one_wins(any_database: str) -> None:
    storage, *others = (open_storage(any_database) for _ in range(3))
    first, second = _FACTS, {**_FACTS, "runtime_weight": 0.5, "sampler": "tpe"}
    for number in range(20 if any_database.startswith("sqlite") else 5):
        said = _raced(others, f"p/{number}", [first, second])
        refused = [line for line in said if line]
        assert len(refused) == 1, said
        assert "runtime_weight" in refused[0]
        assert "sampler" in refused[0]
        study = optuna.load_study(study_name=f"p/{number}", storage=storage)
        assert study.user_attrs == (second if said[0] else first)
    assert _raced(others, "alike", [first, first]) == ["", ""]
    # One of before, which lacks what they differ in.
    old = optuna.create_study(study_name="old", storage=storage, direction="maximize")
    for fact, value in _OLD_FACTS.items():
        old.set_user_attr(fact, value)
    said = _raced(others, "old", [_FACTS, {**_FACTS, "seeds": 3}])
    assert sum(map(bool, said)) == 1, said
    assert old.user_attrs["seeds"] == (3 if said[0] else 10)
    for each in (storage, *others):
        each.close()


class _Answers:
    """Answers about every image alike."""

    fingerprint = "x"

    def __init__(self, *answer: float) -> None:
        self.answer = answer

    def predict_proba(self, images: Any) -> Any:
        return np.tile(np.array(self.answer, dtype=np.float32), (len(images), 1))


def _task(reference: Reference, model: RuntimeModel, *answer: float) -> TuningTask:
    image = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    return TuningTask(image, _Answers(*answer), reference, PredictionCache(), model)


def test_a_study_keeps_its_computed_mask_and_its_prices() -> None:
    expensive = RUNTIME_MODEL.scaled(fixed=2, per_sample=2)
    first = _task(Reference(_mask(4), "gradcam@0.3"), RUNTIME_MODEL)
    facts = {"reference": first.reference.to_json(), "runtime_model": RUNTIME_MODEL.to_json()}
    study = open_study("s", None, facts)
    assert as_stored(first, study) is first
    resumed = as_stored(_task(Reference(_mask(5), "gradcam@0.3"), expensive), study)
    assert resumed.reference.mask.sum() == 32
    assert resumed.runtime_model == RUNTIME_MODEL
    assert resumed.view(None).inside.sum() == 32


@pytest.mark.parametrize(
    ("fact", "value"),
    [
        ("runtime_model", "{}"),
        ("runtime_model", 7),
        ("runtime_model", RUNTIME_MODEL.to_json().replace("0.003", "NaN")),
        ("reference", {"rule": "gradcam@0.3", "mask_png": "AAAA"}),
        ("reference", {**_reference(), "sha256": "0" * 64}),
    ],
)
def test_damaged_prices_and_masks_are_one_line(fact: str, value: Any) -> None:
    study = optuna.create_study()
    study.set_user_attr(fact, value)
    with pytest.raises(InvalidInput, match=f"the {fact} that is stored .* is damaged"):
        as_stored(_task(Reference(_mask(4), "masks"), RUNTIME_MODEL), study)


def test_a_network_that_answers_nan_makes_no_facts() -> None:
    from types import SimpleNamespace

    network: Any = SimpleNamespace(name="n", fingerprint="x", class_name=str, to_json=dict)
    reference = Reference(_mask(4), "masks")

    def facts(*answer: float) -> dict[str, Any]:
        return study_facts(
            _task(reference, RUNTIME_MODEL, *answer), network, TuningSettings(),
            catalog="c", key="a",
        )  # fmt: skip

    made = facts(0.25, 0.75)
    assert (made["class_index"], made["sampler"], made["seeds"], made["seed"]) == (
        1, "ceiling", 10, 0,
    )  # fmt: skip
    with pytest.raises(InvalidInput, match="answer about 'a' is not finite"):
        facts(float("nan"), 0.5)


def test_directions_are_optunas() -> None:
    storage = optuna.storages.InMemoryStorage()
    open_study("one", storage, _FACTS)
    open_study("two", storage, _FACTS, pareto=True)
    directions = [s.directions for s in optuna.get_all_study_summaries(storage)]
    assert directions == [
        [StudyDirection.MAXIMIZE], [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE],
    ]  # fmt: skip
    assert check_identity(storage, "three", StudyIdentity.of(_FACTS)) is None


@pytest.mark.parametrize("change", [{"trials": "many"}, {"seeds": True}, {"sampler": None}])
def test_a_damaged_plan_is_told(change: dict[str, Any]) -> None:
    old = {**_FACTS, PLAN: _OLD_PLAN}
    assert StudySpec.from_attributes("two/b", old) is not None
    with pytest.raises(InvalidInput, match=f"plan is damaged.*\\({next(iter(change))} is"):
        StudySpec.from_attributes("two/b", {**old, PLAN: {**_OLD_PLAN, **change}})


_CATALOG = "".join(
    f'[[image]]\nkey = "{key}"\nfile = "{key}.png"\nmask = "masks/{key}.png"\n' for key in "ab"
)


def _draw(path: Path, row: int) -> None:
    picture = np.zeros((128, 128), dtype=np.uint8)
    picture[row : row + 60, 40:90] = 255
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(picture).save(path)


def _everything(url: str) -> str:
    """All that a database says about studies, and how many trials they have."""
    with closing(open_storage(url)) as storage:
        return repr([
            (study.study_name, study.user_attrs, len(storage.get_all_trials(study._study_id)))
            for study in storage.get_all_studies()
        ])  # fmt: skip


def test_every_command_compares_before_it_writes(
    here: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "sqlite:///lime-tuner.db"
    Path("two.toml").write_text(_CATALOG)
    for name in ("a.png", "b.png"):
        _draw(Path(name), 10)
        _draw(Path("masks") / name, 20)
    tune = ["tune", "--catalog", "two.toml", *MODEL, "--engine", "torch", "--seeds", "1", *FEW_MAPS]
    only, own = ["--images", "b"], ["--reference", "masks"]
    cli.ok(*tune, *only, *own, "--trials", "1")
    with monkeypatch.context() as patched:  # prices that are stored are not measured again
        price = "tuner.cli.search.tune_specs.runtime_model_for"
        patched.setattr(price, lambda *_: pytest.fail("measured"))
        cli.ok(*tune, *only, *own, "--trials", "1")
        cli.ok(*tune, *only, "--reference", str(here / "masks"), "--trials", "1")
    before = _everything(url)

    # Done or not: and the first image, which has no study, gets none.
    for trials, option, value in (("1", "runtime-weight", "0.5"), ("2", "sampler", "tpe")):
        line = cli.refused(*tune, *own, "--trials", trials, f"--{option}", value)
        assert f"study 'two/b' was made with {option.replace('-', '_')}=" in line
    _draw(Path("masks/b.png"), 40)
    for reference in ("masks", str(here / "masks")):
        line = cli.refused(*tune, "--reference", reference, "--trials", "1")
        assert "study 'two/b' was made with reference=masks (sha256 " in line
    assert _everything(url) == before

    # A worker goes by the study's own mask, and refuses what does not fit together.
    with closing(open_storage(url)) as storage:
        study = optuna.load_study(study_name="two/b", storage=storage)
        plan = study.user_attrs[PLAN]
        study.set_user_attr(PLAN, {**plan, "trials": 2, "sampler": "tpe"})
        assert "sampler=ceiling, not tpe" in _worker_says(cli)
        study.set_user_attr(PLAN, {**plan, "trials": 2})
        for fact, value, said in (
            ("probability", 2.0, "probability=2.0, not "),
            ("reference", [], "the reference that is stored with study 'two/b' is damaged"),
            ("search_space", "[]", "is damaged"),
        ):
            kept = study.user_attrs[fact]
            study.set_user_attr(fact, value)
            assert said in _worker_says(cli)
            study.set_user_attr(fact, kept)
    assert cli.ok("worker", "--idle-exit", "0").strip() == "1 trials"


def _worker_says(cli: Cli) -> str:
    """What it tells, where it may do nothing."""
    code, out, err = cli("worker", "--idle-exit", "0")
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    return err
