"""Columns: made, stored, merged and changed, they say what the metadata say; damage is named."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from index_cases import create, record, rows

from indexes import column_building, column_file, policy
from indexes.arrays import map_arrays, write_arrays
from indexes.column_building import Part, build_columns, combined_columns
from indexes.column_file import ColumnFile, column_arrays
from indexes.columns import Column, Columns, same
from indexes.errors import Damaged, UnsupportedFormat
from indexes.snapshot import Snapshot
from indexes.types import Update
from indexes.writer import Writer

SCALAR = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.sampled_from(
        [0.5, -0.0, 1.0, 1e300, 2**53 + 1, 2.0**53, -(2**63), 2**64, 10**400, -(10**400)]
    )
    | st.sampled_from(["", "a", "é", "🐟", "2024-05-01T02:00+02:00", "2024-05-01", "2024-05-01 x"])
)
VALUE = st.recursive(
    SCALAR,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("pq"), inner, max_size=2)
    ),
    max_leaves=4,
)
METADATA = st.dictionaries(st.sampled_from("xyz"), VALUE, max_size=3)
MANY = st.lists(METADATA, max_size=8)


def built(many: list[dict[str, Any]], only: Any = None) -> Columns:
    texts = [json.dumps(metadata) for metadata in many]
    chunks = [
        (np.arange(n, min(n + 3, len(many))), texts[n : n + 3]) for n in range(0, len(many), 3)
    ]
    return build_columns(len(many), chunks, only)


def number(value: Any) -> Any:
    """One of equal numbers: what JSON readers with 64 bits make of it."""
    if type(value) is int and not -(2**63) <= value < 2**63:
        return float(value) if abs(value) < 2**1023 else float("inf" if value > 0 else "-inf")
    if type(value) is float and abs(value) < 2**63 and value == int(value):
        return int(value)
    return value


def by_hand(many: list[dict[str, Any]], field: tuple[str, ...]) -> list[tuple[bool, set[str]]]:
    """Of each document, whether the field is there, and its values: the slow obvious version."""
    found = []
    for metadata in many:
        value: Any = metadata
        for name in field:
            value = value.get(name) if isinstance(value, dict) else None
        members = value if isinstance(value, list) else [value]
        scalars = {repr(number(m)) for m in members if isinstance(m, str | int | float)}
        found.append((value is not None, scalars))
    return found


def told(column: Column) -> list[tuple[bool, set[str]]]:
    """The same of a column."""
    values: list[set[str]] = [set() for _ in range(column.n_documents)]
    for document, code in zip(*(part.tolist() for part in column.entries()), strict=True):
        values[document].add(repr(column.values[code]))
    return list(zip(column.present.tolist(), values, strict=True))


FIELDS = [("x",), ("y",), ("x", "p"), ("y", "q", "p"), ("w",)]


@settings(max_examples=150, deadline=None)
@given(MANY)
def test_say_what_the_metadata_say(many: list[dict[str, Any]]) -> None:
    columns = built(many)
    for field in FIELDS:
        column = columns.get(field, len(many))
        assert column is not None
        assert told(column) == by_hand(many, field)
        only = built(many, {field}).get(field, len(many))
        assert only is not None
        assert same(only, column)


def stored(columns: Columns, n_documents: int) -> ColumnFile:
    with tempfile.TemporaryDirectory() as folder:
        with open(Path(folder, "columns"), "wb") as file:
            write_arrays(file, column_arrays(columns))
        return ColumnFile(map_arrays(Path(folder, "columns")), n_documents, "columns")


def equal(one: Columns, other: Columns) -> bool:
    return one.by_field.keys() == other.by_field.keys() and all(
        same(column, other.by_field[field]) for field, column in one.by_field.items()
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(MANY, min_size=1, max_size=3), st.data())
def test_stored_and_merged_they_are_as_if_made_at_once(
    parts: list[list[dict[str, Any]]], data: st.DataObject
) -> None:
    kept, merged = [], list[dict[str, Any]]()
    for many in parts:
        keep = np.array([data.draw(st.booleans()) for _ in many], np.bool_)
        made = built(many)
        read = stored(made, len(many)).all()
        assert equal(made, read)
        kept.append(Part(read, np.where(keep, np.cumsum(keep) - 1 + len(merged), -1)))
        merged += [metadata for metadata, take in zip(many, keep, strict=True) if take]
    assert equal(combined_columns(len(merged), kept), built(merged))


def test_long_texts_and_many_fields_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(column_building, "MANY_FIELDS", 2)
    long = [{"a": n, "text": f"{n}" * 200} for n in range(3)]
    columns = built(long)
    assert (columns.by_field.keys(), columns.left_out) == ({("a",)}, {("text",)})
    assert columns.get(("text",), 3) is None
    assert columns.get(("other",), 3) is not None
    many = built([{"a": 1, "b": 2}, {"c": 3}])
    assert (many.by_field.keys(), many.left_out) == ({("a",), ("b",)}, None)
    assert many.get(("c",), 2) is many.get(("other",), 2) is None
    merged = combined_columns(5, [Part(columns, np.arange(3)), Part(many, np.arange(3, 5))])
    assert (merged.by_field.keys(), merged.left_out) == ({("a",), ("b",)}, None)
    for made, n in ((columns, 3), (many, 2)):
        assert stored(made, n).all().left_out == made.left_out


@pytest.fixture
def _columns_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(column_file, "WRITTEN_FROM", 1)


@pytest.mark.usefixtures("_columns_of_few")
def test_an_index_has_them_through_its_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of fields that are left out, and after updates; small segments have none."""
    monkeypatch.setattr(policy, "MAX_DEAD", 1)
    create(tmp_path / "i", [record(f"d{n}", "x", n=n, s="long" * n * 60) for n in range(4)])
    with Writer.open(tmp_path / "i") as writer:
        writer.update([Update("d1", {"n": 9, "new": [1, 2]}, b""), Update("d2", {}, b"")])
        writer.commit()
        new = [record("e", "y", n=1)]
        monkeypatch.setattr(column_file, "WRITTEN_FROM", 2)
        writer.add(new, rows(new))
        writer.commit()

        def check(segments: int) -> None:
            with Snapshot.open(tmp_path / "i") as snapshot:
                assert snapshot.n_segments == segments
                assert snapshot.verify() == []
                files = sorted(file.suffix for file in (tmp_path / "i").glob("*.columns"))
                assert files == [".columns"]
                assert snapshot.facets("n") == [(0, 1), (1, 1), (3, 1), (9, 1)]
                assert snapshot.facets("new") == [(1, 1), (2, 1)]
                assert snapshot.ids(snapshot.sort("-s", 2)) == ["d3", "d0"]
                assert len(snapshot.select("s ^= 'longlong'")) == 1
                assert len(snapshot.select("n >= 1 and not exists absent")) == 3

        check(2)
        writer.delete(["nobody"])
        writer.merge()
        check(1)


