"""Filters: what they parse, what they select (against a model in Python), how they refuse."""

from __future__ import annotations

import json
import re
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from index_cases import write_store

from indexes import filters
from indexes.arrays import write_arrays
from indexes.column_file import column_arrays
from indexes.documents import Documents, write_changes
from indexes.errors import BadFilter
from indexes.filter_sql import to_sql
from indexes.filters import (
    All,
    Any_,
    Exists,
    Filter,
    Match,
    Not,
    Order,
    Prefix,
    parse_filter,
)
from indexes.metadata import metadata_json
from indexes.moments import with_moments
from indexes.types import Record


def selects(
    filter: Filter | str, metadata: dict[str, Any], id: str = "i", title: str = "t"
) -> bool:
    """What SQLite says of one document."""
    sql, bound = to_sql(parse_filter(filter) if isinstance(filter, str) else filter)
    connection = with_moments(sqlite3.connect(":memory:"))
    connection.execute("CREATE TABLE documents (id, title, metadata)")
    text = json.dumps(metadata, ensure_ascii=False)
    connection.execute("INSERT INTO documents VALUES (?, ?, ?)", (id, title, text))
    [(found,)] = connection.execute(f"SELECT count(*) FROM documents WHERE {sql}", bound)
    connection.close()
    return bool(found)


# --- parsing


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("year >= 2001", Order(("year",), ">=", 2001)),
        ("year>=-2.5e3", Order(("year",), ">=", -2500.0)),
        ("a.b-c = 'x'", Match(("a", "b-c"), ("x",))),
        ("a == TRUE", Match(("a",), (True,))),
        ("a != null", Not(Match(("a",), (None,)))),
        ("lang in (\"en\", 'fr', 3)", Match(("lang",), ("en", "fr", 3))),
        ("lang NOT IN (1)", Not(Match(("lang",), (1,)))),
        ("exists a", Exists(("a",))),
        ('a ^= "ab"', Prefix(("a",), "ab")),
        ("a like 'ab*'", Prefix(("a",), "ab")),
        (r'a = "say \"hi\" \\ \n"', Match(("a",), ('say "hi" \\ \n',))),
        (r'a = "caf\u00e9 \ud83d\ude00\/\t\\u"', Match(("a",), ("café 😀/\t\\u",))),
        ('a = "two\nlines"', Match(("a",), ("two\nlines",))),
        (r"a = 'it\'s \\n'", Match(("a",), ("it's \\n",))),
        (r'a like "\u002a\\*"', Prefix(("a",), "*\\")),
        ("`odd name`.x = 1", Match(("odd name", "x"), (1,))),
        ("`and` = 1", Match(("and",), (1,))),
        ("größe = 1", Match(("größe",), (1,))),
        ("a >= 2024-05-01", Order(("a",), ">=", "2024-05-01")),
        ("a<2024-05-01T10:30:00.5+02:00", Order(("a",), "<", "2024-05-01T10:30:00.5+02:00")),
        ("a in (2024-05-01T10:30Z, 2024-06)", Match(("a",), ("2024-05-01T10:30Z", "2024-06"))),
        ("a ^= 2024-05", Prefix(("a",), "2024-05")),
        ("tags.0 = 1", Match(("tags", "0"), (1,))),
        (
            "a=1 or b=2 and not (c=3 or d=4)",
            Any_(
                (
                    Match(("a",), (1,)),
                    All(
                        (Match(("b",), (2,)), Not(Any_((Match(("c",), (3,)), Match(("d",), (4,))))))
                    ),
                )
            ),
        ),
    ],
)
def test_parses(text: str, tree: Filter) -> None:
    assert parse_filter(text) == tree


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("", 1, "expected a field's name"),
        ("year", 5, "expected a comparison"),
        ("full name = 1", 6, "in like; a name with spaces or signs stands in `back quotes`"),
        ('"full name" = 1', 1, "such as year; a name with spaces or signs stands in `back quotes`"),
        ("year >=", 8, "expected a number or a quoted text after '>='"),
        ("year >= and", 9, "expected a number or a quoted text"),
        ("lang = en", 8, 'a text stands in quotes: "en"'),
        ("lang = 'en", 8, "this quote is never closed"),
        ("a = 1 b = 2", 7, "expected 'and', 'or' or the end"),
        ("(a = 1", 7, "expected ')'"),
        ("a in ()", 7, "expected a value"),
        ("a in (1 2)", 9, "expected ')'"),
        ("a not 1", 7, "expected 'in'"),
        ("a = 1; drop", 6, "unexpected character"),
        ("a = 12ab", 5, "unexpected character"),
        ("a = 2024-05-01-02", 9, "expected 'and', 'or' or the end"),
        ("a > 2024-05-01T9", 9, "expected 'and', 'or' or the end"),
        ("a > 2024-02-30T09:00Z", 5, "no such day or time; write 2024-05-01T10:30Z"),
        ("a in (2024-05-01T09:00+25:00)", 7, "no such day or time"),
        ("a like 'b'", 8, "ends with *"),
        ("a like 'b*c*'", 8, "ends with *"),
        ("a ^= 3", 6, "expected a quoted text"),
        ("a < true", 5, "expected a number"),
        (r'a = "caf\xe9"', 5, "a backslash before 'x' is no escape"),
        (r'a = "it\'s"', 5, "is no escape"),
        (r'a in ("a\\b", "a\u12")', 15, "a backslash before 'u' is no escape"),
        ('a ^= "\\\n"', 6, r"a backslash before '\n' is no escape"),
        (r"a = 'a\n'", 5, r"no escape; there are \' and \\ (more within double quotes)"),
        ('`a"b` = 1', 1, "quotes"),
        ("3 = a", 1, "expected a field's name"),
        ("not " * 200 + "a = 1", 205, "nested too deeply"),
        ("(" * 100_000, 52, "nested too deeply"),
    ],
)
def test_errors_point_at_the_place(text: str, place: int, problem: str) -> None:
    with pytest.raises(BadFilter) as caught:
        parse_filter(text)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 200
    said, _, shown = message.partition(f", at character {place}: ")
    assert said.startswith("filter: ")
    assert problem in said
    before, _, after = shown.rpartition("⟨here⟩")
    assert text[: place - 1].endswith(before)
    assert after[:1] == text[place - 1 : place]


