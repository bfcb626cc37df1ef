"""Facets and sorting against plain Python: several segments, dead and changed documents."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from index_cases import FIELDS, QuickDirectory, create, record, rows

from indexes import policy
from indexes.errors import BadFilter
from indexes.snapshot import Snapshot
from indexes.types import Update
from indexes.writer import Writer

SCALAR = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.sampled_from([0.5, 1790000000000000001, 1790000000000000002, 2**53 + 1, "", "a", "b", "é"])
)
VALUE = SCALAR | st.lists(SCALAR, max_size=3) | st.just({"inner": 1})
METADATA = st.dictionaries(st.just("x"), VALUE, max_size=1)
COMMIT = st.dictionaries(st.sampled_from("abcdefgh"), METADATA, min_size=1, max_size=5)


def members(metadata: dict[str, Any]) -> list[tuple[int, Any]]:
    """The distinct values of field x, each with its kind, so that they can be compared."""
    value = metadata.get("x")
    found = {
        (2 if isinstance(m, bool) else 1 if isinstance(m, str) else 0, m)
        for m in (value if isinstance(value, list) else [value])
        if isinstance(m, str | int | float)
    }
    return sorted(found)


def in_order(model: dict[str, dict[str, Any]], *, descending: bool) -> list[str]:
    """The ids as `sort` must give them: the slow obvious version."""
    there = [id for id in sorted(model) if members(model[id])]
    if descending:
        there.sort(key=lambda id: members(model[id])[-1], reverse=True)
    else:
        there.sort(key=lambda id: members(model[id])[0])
    return there + [id for id in sorted(model) if not members(model[id])]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(COMMIT, min_size=1, max_size=3),
    COMMIT,
    st.sets(st.sampled_from("abcdefgh"), max_size=3),
    st.integers(1, 9),
)
def test_facets_and_sorting_are_those_of_plain_python(
    commits: list[dict[str, dict[str, Any]]],
    updates: dict[str, dict[str, Any]],
    deleted: set[str],
    k: int,
) -> None:
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(policy, "MAX_DEAD", 1):
        directory = QuickDirectory(Path(folder) / "i")
        model: dict[str, dict[str, Any]] = {}
        with Writer.create(directory, FIELDS) as writer:
            for commit in commits:
                new = [record(id, "red fish", **metadata) for id, metadata in commit.items()]
                writer.add(new, rows(new))
                writer.commit()
                model |= commit
            writer.update([Update(id, metadata, b"") for id, metadata in updates.items()])
            model |= {id: metadata for id, metadata in updates.items() if id in model}
            writer.delete(list(deleted))
            writer.commit()
        model = {id: metadata for id, metadata in model.items() if id not in deleted}
        with Snapshot.open(directory) as snapshot:
            counts = Counter(m for metadata in model.values() for m in members(metadata))
            expected = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
            assert repr([(v, n) for (_, v), n in expected]) == repr(snapshot.facets("x", None, 99))
            assert snapshot.facets("x", None, k) == snapshot.facets("x", None, 99)[:k]
            for field, descending in (("x", False), ("-x", True)):
                order = in_order(model, descending=descending)
                assert snapshot.ids(snapshot.sort(field, 99)) == order
                assert snapshot.ids(snapshot.sort(field, k)) == order[:k]
            where = snapshot.select("id >= 'c'")
            some = {id: metadata for id, metadata in model.items() if id >= "c"}
            assert snapshot.ids(snapshot.sort("x", 99, where)) == in_order(some, descending=False)
            assert sum(n for _, n in snapshot.facets("x", where, 99)) == sum(
                len(members(metadata)) for metadata in some.values()
            )


def test_sorting_by_title_and_id_and_nested_fields(tmp_path: Path) -> None:
    documents = [
        record("b", "x", by={"year": 3}),
        record("a", "x", by={"year": 5}),
        record("c", "x"),
    ]
    create(tmp_path / "i", documents)
    with Snapshot.open(tmp_path / "i") as snapshot:
        assert snapshot.ids(snapshot.sort("title", 9)) == ["a", "b", "c"]
        assert snapshot.ids(snapshot.sort("-id", 2)) == ["c", "b"]
        assert snapshot.ids(snapshot.sort("-by.year", 9)) == ["a", "b", "c"]
        assert snapshot.ids(snapshot.sort("absent", 9)) == ["a", "b", "c"]
        assert snapshot.facets("by.year") == [(3, 1), (5, 1)]
        assert snapshot.facets("title", top=1) == [("title of a", 1)]
        assert snapshot.facets("by") == snapshot.facets("absent") == []
        for bad in ("", "-", "year desc", "a=1", "and"):
            with pytest.raises(BadFilter):
                snapshot.sort(bad, 1)
        assert len(snapshot.selection(np.array([0, 2]))) == 2


def test_an_empty_index(tmp_path: Path) -> None:
    create(tmp_path / "i")
    with Snapshot.open(tmp_path / "i") as snapshot:
        assert snapshot.facets("x") == []
        assert snapshot.sort("x", 5).tolist() == []
