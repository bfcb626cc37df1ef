"""The inverted file against brute force over dictionaries."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from indexes.arrays import map_arrays, write_arrays
from indexes.builder import PostingsBuilder, merge_postings
from indexes.errors import Damaged
from indexes.inversion import Kind, decode, encode
from indexes.postings import Postings
from indexes.types import TermVectors

Row = dict[str, float]

TERMS = st.sampled_from(["a", "ab", "b", "é", "z", "日本", "\U0001f600", "\ud800", ""])
ROWS = st.lists(st.dictionaries(TERMS, st.floats(0, 300, width=32), max_size=6), max_size=12)
KINDS = st.sampled_from(["count", "impact"])


def built(rows: list[Row], kind: Kind = "impact", at_once: int = 3) -> dict[str, NDArray[Any]]:
    builder = PostingsBuilder(kind)
    for start in range(0, len(rows), at_once):
        builder.add(TermVectors.of(rows[start : start + at_once]))
    return builder.build()


def stored(rows: list[Row], kind: Kind) -> list[Row]:
    """The rows as an index holds them: rounded, without zeros, terms in UTF-8 order."""
    result = []
    for row in rows:
        weights = decode(encode(np.array(list(row.values()), np.float32), kind)).tolist()
        pairs = zip(row, weights, strict=True)
        result.append({term: weight for term, weight in sorted(pairs) if weight > 0})
    return result


def content(postings: Postings) -> list[Row]:
    """All forward rows as dictionaries."""
    rows = postings.rows(np.arange(postings.n_rows))
    bounds = rows.indptr.tolist()
    return [
        {
            postings.term(number): weight
            for number, weight in zip(
                rows.terms[start:stop].tolist(), rows.weights[start:stop].tolist(), strict=True
            )
        }
        for start, stop in pairwise(bounds)
    ]


@settings(deadline=None)
@given(ROWS, KINDS, st.integers(1, 5))
def test_rows_and_lists_hold_what_was_added(rows: list[Row], kind: Kind, at_once: int) -> None:
    postings = Postings(built(rows, kind, at_once))
    expected = stored(rows, kind)
    postings.check()
    assert postings.n_rows == len(rows)
    assert [list(row.items()) for row in content(postings)] == [
        list(row.items()) for row in expected
    ]
    assert postings.terms() == sorted({term for row in expected for term in row})
    for number, term in enumerate(postings.terms()):
        assert postings.term_id(term) == number
        docids, weights = postings.postings(number)
        assert list(zip(docids.tolist(), weights.tolist(), strict=True)) == [
            (i, row[term]) for i, row in enumerate(expected) if term in row
        ]
    sums = [float(np.float32(sum(row.values()))) for row in rows]
    assert postings.lengths.tolist() == pytest.approx(sums)
    assert postings.nnz == sum(map(len, expected))


def test_unknown_terms_are_minus_one() -> None:
    postings = Postings(built([{"b": 1.0, "d": 1.0}]))
    assert postings.term_ids(["a", "b", "c", "d", "e", ""]).tolist() == [-1, 0, -1, 1, -1, -1]
    assert Postings(built([])).term_ids(["a"]).tolist() == [-1]
    assert Postings(built([{}, {}])).sizes(np.array([-1])).tolist() == [0]


def test_document_frequency_counts_the_living() -> None:
    postings = Postings(built([{"a": 1.0, "b": 1.0}, {"a": 2.0}, {"b": 1.0}, {"a": 1.0}]))
    numbers = postings.term_ids(["a", "x", "b"])
    assert postings.document_frequency(numbers).tolist() == [3, 0, 2]
    alive = np.array([False, True, True, True])
    assert postings.document_frequency(numbers, alive).tolist() == [2, 0, 1]


@settings(deadline=None)
@given(st.lists(st.tuples(ROWS, st.randoms(use_true_random=False)), min_size=1, max_size=4), KINDS)
def test_merging_equals_building_from_the_kept_rows(parts: list[Any], kind: Kind) -> None:
    keep = [np.array([random.random() < 0.6 for _ in rows], np.bool_) for rows, random in parts]
    merged = merge_postings([Postings(built(rows, kind)) for rows, _ in parts], keep)
    kept = [
        row
        for (rows, _), mask in zip(parts, keep, strict=True)
        for row, is_kept in zip(rows, mask, strict=True)
        if is_kept
    ]
    expected = built(kept, kind)
    assert list(merged) == list(expected)
    for name, array in expected.items():
        assert merged[name].dtype == array.dtype
        assert merged[name].tolist() == array.tolist()


def test_kinds_do_not_mix() -> None:
    parts = [Postings(built([{"a": 1.0}], "count")), Postings(built([{"a": 1.0}], "impact"))]
    with pytest.raises(ValueError, match="counts and impacts"):
        merge_postings(parts, [np.ones(1, np.bool_)] * 2)


def test_weights_saturate_and_round() -> None:
    counts = encode(np.array([0, 0.4, 1, 2.6, 70000], np.float32), "count")
    assert decode(counts).tolist() == [0, 0, 1, 3, 65535]
    impacts = encode(np.array([0, 1e-9, 2.0**-14, 1, 1e9], np.float32), "impact")
    assert decode(impacts).tolist() == [0, 0, 2.0**-14, 1, 65504]


def test_decoding_equals_astype_for_every_normal_half() -> None:
    halves = np.arange(0x0400, 0x7C00, dtype=np.uint16).view(np.float16)
    assert np.array_equal(decode(halves), halves.astype(np.float32))
    assert decode(np.zeros(1, np.float16)).tolist() == [0]


def test_lengths_do_not_saturate() -> None:
    assert Postings(built([{"the": 70000.0, "end": 1.0}], "count")).lengths.tolist() == [70001]


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_illegal_weights_are_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="illegal weight"):
        PostingsBuilder("impact").add(TermVectors.of([{"a": 1.0, "b": weight}]))


def test_a_term_names_one_column() -> None:
    rows = TermVectors(["a", "a"], np.array([0, 2]), np.array([0, 1], np.int32), np.ones(2, "f4"))
    with pytest.raises(ValueError, match="two columns"):
        PostingsBuilder("impact").add(rows)


def test_unused_columns_cost_nothing() -> None:
    builder = PostingsBuilder("impact")
    builder.add(TermVectors([str(i) for i in range(1000)], np.array([0, 1]), np.array([7], np.int32), np.ones(1, np.float32)))  # fmt: skip  # noqa: E501
    assert Postings(builder.build()).terms() == ["7"]
    assert builder.nbytes < 1000


def test_the_builder_accounts_for_its_memory() -> None:
    builder = PostingsBuilder("count")
    before = builder.nbytes
    builder.add(TermVectors.of([{f"term{i}": 1.0 for i in range(500)}] * 20))
    assert builder.nbytes - before >= 20 * 500 * 6


@pytest.mark.parametrize("n_rows", [2**16, 2**16 + 1])
def test_row_numbers_take_the_smallest_type(n_rows: int) -> None:
    rows = TermVectors(
        ["a"], np.arange(n_rows + 1), np.zeros(n_rows, np.int32), np.ones(n_rows, np.float32)
    )
    builder = PostingsBuilder("count")
    builder.add(rows)
    arrays = builder.build()
    assert arrays["docids"].dtype == (np.uint16 if n_rows <= 2**16 else np.uint32)
    assert Postings(arrays).postings(0)[0].tolist() == list(range(n_rows))


def test_round_trip_through_a_file(tmp_path: Path) -> None:
    rows = [{"a": 1.0, "b": 0.25}, {}, {"b": 3.0}]
    file = io.BytesIO()
    write_arrays(file, built(rows))
    (tmp_path / "sparse").write_bytes(file.getvalue())
    postings = Postings(map_arrays(tmp_path / "sparse"), "sparse")
    assert content(postings) == rows


def test_arrays_that_disagree_are_damage() -> None:
    good = built([{"a": 1.0, "b": 2.0}, {"b": 1.0}])
    Postings(good)
    for name in good:
        rest = {key: array for key, array in good.items() if key != name}
        with pytest.raises(Damaged, match="field7"):
            Postings(rest, "field7")
        with pytest.raises(Damaged, match="field7"):
            Postings({**good, name: good[name][:-1]}, "field7")
        with pytest.raises(Damaged, match="field7"):
            Postings({**good, name: good[name].astype(np.float64)}, "field7")


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_garbled_numbers_are_damage_or_harmless(data: st.DataObject) -> None:
    arrays = built([{"a": 1.0, "b": 2.0}, {"b": 1.0, "c": 1.0}, {"a": 3.0}])
    name = data.draw(st.sampled_from(sorted(arrays)))
    garbled = arrays[name].copy()
    raw = garbled.view(np.uint8)
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    message = "sparse"
    try:
        postings = Postings({**arrays, name: garbled}, "sparse")
        everyone = np.ones(postings.n_rows, np.bool_)
        postings.document_frequency(postings.term_ids(["a", "b", "c"]), everyone)
        postings.rows(np.arange(3))
        merge_postings([postings], [everyone])
        postings.check()
    except Damaged as error:
        message = str(error)
    assert "sparse" in message


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [("docids", 0, 9), ("docids", 1, 0), ("fwd_terms", 0, 9), ("fwd_terms", 1, 0),
     ("indptr", 1, 9), ("fwd_indptr", 1, -1), ("term_offsets", 1, 9), ("terms", 0, 122)],
)  # fmt: skip
def test_check_finds(name: str, place: int, value: int) -> None:
    arrays = built([{"a": 1.0, "b": 2.0}, {"a": 2.0, "b": 1.0}])
    Postings(arrays).check()
    arrays[name] = arrays[name].copy()
    arrays[name][place] = value
    with pytest.raises(Damaged, match="sparse"):
        Postings(arrays, "sparse").check()
