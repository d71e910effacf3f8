"""Names with brackets and colons are shown as they are: they are text, not rich's markup."""

from __future__ import annotations

import io

import pytest

from tuner.cli.output import console, errors, progress, table, work_progress

NAMES = ("cat [final]", "[/red]x", ":cat:", "a[b]c[/b]", "[link=x]y", "\\[z]")


@pytest.mark.parametrize("name", NAMES)
def test_tables_and_lines_show_names(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = table(f"{name}: title", "image", "trials")
    shown.add_row(name, "3")
    console.print(shown)
    errors.print(f"{name} is left out")
    out, err = capsys.readouterr()
    assert f"{name}: title" in out
    assert f"│ {name} " in out
    assert err == f"{name} is left out\n"


@pytest.mark.parametrize("name", NAMES)
def test_progress_shows_names(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    on_terminal = type(errors)(file=written, force_terminal=True, markup=False, emoji=False)
    monkeypatch.setattr(progress, "errors", on_terminal)
    with work_progress("reference") as advance:
        advance(name, 1, 2)
    assert f"reference: {name}" in written.getvalue()
