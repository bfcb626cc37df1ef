"""The store gives back what was put in, in the order asked for, and merges what is kept."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from index_cases import record, write_store

from indexes.errors import Damaged, StorageFailed
from indexes.metadata import metadata_json, storable
from indexes.store import Store
from indexes.store_writing import Source, merge_stores
from indexes.types import Excerpt, Record

RECORDS = [
    record("a", "red fish", "blue fish", year=1, tags=["x", "y"]),
    record("b/☃", "one", nested={"deep": [1, None, True, "🐟"]}),
    record("c", "old bird", "new bird", "bird"),
]


def bounds(records: list[Record]) -> np.ndarray:
    return np.cumsum([0, *(len(r.passages) for r in records)])


def everything(path: Path, n: int, first: np.ndarray) -> list[Record]:
    return Store(path, n).records(np.arange(n), first)


def test_gives_back_what_was_put_in(tmp_path: Path) -> None:
    path = tmp_path / "a ? name # with % marks"
    write_store(path, RECORDS)
    store = Store(path, 3)
    assert store.counts() == (3, 6)
    assert store.records(np.array([2, 0, 2]), bounds(RECORDS)) == [RECORDS[i] for i in (2, 0, 2)]
    assert store.ids(np.array([1, 0])) == ["b/☃", "a"]
    assert store.all_ids() == ["a", "b/☃", "c"]
    assert store.find(["c", "nobody", "a"]) == {
        "a": (0, RECORDS[0].hash),
        "c": (2, RECORDS[2].hash),
    }
    assert store.filter("json_extract(metadata, ?) = ?", ["$.year", 1]).tolist() == [
        True,
        False,
        False,
    ]
    assert store.bounds() == [(0, 0, 2), (1, 2, 1), (2, 3, 3)]
    assert store.problems() == []


@pytest.mark.parametrize("sliced", [0, 65, 1000])  # from which on a text is read once
def test_excerpts_are_the_beginnings_of_passages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sliced: int
) -> None:
    monkeypatch.setattr("indexes.excerpts._SLICED", sliced)
    odd = record("odd", "né\0 🐟 one", "", "tw\0", "\0", year=2)
    records = [*RECORDS, odd]
    write_store(tmp_path / "s", records)
    store, first = Store(tmp_path / "s", 4), bounds(records)
    passages = np.array([*range(int(first[-1]))] * 60)[::-1]  # more than one statement binds
    documents = np.searchsorted(first, passages, side="right") - 1
    for longest in (0, 1, 4, 100):
        found = store.excerpts(passages, first, longest)
        for excerpt, passage, document in zip(found, passages, documents, strict=True):
            one, number = records[document], passage - first[document]
            start, end = one.passages[number]
            text = one.text[start:end][:longest]
            assert excerpt == Excerpt(one.id, one.title, one.metadata, number, start, end, text)
    assert store.excerpts(passages[:0], first, 9) == []


@pytest.mark.parametrize("sliced", [0, 1000])
def test_excerpts_of_tables_that_contradict_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sliced: int
) -> None:
    monkeypatch.setattr("indexes.excerpts._SLICED", sliced)
    write_store(tmp_path / "s", RECORDS)
    store = Store(tmp_path / "s", 3)
    for passage, first in ((1, [0, 1, 3, 6]), (6, [0, 2, 3, 7])):
        with pytest.raises(Damaged, match="contradict"):
            store.excerpts(np.array([passage]), np.array(first), 9)


def test_is_a_plain_sqlite_file(tmp_path: Path) -> None:
    """FORMAT.md promises these tables to anybody with sqlite3."""
    write_store(tmp_path / "s", RECORDS)
    with sqlite3.connect(tmp_path / "s") as connection:
        rows = connection.execute(
            'SELECT id, substr(text, start + 1, "end" - start) FROM passages'
            " JOIN documents AS d ON document = d.ordinal JOIN texts AS t ON document = t.ordinal"
        ).fetchall()
    assert rows[:3] == [("a", "red fish"), ("a", "blue fish"), ("b/☃", "one")]


def test_many_ids_at_once(tmp_path: Path) -> None:
    records = [record(f"d{n}", "x") for n in range(2500)]
    write_store(tmp_path / "s", records)
    store = Store(tmp_path / "s", 2500)
    found = store.find([f"d{n}" for n in range(0, 5000)])
    assert {id: ordinal for id, (ordinal, _) in found.items()} == {f"d{n}": n for n in range(2500)}
    backwards = np.arange(2500)[::-1]
    assert store.ids(backwards) == [f"d{n}" for n in backwards]


ID = st.text(min_size=1, max_size=4).filter(lambda id: storable(id) == id)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(st.tuples(ID, st.text(max_size=5)), unique_by=lambda d: d[0]), max_size=3),
    st.data(),
)
def test_merging_is_writing_what_was_kept(
    tmp_path_factory: pytest.TempPathFactory,
    parts: list[list[tuple[str, str]]],
    data: st.DataObject,
) -> None:
    folder = tmp_path_factory.mktemp("stores")
    seen: set[str] = set()
    sources, kept = [], []
    for number, part in enumerate(parts):
        records = [record(id, *[text] * (1 + len(text) % 3), n=number) for id, text in part]
        write_store(folder / f"{number}", records)
        keep = np.array([r.id not in seen and data.draw(st.booleans()) for r in records], np.bool_)
        new = [r for r, wanted in zip(records, keep.tolist(), strict=True) if wanted]
        seen |= {r.id for r in new}
        kept += new
        sources.append(Source(folder / f"{number}", keep))
    merge_stores(folder / "merged", sources)
    expected = [
        Record(r.id, storable(r.title), storable(r.text), r.metadata, r.hash, r.passages)
        for r in kept
    ]
    assert everything(folder / "merged", len(kept), bounds(kept)) == expected
    assert Store(folder / "merged", len(kept)).problems() == []


def test_no_order_is_left_to_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite told to reverse whatever order a statement leaves open must write and read the same.

    The same bytes: rows go in by ascending ordinal, so pages are filled and lie in order.
    """
    more = [record("d", "x", "y"), record("e", "z"), record("f", "tall", "small")]
    for name, records in (("s1", RECORDS), ("s2", more)):
        write_store(tmp_path / name, records)
    sources = [
        Source(tmp_path / "s1", np.array([True, False, True])),
        Source(tmp_path / "s2", np.array([True, True, True])),
    ]
    kept = [RECORDS[0], RECORDS[2], *more]
    merge_stores(tmp_path / "usual", sources)
    connect = sqlite3.connect

    def contrary(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.execute("PRAGMA reverse_unordered_selects = ON")
        return connection

    monkeypatch.setattr(sqlite3, "connect", contrary)
    merge_stores(tmp_path / "contrary", sources)
    store = Store(tmp_path / "contrary", len(kept))
    assert store.records(np.arange(len(kept)), bounds(kept)) == kept
    assert store.all_ids() == [r.id for r in kept]
    assert store.bounds() == [(0, 0, 2), (1, 2, 3), (2, 5, 2), (3, 7, 1), (4, 8, 2)]
    assert (tmp_path / "contrary").read_bytes() == (tmp_path / "usual").read_bytes()


def test_a_store_of_nothing(tmp_path: Path) -> None:
    write_store(tmp_path / "s", [])
    store = Store(tmp_path / "s", 0)
    assert (store.all_ids(), store.find(["a"]), store.counts()) == ([], {}, (0, 0))
    merge_stores(tmp_path / "m", [Source(tmp_path / "s", np.zeros(0, np.bool_))])
    assert Store(tmp_path / "m", 0).counts() == (0, 0)


def test_damage_is_named(tmp_path: Path) -> None:
    with pytest.raises(Damaged, match="absent"):
        Store(tmp_path / "absent", 1)
    (tmp_path / "other").write_bytes(b"not a database at all, but long enough to be read as one")
    with pytest.raises(Damaged, match="other: cannot be read"):
        Store(tmp_path / "other", 1).all_ids()
    write_store(tmp_path / "s", RECORDS)
    with pytest.raises(Damaged, match="documents that are not there"):
        Store(tmp_path / "s", 2).find(["c"])
    with pytest.raises(Damaged, match="contradict"):
        Store(tmp_path / "s", 4).ids(np.array([3]))


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match="cannot write"):
        write_store(tmp_path / "absent" / "s", RECORDS)


def test_storable() -> None:
    assert storable("plain é 🐟 \0") == "plain é 🐟 \0"
    assert storable("a\ud83d\udc1fb") == "a\ufffd\ufffdb"  # a pair in pieces stays in pieces
    assert metadata_json({"é": ["🐟", 1.5, None]}) == '{"é":["🐟",1.5,null]}'
