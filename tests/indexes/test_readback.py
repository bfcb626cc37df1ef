"""Rows read back are the rows that were added, as stored; adding them again changes nothing."""

from __future__ import annotations

from pathlib import Path

import index_cases as cases
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from index_cases import FIELDS, QuickDirectory, record

from indexes import inversion, readback
from indexes.builder import PostingsBuilder
from indexes.errors import Damaged
from indexes.postings import Postings
from indexes.readback import slow_term_rows, stacked, term_rows
from indexes.snapshot import Snapshot
from indexes.types import TermVectors
from indexes.writer import Writer

WEIGHTS = st.floats(0, 70_000, width=32) | st.sampled_from([2.0**-14, 2.0**-15, 1e-9, 65504.0])
ROWS = st.lists(st.dictionaries(st.sampled_from("abcdefgh"), WEIGHTS, max_size=6), max_size=12)


def opened(rows: list[dict[str, float]], kind: str = "impact") -> Postings:
    builder = PostingsBuilder(kind)  # type: ignore[arg-type]
    builder.add(TermVectors.of(rows))
    return Postings(builder.build())


def as_dicts(rows: TermVectors) -> list[dict[str, float]]:
    return [rows.row(i) for i in range(len(rows))]


@pytest.mark.parametrize("native", [True, False])
@given(ROWS, st.randoms(), st.sampled_from(["impact", "count"]))
def test_rows_are_those_that_were_added_as_stored(native, rows, random, kind):
    with pytest.MonkeyPatch.context() as patch:
        if not native:
            patch.setattr(inversion, "native", lambda: None)
        postings = opened(rows, kind)
    asked = np.array(random.sample(range(len(rows)), random.randint(0, len(rows))), np.int64)
    found = as_dicts(term_rows(postings, asked))
    assert found == as_dicts(slow_term_rows(postings, asked))
    again = as_dicts(term_rows(opened(found, kind), np.arange(len(found))))
    assert again == found  # storing what was stored rounds no further


@pytest.mark.parametrize("at_once", [1000, 2**22])
def test_segments_of_dense_lists_and_several_parts(monkeypatch, at_once):
    monkeypatch.setattr(readback, "AT_ONCE", at_once)
    rng = np.random.default_rng(1)
    rows = inversion.PART + 5000
    common = rng.random((rows, 4)) < [0.9, 0.3, 0.03, 0.001]
    columns = np.nonzero(common)[1].astype(np.int32)
    indptr = np.append(0, np.cumsum(common.sum(1)))
    values = rng.random(len(columns)).astype(np.float32) + np.float32(0.01)
    builder = PostingsBuilder("impact")
    builder.add(TermVectors(["d", "c", "b", "a"], indptr, columns, values))
    postings = Postings(builder.build())
    assert postings.skip
    asked = rng.choice(rows, 300, replace=False)
    assert as_dicts(term_rows(postings, asked)) == as_dicts(slow_term_rows(postings, asked))


def test_a_snapshot_reads_rows_of_all_its_segments(tmp_path: Path):
    documents = [record(f"d{n}", f"red fish {n % 7}", "blue bird " * (n % 3 + 1)) for n in range(9)]
    with Writer.create(QuickDirectory(tmp_path / "i"), FIELDS) as writer:
        for start in range(0, 9, 3):
            some = documents[start : start + 3]
            writer.add(some, cases.rows(some))
            writer.commit()
    expected = cases.rows(documents)
    with Snapshot.open(tmp_path / "i") as snapshot:
        assert snapshot.n_segments == 3
        asked = np.array([17, 0, 9, 8, 3])
        assert (snapshot.stored_rows("dense", asked) == expected["dense"][asked]).all()
        sparse = snapshot.stored_rows("sparse", asked)
        assert as_dicts(sparse) == as_dicts(expected["sparse"].take(asked))
        counts = snapshot.stored_rows("bm25", np.array([8, 2]))
        assert as_dicts(counts) == as_dicts(expected["bm25"].take(np.array([8, 2])))
        assert len(snapshot.stored_rows("sparse", np.empty(0, np.int64))) == 0
        assert snapshot.stored_rows("dense", np.empty(0, np.int64)).shape == (0, cases.DIM)
        assert snapshot.passages_of_each(np.array([8, 0]))[1].tolist() == [2, 2]
        with pytest.raises(ValueError, match="illegal passage number"):
            snapshot.stored_rows("dense", np.array([18]))


@pytest.mark.parametrize("part", ["ids", "weights", "list_sizes"])
def test_garbled_lists_are_named_and_never_crash(part):
    rng = np.random.default_rng(2)
    words = [f"w{n}" for n in range(20)]
    rows = [{w: float(rng.random()) + 0.1 for w in rng.choice(words, 6)} for _ in range(50)]
    intact = opened(rows)
    good = as_dicts(term_rows(intact, np.arange(50)))
    told = set()
    for _ in range(200):
        arrays = {name: array.copy() for name, array in intact.arrays.items()}
        place = rng.integers(len(arrays[part]))
        arrays[part].view(f"u{arrays[part].itemsize}")[place] ^= 1 << rng.integers(
            8 * arrays[part].itemsize
        )
        try:
            found = term_rows(Postings(arrays, "the file"), np.arange(50))
        except Damaged as error:
            told.add(str(error))
            continue
        assert len(found) == len(good)  # garbled, but rows like any other
    assert told
    assert all(message.startswith("the file: ") for message in told)


def test_stacking_rows_over_different_columns():
    blocks = [
        TermVectors.of([{"a": 1.0, "b": 2.0}, {}]),
        TermVectors.of([]),
        TermVectors.of([{"c": 3.0, "b": 4.0}]),
    ]
    assert as_dicts(stacked(blocks)) == [{"a": 1.0, "b": 2.0}, {}, {"c": 3.0, "b": 4.0}]
    assert len(stacked([])) == 0