@pytest.mark.parametrize("part", ["1", "exists a"])
def test_too_long(part: str) -> None:
    parts = [part] * (filters.MAX_BOUND + 1)
    many = f"a in ({', '.join(parts)})" if part == "1" else " or ".join(parts)
    with pytest.raises(BadFilter, match="too long, more than 10000 fields and values"):
        parse_filter(many)


@given(st.text())
def test_json_dumps_is_always_right(value: str) -> None:
    whole = json.dumps(value, ensure_ascii=False)
    single = "'" + value.replace("\\", r"\\").replace("'", r"\'") + "'"
    for written in (json.dumps(value), whole, single):
        assert parse_filter(f"a = {written}") == Match(("a",), (value,))


@given(st.text(max_size=30))
@example("a = \ud800")
def test_any_text_is_a_filter_or_an_error(text: str) -> None:
    try:
        sql, bound = to_sql(parse_filter(text))
    except BadFilter:
        return
    assert max(map(int, re.findall(r"\?(\d+)", sql)), default=0) == len(bound)


# --- meaning

DOCUMENT = {
    "year": 2001,
    "price": 2.5,
    "lang": "en",
    "tags": ["red", "Blue", 7],
    "csv": "2001",
    "code": "007",
    "published": "2024-05-01",
    "seen": ["2024-05-01T10:30:00Z", "2024-06-02T00:00:00Z"],
    "draft": False,
    "nothing": None,
    "author": {"name": "Ann", "born": [1950, 1951]},
    "a.b": 1,
    "": "empty",
    "größe": "groß",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("year = 2001", True),
        ("year = 2001.0", True),
        ("year = '2001'", False),
        ("csv = 2001 and csv >= 2000 and csv < 2002", True),
        ("csv in (1, 2001)", True),
        ("code = 7", False),
        ("lang > 5", False),
        ("lang > 'de' and lang < 'fr'", True),
        ("lang = 'EN'", False),
        ("tags = 'red'", True),
        ("tags = 'blue'", False),
        ("tags = 7 and tags ^= 'Bl'", True),
        ("tags != 'red'", False),
        ("tags not in ('x', 'y')", True),
        ("published >= 2024-05-01 and published < 2024-05-02", True),
        ("published = 2024-05-01 and published ^= 2024-05", True),
        ("published > 2024-05 and published < 2024-06", True),
        ("published = 2024", False),
        ("seen >= 2024-06-02 and seen < 2024-06-03", True),
        ("seen > 2024-06-02T00:00:00Z", False),
        ("seen = 2024-05-01T10:30:00Z", True),
        ("seen = 2024-05-01", False),
        ("seen <= 2024-05-01", False),  # a day ends where the next one begins
        ("seen < 2024-05-02", True),
        ("seen = 2024-05-01T12:30:00+02:00", True),  # the same moment, another text
        ("seen = '2024-05-01 12:30+02'", True),
        ("seen ^= '2024-05-01T12'", False),  # a prefix is of the text as it is
        ("seen > 2024-06-01T23:59:59.9+00:30", True),
        ("seen = 2024-06-02", True),  # a day is its first moment
        ("seen > 2024-06-02", False),
        ("draft = false", True),
        ("draft = 0", False),
        ("year = true", False),
        ("nothing = null and absent = null", True),
        ("exists nothing or exists absent", False),
        ("exists author.name", True),
        ("exists tags", True),
        ("author = 'Ann'", False),
        ("author.name = 'Ann'", True),
        ("author.born < 1951", True),
        ("author.born.x = 1", False),
        ("absent != 3", True),
        ("absent < 3 or absent >= 3", False),
        ("not absent = 3", True),
        ("absent in (null, 3)", True),
        ("lang in (null, 3)", False),
        ("`a.b` = 1", True),
        ("a.b = 1", False),
        ("größe = 'groß'", True),
        ("id = 'x/☃' and title ^= 'The '", True),
        ("id in ('a', 'x/☃')", True),
        ("title > 'S' and title != 'T'", True),
        ("title = 5 or not title < 5 and id = null", False),
        ("exists id and exists title", True),
        ("author.name ^= ''", True),
        ('lang = "en\' OR 1=1 --"', False),
    ],
)
def test_selects(text: str, expected: bool) -> None:
    assert selects(text, DOCUMENT, "x/☃", "The title") is expected


