"""The tree of exceptions is drawn as it is."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

from explainers import errors
from explainers.errors import InvalidInput, LimeTunerError

_ROOT = Path(__file__).resolve().parents[1]
_LINE = re.compile(r"^([│├└─ ]*)([A-Z]\w+)(?:$| {2,})", re.MULTILINE)


def _drawn(tree: str) -> dict[str, str]:
    """Parent of each exception but the first, by name."""
    parents, path = {}, [""]
    for indentation, name in _LINE.findall(tree):
        depth = len(indentation) // 4
        path[depth:] = [name]
        if depth:
            parents[name] = path[depth - 1]
    return parents


def _below(base: type[Exception]) -> dict[str, type[Exception]]:
    """All public exceptions below one, of our packages."""
    found = {}
    for each in base.__subclasses__():
        if not each.__name__.startswith("_") and not each.__module__.startswith("tests"):
            found[each.__name__] = each
        found |= _below(each)
    return found


def test_the_tree_is_drawn_as_it_is() -> None:
    for package in ("explainers", "studies", "tuner", "dissection"):
        for path in (_ROOT / package).rglob("*.py"):
            if re.search(
                r"^class \w+\((LimeTunerError|InvalidInput)\)", path.read_text("utf-8"), re.M
            ):
                import_module(".".join(path.relative_to(_ROOT).with_suffix("").parts))
    known = _below(LimeTunerError)
    own, _, elsewhere = (errors.__doc__ or "").partition("Further ones")
    assert _drawn(own).keys() | {"LimeTunerError"} == set(errors.__all__)
    assert {name: each.__base__.__name__ for name, each in known.items() if each.__base__} == {
        **_drawn(own),
        **{name: parent for name, parent in _drawn(elsewhere).items() if name != "InvalidInput"},
    }


def test_what_was_asked_wrongly_has_another_exit_status() -> None:
    for name in errors.__all__:
        kind = getattr(errors, name)
        assert kind.exit_status == (2 if issubclass(kind, InvalidInput) else 1)
