"""Commands that change metadata or delete by filter: what they do, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from commandline import NOTES, Run


def notes_by_id(cli: Run, index: Path) -> dict[str, Any]:
    hits = cli("search", index, "water sunlight leaves dough moon", "-k", 99).lines
    return {hit["id"]: hit["metadata"] for hit in hits}


def test_set_and_unset(cli: Run, notes: Path) -> None:
    done = cli("update", notes, "note-1", "note-2", "--set", "year=2020", "--set", "by.name=Ann",
               "--set", "code=007", "--set", 'tags=["new", 1]', "--unset", "lang")  # fmt: skip
    assert done.lines == [{"updated": 2, "unchanged": 0}]
    expected = {"year": 2020, "tags": ["new", 1], "by": {"name": "Ann"}, "code": "007"}
    found = notes_by_id(cli, notes)
    assert found["note-1"] == found["note-2"] == expected
    assert found["note-3"]["lang"] == "fr"
    again = cli("update", notes, "-", "--set", "year=2020", stdin="note-1\nnote-3\n")
    assert again.lines == [{"updated": 1, "unchanged": 1}]
    assert cli("verify", notes).lines == []


def test_what_is_not_there_is_not_removed(cli: Run, notes: Path) -> None:
    """Nor are objects made for it; where another key is set, they are."""
    before = notes_by_id(cli, notes)
    vain = cli("update", notes, *before, "--unset", "by.name", "--unset", "year.x", "--unset", "z")
    assert vain.lines == [{"updated": 0, "unchanged": len(before)}]
    assert notes_by_id(cli, notes) == before
    assert cli("browse", notes, "--where", "exists by").lines == []
    one = ("update", notes, "note-1")
    cli(*one, "--set", "by.city=Bonn", "--set", "in={}", "--unset", "by.name")
    cli(*one, "--unset", "by.city", "--unset", "by.x.y")
    assert notes_by_id(cli, notes)["note-1"] == before["note-1"] | {"by": {}, "in": {}}


def test_many_documents_are_updated_some_at_a_time(
    cli: Run, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("searchlib.cli.update.AT_ONCE", 2)
    ids = list(notes_by_id(cli, notes))
    assert cli("update", notes, *ids, "--unset", "lang").lines[0]["updated"] == len(ids)


def test_an_id_that_is_no_unicode_is_not_there(cli: Run, notes: Path) -> None:
    done = cli("update", notes, "caf\udce9", "note-1", "--set", "a=1")
    assert (done.code, done.lines) == (1, [{"updated": 1, "unchanged": 0}])
    assert r"'caf\udce9'; the others are updated" in done.error


def test_update_by_filter(cli: Run, notes: Path) -> None:
    done = cli("update", notes, "--where", "year < 2002", "--set", "old=true", "--format", "table")
    assert done.out == "2 updated, 0 unchanged\n"
    hits = cli("search", notes, "water dough", "--where", "old = true").lines
    assert {hit["id"] for hit in hits} == {"note-2", "note-4"}


def test_update_from_json_lines(cli: Run, notes: Path) -> None:
    Path("changes.jsonl").write_text(
        '{"id": "note-1", "year": 1, "tags": null}\n\n{"_id": "note-2", "metadata": {"x": 2}}\n'
    )
    assert cli("update", notes, "--from", "changes.jsonl").lines == [{"updated": 2, "unchanged": 0}]
    found = notes_by_id(cli, notes)
    assert found["note-1"] == {"year": 1, "lang": "en"}
    assert found["note-2"] == {"year": 1999, "lang": "en", "tags": ["kitchen"], "x": 2}
    line = '{"id": "note-1", "n": null}\n{"id": "note-2"}'
    assert cli("update", notes, "--from", "-", "--replace", stdin=line).code == 0
    found = notes_by_id(cli, notes)
    assert (found["note-1"], found["note-2"]) == ({"n": None}, {})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{nonsense", "not JSON"),
        ("[1]", "not a JSON object"),
        ('{"year": 1}', "no id"),
        ('{"id": "", "year": 1}', "the id is ''"),
        ('{"id": [], "year": 1}', "the id is []"),
        ('{"id": "note-1", "text": "x"}', "'text' is no metadata"),
        ('{"id": "note-1", "title": "x"}', "'title' is no metadata"),
        ('{"id": "note-1", "x": NaN}', "not JSON"),
    ],
)
def test_a_bad_line_changes_nothing(cli: Run, notes: Path, line: str, reason: str) -> None:
    Path("changes.jsonl").write_text('{"id": "note-1", "year": 1}\n' + line + "\n")
    done = cli("update", notes, "--from", "changes.jsonl")
    assert (done.code, done.out) == (1, "")
    assert "changes.jsonl:2: " in done.error
    assert reason in done.error
    assert notes_by_id(cli, notes)["note-1"]["year"] == 2003


def test_ids_that_are_not_there_are_told(cli: Run, notes: Path) -> None:
    done = cli("update", notes, "note-1", "absent", "--set", "year=1")
    assert (done.code, done.lines) == (1, [{"updated": 1, "unchanged": 0}])
    assert "1 ids not in" in done.error
    assert "'absent'" in done.error
    assert cli("update", notes, "--from", "absent.jsonl").code == 1
    assert "character 5" in cli("update", notes, "--where", "year", "--set", "a=1").error


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("note-1",),
        ("--set", "a=1"),
        ("note-1", "--set", "a"),
        ("note-1", "--set", "=1"),
        ("note-1", "--set", "a..b=1"),
        ("note-1", "--set", "a=1", "--set", "a.b=1"),
        ("note-1", "--set", "title=x"),
        ("note-1", "--set", "a=1", "--where", "a = 1"),
        ("note-1", "--set", "a=1", "--replace"),
        ("--from", "x.jsonl", "--set", "a=1"),
    ],
)
def test_update_used_wrongly(cli: Run, notes: Path, arguments: tuple[str, ...]) -> None:
    done = cli("update", notes, *arguments)
    assert (done.code, done.out) == (2, "")
    assert "Error:" in done.err


def test_delete_by_filter(cli: Run, notes: Path) -> None:
    where = ("--where", "year < 2002")
    assert cli("delete", notes, *where, "--dry-run").lines == [{"would_delete": 2}]
    assert cli("delete", notes, "note-1", "--dry-run", "--format", "table").out == (
        "1 would be deleted\n"
    )
    assert cli("info", notes).lines[0]["documents"] == len(NOTES)
    assert cli("delete", notes, *where).lines == [{"deleted": 2}]
    none = cli("delete", notes, "--where", "yaer = 1")
    assert none.lines == [{"deleted": 0}]
    assert "did you mean 'year'?" in none.error
    assert set(notes_by_id(cli, notes)) == {"note-1", "note-3"}


def test_who_is_not_there_is_said_and_what_became_of_the_others(cli: Run, notes: Path) -> None:
    assert cli("update", notes, "x", "--set", "a=1").error.endswith("'x'; nothing updated")
    some = cli("update", notes, "x", "note-1", "--set", "a=1").error
    assert some.endswith("'x'; the others are updated")


def test_keys_in_back_quotes_are_those_of_filters(cli: Run, notes: Path) -> None:
    assert cli("update", notes, "note-1", "--set", "`my key`.`a.b`=3").lines[0]["updated"] == 1
    [hit] = cli("browse", notes, "--where", "`my key`.`a.b` = 3").lines
    assert hit["metadata"]["my key"] == {"a.b": 3}
    assert cli("update", notes, "note-1", "--unset", "`my key`").lines[0]["updated"] == 1
    for wrong in ("`open=1", "a.`=1", "`a`b=1"):
        assert cli("update", notes, "note-1", "--set", wrong).code == 2


def test_two_filters_change_and_delete_what_both_select(cli: Run, notes: Path) -> None:
    both = ("--where", "year >= 2000", "--where", "year < 2010")
    assert cli("update", notes, *both, "--set", "seen=true").lines[0]["updated"] == 2
    seen = {id for id, metadata in notes_by_id(cli, notes).items() if "seen" in metadata}
    assert seen == {"note-1", "note-4"}
    assert cli("delete", notes, *both).lines == [{"deleted": 2}]
    assert set(notes_by_id(cli, notes)) == {"note-2", "note-3"}


@pytest.mark.parametrize("arguments", [(), ("note-1", "--where", "year = 1"), ("--dry-run",)])
def test_delete_wants_to_know_what(cli: Run, notes: Path, arguments: tuple[str, ...]) -> None:
    done = cli("delete", notes, *arguments)
    assert (done.code, done.out) == (2, "")
    assert "--where" in done.err


@pytest.mark.parametrize("where", ["", " ", "year", "year < "])
def test_delete_with_a_bad_filter_deletes_nothing(cli: Run, notes: Path, where: str) -> None:
    assert "filter: " in cli("delete", notes, "--where", where).error
    assert cli("info", notes).lines[0]["documents"] == len(NOTES)