@pytest.mark.usefixtures("_columns_of_few")
def test_a_flipped_bit_is_damage_or_an_answer(tmp_path: Path) -> None:
    metadata = [{"n": n, "t": ["b", "é"], "s": f"2024-01-0{n + 1}T10:00Z"} for n in range(5)]
    texts = [json.dumps(m) for m in metadata]
    file = io.BytesIO()
    write_arrays(file, column_arrays(build_columns(5, [(np.arange(5), texts)])))
    whole, path, damaged = file.getvalue(), tmp_path / "columns", 0
    for place in range(0, len(whole), 3):
        path.write_bytes(
            whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :]
        )
        try:
            for column in ColumnFile(map_arrays(path), 5, "columns").all().by_field.values():
                assert column.documents(np.ones(len(column.values), np.bool_)).shape == (5,)
                list(column.values)
                column.values.place("b")
                column.values.spelt  # noqa: B018
        except (Damaged, UnsupportedFormat):
            damaged += 1
    assert damaged > 100


@pytest.mark.usefixtures("_columns_of_few")
def test_a_snapshot_keeps_its_own(tmp_path: Path) -> None:
    """No filter was asked before an index of the same names took the place of this one."""
    path = tmp_path / "i"
    for built_anew in (False, True):
        create(path, [record("a", "x", lang="en"), record("b", "x", lang="fr")])
        with Snapshot.open(path) as snapshot:
            shutil.rmtree(path)
            if built_anew:
                create(path, [record("a", "x", lang="fr"), record("b", "x", lang="en")])
            [chosen] = snapshot.select('lang = "en"').documents
            assert chosen.tolist() == [True, False]
            assert snapshot.ids(snapshot.sort("lang", 2)) == ["a", "b"]


@pytest.mark.usefixtures("_columns_of_few")
def test_verify_compares_them_with_the_metadata(tmp_path: Path) -> None:
    create(tmp_path / "i", [record(f"d{n}", "x", n=n) for n in range(3)])
    with Snapshot.open(tmp_path / "i") as snapshot:
        [segment] = snapshot._segments
        for others in ([{"n": 0}, {"n": 1}, {"n": 3}], [{}, {}, {}], [{"m": 1}, {}, {}]):
            segment.documents.columns._file = stored(built(others), 3)
            [problem] = segment.problems()
            assert "disagrees with the metadata" in problem


def test_several_texts_of_one_moment_are_one_in_order(tmp_path: Path) -> None:
    seen = {
        "d": "2024-05-01T12:00+02:00", "a": "2024-05-01T10:00:00Z", "c": "2024-05-01 10:00",
        "b": "2024-05-01T09:59Z", "e": "2024-05-01T10:00:00.5Z", "f": "2024-05", "g": "2024-05-01",
    }  # fmt: skip
    create(tmp_path / "i", [record(id, "x", seen=text) for id, text in seen.items()])
    with Snapshot.open(tmp_path / "i") as snapshot:
        for k in range(1, 8):
            assert snapshot.ids(snapshot.sort("seen", k)) == list("fgbacde")[:k]
            assert snapshot.ids(snapshot.sort("-seen", k)) == list("eacdbgf")[:k]
        assert len(snapshot.select("seen = 2024-05-01T08:00-02:00")) == 3
        assert len(snapshot.facets("seen")) == 7
        assert len(snapshot.select("seen ^= '2024-05-01T1'")) == 3


def test_many_ties_go_by_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexes.ordering.MANY_TIES", 0)
    documents = [record(f"d{n * 7 % 20:02d}", "x", x=n % 3 // 2) for n in range(20)]
    create(tmp_path / "i", documents[:12])
    with Writer.open(tmp_path / "i") as writer:
        writer.add(documents[12:], rows(documents[12:]))
        writer.delete(["d03"])
        writer.commit()
    with Snapshot.open(tmp_path / "i") as snapshot:
        for field, sign in (("x", 1), ("-x", -1)):
            order = sorted((sign * r.metadata["x"], r.id) for r in documents if r.id != "d03")
            for k in (1, 3, 6, 10, 15):
                assert snapshot.ids(snapshot.sort(field, k)) == [id for _, id in order[:k]]
        ids = sorted(r.id for r in documents if r.id != "d03")
        assert snapshot.ids(snapshot.sort("id", 5)) == ids[:5]
        assert snapshot.ids(snapshot.sort("-id", 5)) == ids[::-1][:5]
