"""Sorting, paging and facets on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from commandline import Run


def ids(cli: Run, *arguments: object) -> list[str]:
    return [hit["id"] for hit in cli(*arguments).lines]


def test_browse_sorts_filters_and_passes_over(cli: Run, notes: Path) -> None:
    assert ids(cli, "browse", notes) == ["note-1", "note-2", "note-3", "note-4"]
    newest = ["note-3", "note-1", "note-4", "note-2"]
    assert ids(cli, "browse", notes, "--sort=-year") == newest
    assert ids(cli, "browse", notes, "--sort", "-year", "--offset", 1, "-k", 2) == newest[1:3]
    assert ids(cli, "browse", notes, "--where", "lang = 'en'", "--sort", "title") == [
        "note-2", "note-1", "note-4",
    ]  # fmt: skip
    [hit] = cli("browse", notes, "-k", 1, "--offset", 2).lines
    assert (hit["rank"], hit["title"], hit["score"]) == (3, "Marées", 0.0)
    assert hit["snippet"].startswith("The moon pulls the sea")
    nothing = cli("browse", notes, "--where", "yaer > 1")
    assert (nothing.lines, "did you mean 'year'?" in nothing.error) == ([], True)
    assert "Marées" in cli("browse", notes, "--format", "table").out


def test_search_sorts_what_the_query_matches(cli: Run, notes: Path) -> None:
    matching = ids(cli, "search", notes, "water sunlight", "-r", "bm25")
    assert sorted(matching) == ["note-1", "note-3", "note-4"]
    assert ids(cli, "search", notes, "water sunlight", "--sort=-year") == [
        "note-3", "note-1", "note-4",
    ]  # fmt: skip
    hit = cli("search", notes, "water sunlight", "--sort", "year", "-k", 1, "--offset", 2).lines[0]
    assert (hit["rank"], hit["id"], hit["score"] > 0) == (3, "note-3", True)


def test_pages_add_up_to_the_ranking(cli: Run, notes: Path) -> None:
    whole = cli("search", notes, "water sunlight leaves dough").lines
    pages = [
        cli("search", notes, "water sunlight leaves dough", "-k", 1, "--offset", n).lines
        for n in range(len(whole) + 1)
    ]
    assert [hit for page in pages for hit in page] == whole


@pytest.mark.parametrize(
    "asked",
    [
        ("browse", "--sort=-year"),
        ("search", "water sunlight leaves dough"),
        ("search", "water sunlight", "--sort=year", "--where", "year > 1"),
    ],
)
def test_a_cursor_goes_through_one_commit(cli: Run, notes: Path, asked: tuple[str, ...]) -> None:
    command = (asked[0], notes, *asked[1:])
    found, cursor = [], "start"
    while cursor is not None:
        *hits, end = cli(*command, "-k", 1, "--cursor", cursor).lines
        found += hits
        cursor = end["cursor"]
    assert found == cli(*command).lines
    shown = cli(*command, "-k", 1, "--cursor", "start", "--format", "table")
    assert "next page: --cursor " in shown.error
    assert "no more results" in cli(*command, "--cursor", "start", "--format", "table").error


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("browse", "--offset", "1"), "--cursor goes without --offset"),
        (("search", "water", "--explain"), "--cursor goes without --explain"),
        (("search",), "--cursor goes without a prompt or stdin"),
        (("browse", "--cursor", "nonsense"), "'nonsense' is no cursor"),
    ],
)
def test_cursors_that_cannot_be(cli: Run, notes: Path, asked: tuple[str, ...], said: str) -> None:
    refused = cli(asked[0], notes, "--cursor", "start", *asked[1:])
    assert refused.code == 1
    assert said in refused.error


def test_facets(cli: Run, notes: Path) -> None:
    assert cli("facets", notes, "lang", "tags", "--top", 2).lines == [
        {"field": "lang", "value": "en", "documents": 3},
        {"field": "lang", "value": "fr", "documents": 1},
        {"field": "tags", "value": "biology", "documents": 2},
        {"field": "tags", "value": "kitchen", "documents": 1},
    ]
    assert cli("facets", notes, "year", "--where", "lang = 'fr'").lines == [
        {"field": "year", "value": 2010, "documents": 1}
    ]
    assert "biology" in cli("facets", notes, "tags", "--format", "table").out
    absent = cli("facets", notes, "yeer", "lang")
    assert [line["field"] for line in absent.lines] == ["lang", "lang"]
    assert "did you mean 'year'?" in absent.error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("browse", "-k", "0"), "illegal k: 0"),
        (("browse", "--offset", "-1"), "illegal offset: -1"),
        (("browse", "--sort", "a b"), "expected the end of the field's name"),
        (("browse", "--where", "year"), "filter: "),
        (("facets", "a = 1"), "expected the end of the field's name"),
        (("facets", "year", "--top", "0"), "illegal k: 0"),
        (("search", "x", "--offset", "-1"), "illegal offset: -1"),
        (("search", "x", "--sort", "year", "--passages"), "not passages"),
    ],
)
def test_bad_questions(cli: Run, notes: Path, arguments: tuple[str, ...], message: str) -> None:
    done = cli(arguments[0], notes, *arguments[1:])
    assert (done.code, done.out) == (1, "")
    assert message in done.error


def test_stars_of_a_text_are_no_marks(cli: Run, notes: Path) -> None:
    cli("add", notes, "-", stdin='{"id": "s", "text": "a **bold** word, 2*3"}')
    [hit] = cli("browse", notes, "--where", 'id = "s"').lines
    assert hit["snippet"] == "a \u2217\u2217bold\u2217\u2217 word, 2*3"


@pytest.mark.parametrize(
    "asked",
    [
        ("browse",),
        ("browse", "--cursor", "start"),
        ("search", "water", "-r", "bm25"),
        ("search", "-", "-r", "bm25"),
    ],
)
def test_a_field_that_nothing_is_sorted_by(cli: Run, notes: Path, asked: tuple[str, ...]) -> None:
    command = (asked[0], notes, *asked[1:], "--sort")
    mistyped = cli(*command, "-yaer", stdin="water\nsea\n")
    assert mistyped.code == 0
    assert mistyped.lines
    assert mistyped.error == "searchlib: no document has the field 'yaer'; did you mean 'year'?"
    for right in ("-year", "id", "title"):
        assert cli(*command, right, stdin="water\n").err == ""
