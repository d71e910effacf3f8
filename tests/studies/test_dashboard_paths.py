"""Attributes that name rows, taken from one database to another."""

from __future__ import annotations

from studies.copying.dashboard_paths import RowNumbers, renumbered

ONE, TWO = "6b1e3d0c-1111-4222-8333-abcdefabcdef", "00000000-1111-4222-8333-abcdefabcdef"


def test_notes_show_their_pictures_in_another_database() -> None:
    here = RowNumbers(3, {0: 70, 1: 71}, {ONE: None, TWO: 1})
    there = RowNumbers(8, {0: 5, 1: 9}, here.owners)
    note = f"{'x' * 2030}![a](/artifacts/3/{ONE}) ![b](/artifacts/3/71/{TWO}) /artifacts/1/2"
    attributes = {
        "dashboard:note_ver": 4,
        **{f"dashboard:note_str:{n}": note[n * 2045 : (n + 1) * 2045] for n in range(2)},
        "dashboard:note_str:2": "",
        "dashboard:71:note_ver": 1,
        "dashboard:71:note_str:0": "of trial 1",
        "dashboard:99:note_str:0": "of nobody",
        "pictures": {"a": f"/artifacts/3/{ONE}"},
    }
    found = renumbered(attributes, here, there)
    whole = found["dashboard:note_str:0"] + found["dashboard:note_str:1"]
    assert whole == note.replace("/artifacts/3/71/", "/artifacts/8/9/").replace("ts/3/", "ts/8/")
    assert found["dashboard:9:note_ver"] == 1
    assert found["dashboard:9:note_str:0"] == "of trial 1"
    assert found["pictures"] == {"a": f"/artifacts/8/{ONE}"}
    assert len(found) == 6
    del attributes["dashboard:note_str:2"], attributes["dashboard:99:note_str:0"]
    assert renumbered(found, there, here) == attributes