def test_a_long_filter_is_no_deep_one() -> None:
    assert selects(" or ".join(f"year = {n}" for n in range(1500)), {"year": 1499})
    assert not selects(" and ".join(f"year != {n}" for n in range(1500)), {"year": 1499})


SCALAR = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3),
    st.sampled_from([0.5, -1.0, 1e300, 2**53 + 1, -(2**63)]),
    st.sampled_from(["", "a", "ab", "b", "1", "-2", "0.5", "01", "é", "🐟", "%", "a*", "1.0", "1e5",
                     "-0", "9" * 19, "2024-05", "2024-05-01", "2024-05-01T10:00:00Z",
                     "2024-05-01T01:30+02:00", "2024-05-01 02:00:00.50+02", "2024-05-01T25:00Z"]),
)  # fmt: skip
STORED = SCALAR | st.just(2**70)
METADATA = st.dictionaries(
    st.sampled_from(["x", "y", "k k"]),
    st.one_of(STORED, st.lists(STORED, max_size=3), st.dictionaries(st.just("y"), STORED)),
    max_size=3,
)
FIELD = st.sampled_from([("x",), ("y",), ("x", "y"), ("k k",), ("id",)])
COMPARED = st.one_of(
    st.integers(-3, 3),
    st.sampled_from(
        [
            0.5,
            2**53 + 1,
            2.0**53,
            "",
            "a",
            "ab",
            "b",
            "1",
            "é",
            "🐟",
            "%",
            "2024-05",
            "2024-05-01",
            "2024-05-01T00:00:00.5Z",
            "2024-05-01T12:00+02:00",
        ]
    ),
)
TEST = st.one_of(
    st.builds(Match, FIELD, st.lists(SCALAR, min_size=1, max_size=3).map(tuple)),
    st.builds(Order, FIELD, st.sampled_from(["<", "<=", ">", ">="]), COMPARED),
    st.builds(Prefix, FIELD, st.sampled_from(["", "a", "ab", "🐟", "%"])),
    st.builds(Exists, FIELD),
)
TREE = st.recursive(
    TEST,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(All, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Any_, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=5,
)


def holds(filter: Filter, metadata: dict[str, Any], id: str = "1") -> bool:
    """The same in plain Python: the meaning, said a second time."""
    if isinstance(filter, Not):
        return not holds(filter.part, metadata, id)
    if isinstance(filter, All):
        return all(holds(part, metadata, id) for part in filter.parts)
    if isinstance(filter, Any_):
        return any(holds(part, metadata, id) for part in filter.parts)
    value: Any = {**metadata, "id": id}
    for name in filter.field:
        value = value.get(name) if isinstance(value, dict) else None
    if isinstance(filter, Exists):
        return value is not None
    members = [] if isinstance(value, dict) else value if isinstance(value, list) else [value]
    if isinstance(filter, Prefix):
        return any(isinstance(m, str) and m.startswith(filter.text) for m in members)
    if isinstance(filter, Order):
        return any(in_order(m, filter.operator, filter.value, filter.field) for m in members)
    return any(
        value is None if wanted is None else any(same(m, wanted, filter.field) for m in members)
        for wanted in filter.values
    )


def number(value: object) -> int | float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    spelt = {**{str(n): n for n in range(10)}, "-2": -2, "0.5": 0.5}
    return spelt.get(value) if isinstance(value, str) else None


def same(member: object, wanted: object, field: Any) -> bool:
    if isinstance(wanted, bool | str):
        if isinstance(wanted, str) and isinstance(member, str) and field != ("id",):
            return MOMENTS.get(member, member) == MOMENTS.get(wanted, wanted)
        return type(member) is type(wanted) and member == wanted
    return number(member) is not None and number(member) == wanted


MOMENTS = {  # of all texts here that name one, said by hand
    "2024-05-01T10:00:00Z": "2024-05-01T10:00",
    "2024-05-01T01:30+02:00": "2024-04-30T23:30",
    "2024-05-01 02:00:00.50+02": "2024-05-01T00:00:00.5",
    "2024-05-01T00:00:00.5Z": "2024-05-01T00:00:00.5",
    "2024-05-01T12:00+02:00": "2024-05-01T10:00",
    "2024-05-01T00:00Z": "2024-05-01",
}


def in_order(member: object, operator: str, value: Any, field: Any = ("x",)) -> bool:
    left: Any = member if isinstance(value, str) else number(member)
    if field != ("id",):
        left, value = MOMENTS.get(left, left), MOMENTS.get(value, value)
    if left is None or isinstance(left, str) is not isinstance(value, str):
        return False
    return {"<": left < value, "<=": left <= value, ">": left > value, ">=": left >= value}[
        operator
    ]


@settings(max_examples=300, deadline=None)
@given(TREE, METADATA)
def test_selects_what_it_means(filter: Filter, metadata: dict[str, Any]) -> None:
    assert selects(filter, metadata, id="1") is holds(filter, metadata)


@settings(max_examples=300, deadline=None)
@given(st.lists(TREE, min_size=1, max_size=3), st.lists(METADATA, max_size=6), st.data())
def test_columns_select_what_sql_does(
    filters: list[Filter], many: list[dict[str, Any]], data: st.DataObject
) -> None:
    """Over a store some of whose metadata changed since it was written."""
    later = [data.draw(st.none() | METADATA) for _ in many]
    with tempfile.TemporaryDirectory() as folder:
        store, changes = Path(folder, "store"), Path(folder, "changes")
        write_store(store, [Record(str(n), "t", "", metadata) for n, metadata in enumerate(many)])
        changed = {n: (metadata_json(m), b"") for n, m in enumerate(later) if m is not None}
        first = Documents(store, len(many))
        write_changes(changes, first, changed)
        columns = Path(folder, "columns")
        with open(columns, "wb") as file:
            write_arrays(file, column_arrays(first.columns.all()))
        now = [old if new is None else new for old, new in zip(many, later, strict=True)]
        written = data.draw(st.sampled_from([None, columns]))
        documents = Documents(store, len(many), changes if changed else None, written)
        assert documents.problems() == []
        for filter in filters:
            found = documents.select(filter).tolist()
            assert found == documents.filter(*to_sql(filter)).tolist()
            assert found == [holds(filter, metadata, id=str(n)) for n, metadata in enumerate(now)]
        documents.close()
        first.close()


# --- large numbers

LARGE = st.one_of(
    *(
        st.integers(middle - 3, middle + 3)
        for edge in (2**53, 1790000000000000001, 10**18, 2**63, 2**64, 10**30, 15 * 10**307)
        for middle in (edge, -edge)
    ),
    st.integers(-3, 3),
)


def as_stored(number: float) -> float:
    """What becomes of a number: whole ones beyond 64 bits become floats, as in SQLite."""
    return number if isinstance(number, int) and -(2**63) <= number < 2**63 else float(number)


def compare(left: float, operator: str, right: float) -> bool:
    return {
        "=": left == right, "!=": left != right, "<": left < right,
        "<=": left <= right, ">": left > right, ">=": left >= right,
    }[operator]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    st.lists(LARGE | LARGE.map(float) | st.lists(LARGE, max_size=3), min_size=1, max_size=6),
    st.lists(LARGE | LARGE.map(float), min_size=1, max_size=3),
    st.sampled_from(["=", "!=", "<", "<=", ">", ">="]),
)
@example([1790000000000000001, 1790000000000000002, 12], [1790000000000000001], ">")
@example([2**63 - 1, -(2**63), 2.0**63, 2**63], [2**63 - 1], "<=")
def test_large_numbers_compare_as_in_python(
    stored: list[Any], asked: list[float], operator: str
) -> None:
    written = [repr(number) for number in asked]
    sides = [as_stored(number) for number in asked]
    lists = [[as_stored(m) for m in (x if isinstance(x, list) else [x])] for x in stored]
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "store")
        write_store(store, [Record(str(n), "t", "", {"x": x}) for n, x in enumerate(stored)])
        documents = Documents(store, len(stored))
        for text, expected in [
            (f"x in ({', '.join(written)})", [any(m in sides for m in ms) for ms in lists]),
            (
                f"x {operator} {written[0]}",
                [
                    not any(m == sides[0] for m in ms)
                    if operator == "!="
                    else any(compare(m, operator, sides[0]) for m in ms)
                    for ms in lists
                ],
            ),
        ]:
            assert documents.select(parse_filter(text)).tolist() == expected
            assert documents.filter(*to_sql(parse_filter(text))).tolist() == expected
        documents.close()


@given(LARGE, st.integers(0, 5000))
def test_whole_numbers_are_exact_within_64_bits(number: int, zeros: int) -> None:
    sign, digits = ("-" if number < 0 else ""), str(abs(number))
    assert parse_filter(f"x = {sign}{'0' * zeros}{digits}") == Match(("x",), (as_stored(number),))


def test_texts_of_nineteen_digits_compare_as_numbers_too() -> None:
    metadata = {"tweet": "1790000000000000001"}  # as CSV files have them
    assert selects("tweet = 1790000000000000001", metadata)
    assert not selects("tweet in (1790000000000000000, 1790000000000000002)", metadata)
    assert not selects("tweet > 1790000000000000001", metadata)
