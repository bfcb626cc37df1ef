"""The inverted file against brute force over dictionaries; damage in it."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import postings_cases as cases
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from postings_cases import KINDS, ROWS, WAYS, Row, built, built_from, computed_by, content, stored

from indexes.arrays import map_arrays, write_arrays
from indexes.builder import PostingsBuilder
from indexes.errors import Damaged
from indexes.inversion import BLOCK, WINDOW, Kind, decode
from indexes.postings import Postings
from indexes.types import TermVectors


@settings(deadline=None)
@given(ROWS, KINDS, st.integers(1, 5), st.sampled_from(WAYS), st.sampled_from([1, 100]))
def test_lists_hold_what_was_added(
    rows: list[Row], kind: Kind, at_once: int, way: str, dense_from: int
) -> None:
    with computed_by(way, dense_from):
        postings = Postings(built(rows, kind, at_once))
    expected = stored(rows, kind)
    postings.check()
    assert postings.n_rows == len(rows)
    assert content(postings) == expected
    assert postings.terms() == sorted({term for row in expected for term in row})
    for number, term in enumerate(postings.terms()):
        assert postings.term_ids([term]).tolist() == [number]
        places, _ = postings.stored(number)
        assert places.tolist() == sorted(set(places.tolist()))
    if kind == "count":
        sums = [float(np.float32(sum(row.values()))) for row in rows]
        assert postings.lengths.tolist() == pytest.approx(sums)
    assert postings.nnz == sum(map(len, expected))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["count", "impact"])
def test_many_rows_have_dense_and_sparse_lists_in_several_parts(way: str, kind: Kind) -> None:
    """70,000 rows: two parts, 274 windows; term "all" everywhere, "few" and "rare" in part."""
    n = 70_000
    held = [np.arange(n), np.arange(0, n, 700), np.array([3, 65_535, 65_536, n - 1])]
    row = np.concatenate(held)
    column = np.repeat(np.arange(3, dtype=np.int32), [len(part) for part in held])
    by_row = np.argsort(row, kind="stable")
    indptr = np.append(0, np.cumsum(np.bincount(row, minlength=n)))
    values = (row[by_row] % 7 + 1).astype(np.float32)
    with computed_by(way):
        postings = Postings(
            built_from(TermVectors(["all", "few", "rare"], indptr, column[by_row], values), kind)
        )
    postings.check()
    assert (postings.n_parts, postings.n_windows) == (2, 274)
    assert postings.arrays["dense"].tolist() == [0]
    assert (postings.order is not None) == (kind == "impact" and way == "kernels")
    if postings.order is None:
        assert postings.arrays["list_parts"].tolist() == [0, 2, 2]
        assert postings.arrays["part_numbers"].tolist() == [0, 1, 0, 1]
        assert postings.arrays["part_sizes"].tolist() == [93, 5, 1, 1]  # less one
    for number, rows in enumerate(held):
        found, weights = postings.postings(number)
        by_row = np.argsort(found)
        assert found[by_row].tolist() == rows.tolist()
        assert weights[by_row].tolist() == (rows % 7 + 1).tolist()


def test_unknown_terms_are_minus_one() -> None:
    postings = Postings(built([{"b": 1.0, "d": 1.0}]))
    assert postings.term_ids(["a", "b", "c", "d", "e", ""]).tolist() == [-1, 0, -1, 1, -1, -1]
    assert Postings(built([])).term_ids(["a"]).tolist() == [-1]
    assert Postings(built([{}, {}])).sizes(np.array([-1], np.int32)).tolist() == [0]


@pytest.mark.parametrize("n_terms", [1, 63, 64, 65, 128, 129, 1000])
def test_every_term_is_found_among_many(n_terms: int) -> None:
    """Offsets are kept for every 64th term only; the absent ones fall between all others."""
    terms = sorted(f"t{i * 7919 % 100_003}" for i in range(n_terms))
    postings = Postings(built([dict.fromkeys(terms, 1.0), {terms[-1]: 2.0}]))
    assert postings.terms() == terms
    assert postings.term_ids(terms).tolist() == list(range(n_terms))
    assert postings.term_ids([f"{term}!" for term in terms]).tolist() == [-1] * n_terms
    sizes = [1] * (n_terms - 1) + [2]
    assert postings.sizes(np.arange(n_terms, dtype=np.int32)).tolist() == sizes


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dense_from", [1, 100])
def test_document_frequency_counts_the_living(way: str, dense_from: int) -> None:
    with computed_by(way, dense_from):
        postings = Postings(built([{"a": 1.0, "b": 1.0}, {"a": 2.0}, {"b": 1.0}, {"a": 1.0}]))
        numbers = postings.term_ids(["a", "x", "b"])
        assert postings.document_frequency(numbers).tolist() == [3, 0, 2]
        alive = np.array([False, True, True, True])
        assert postings.document_frequency(numbers, alive).tolist() == [2, 0, 1]
        fewer = np.array([False, False, True, True])
        assert postings.document_frequency(numbers, fewer).tolist() == [1, 0, 1]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 700), KINDS, st.sampled_from(WAYS))
def test_bounds_are_upper_bounds(seed: int, n: int, kind: Kind, way: str) -> None:
    """A code times its list's largest weight / 255 (or a count, 255 being any) is never less."""
    rows = cases.random_rows(seed, n, 6, 3, kind)
    rows.values[:: max(1, seed % 97)] *= 200  # some counts beyond 255
    with computed_by(way, 1):
        postings = Postings(built_from(rows, kind))
    arrays = postings.arrays
    assert len(arrays["dense"]) > 0 or postings.nnz == 0
    for place, number in enumerate(arrays["dense"].tolist()):
        places, weights = postings.stored(number)
        most = np.zeros(postings.n_windows * WINDOW // BLOCK, np.float64)
        np.maximum.at(most, places // BLOCK, decode(weights))
        codes = arrays["bounds"][place].astype(np.float64)
        if kind == "count":
            assert (codes == np.minimum(most, 255)).all()
            continue
        top = float(arrays["tops"][number])
        assert top == most.max()
        assert (codes * top / 255 >= most * (1 - 1e-6)).all()
        assert (codes * top / 255 < most + top / 254).all()  # and no more than a code too high


def test_lengths_do_not_saturate() -> None:
    lengths = Postings(built([{"the": 70000.0, "end": 1.0}], "count")).lengths
    assert (lengths.tolist(), lengths.dtype) == ([70001], np.float32)


@pytest.mark.parametrize(
    ("counts", "weights", "lengths"),
    [([255.0], np.uint8, np.uint8), ([256.0], np.uint16, np.uint16),
     ([200.0, 200.0], np.uint8, np.uint16), ([0.75], np.uint8, np.float32)],
)  # fmt: skip
def test_counts_and_lengths_take_the_smallest_type(
    counts: list[float], weights: Any, lengths: Any
) -> None:
    arrays = built([{f"t{i}": count for i, count in enumerate(counts)}], "count")
    assert (arrays["weights"].dtype, arrays["lengths"].dtype) == (weights, lengths)
    assert Postings(arrays).lengths.tolist() == [sum(counts)]


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("way", WAYS)
def test_illegal_weights_are_refused(weight: float, way: str) -> None:
    with computed_by(way), pytest.raises(ValueError, match="illegal weight"):
        PostingsBuilder("impact").add(TermVectors.of([{"a": 1.0, "b": weight}]))


def test_a_term_names_one_column() -> None:
    rows = TermVectors(["a", "a"], np.array([0, 2]), np.array([0, 1], np.int32), np.ones(2, "f4"))
    builder = PostingsBuilder("impact")
    for terms in (["a", "a"], ["b", "b"]):
        with pytest.raises(ValueError, match="two columns"):
            builder.add(replace(rows, terms=terms))
        builder.add(TermVectors.of([{"a": 1.0}]))
    assert Postings(builder.build()).terms() == ["a"]


def test_unused_columns_cost_nothing() -> None:
    builder = PostingsBuilder("impact")
    builder.add(TermVectors([str(i) for i in range(1000)], np.array([0, 1]), np.array([7], np.int32), np.ones(1, np.float32)))  # fmt: skip  # noqa: E501
    assert builder.nbytes < 1000
    assert Postings(builder.build()).terms() == ["7"]


def test_the_builder_accounts_for_its_memory() -> None:
    builder = PostingsBuilder("count")
    before = builder.nbytes
    builder.add(TermVectors.of([{f"term{i}": 1.0 for i in range(500)}] * 20))
    assert builder.nbytes - before >= 20 * 500 * 6


@pytest.mark.parametrize("dense_from", [1, 100])
def test_round_trip_through_a_file(tmp_path: Path, dense_from: int) -> None:
    rows = [{"a": 1.0, "b": 0.25}, {}, {"b": 3.0}]
    file = io.BytesIO()
    with computed_by(WAYS[-1], dense_from):
        write_arrays(file, built(rows))
    (tmp_path / "sparse").write_bytes(file.getvalue())
    postings = Postings(map_arrays(tmp_path / "sparse"), "sparse")
    postings.check()
    assert content(postings) == rows


# --- damage


@pytest.mark.parametrize("kind", ["count", "impact"])
def test_arrays_that_disagree_are_damage(kind: Kind) -> None:
    with computed_by(WAYS[-1], 1):
        good = built([{"a": 1.0, "b": 2.0}, {"b": 1.0}], kind)
    Postings(good)
    for name in good.keys() - {"order"}:
        rest = {key: array for key, array in good.items() if key != name}
        with pytest.raises(Damaged, match="field7"):
            Postings(rest, "field7")
    for name, array in good.items():
        with pytest.raises(Damaged, match="field7"):
            Postings({**good, name: array.astype(np.float64)}, "field7")
        with pytest.raises(Damaged, match="field7"):
            Postings({**good, name: np.zeros((), array.dtype)}, "field7")
        if len(array):
            with pytest.raises(Damaged, match="field7"):
                Postings({**good, name: array[:-1]}, "field7")


def sample(kind: Kind = "impact") -> cases.Arrays:
    """Two windows; a dense list ("a", in 299 of 300 rows) and a sparse one ("z", in two rows)."""
    rows: list[Row] = [{"a": i % 50 + 1.0} for i in range(299)] + [{}]
    rows[7]["z"], rows[290]["z"] = 3.0, 4.0
    with computed_by("numpy", 1):
        return built(rows, kind)


DAMAGES = [
    ("terms", 0, 123), ("term_sizes", 0, 2), ("term_starts", 0, 1), ("list_sizes", 0, 1),
    ("list_sizes", 1, 1), ("list_sizes", 1, 0), ("list_starts", 0, 1),
    ("dense", 0, 1), ("dense", 0, 7), ("windows", (0, 0), 1), ("windows", (0, 1), 999),
    ("windows", (0, 1), 255), ("windows", (0, 2), 298), ("ids", 0, 1), ("ids", 298, 300),
    ("ids", 299, 290), ("ids", 300, 300), ("weights", 0, 0), ("weights", 300, 0),
    ("bounds", (0, 0), 3), ("bounds", (0, 18), 0), ("tops", 0, 49), ("tops", 0, 51),
    ("tops", 1, 3), ("weights", 5, np.inf), ("weights", 5, -1),
]  # fmt: skip


@pytest.mark.parametrize(("name", "place", "value"), DAMAGES)
def test_check_finds(name: str, place: Any, value: float) -> None:
    arrays = sample()
    assert arrays["dense"].tolist() == [0]
    assert arrays["ids"].tolist() == [*range(299), 7, 290]
    Postings(arrays).check()
    arrays[name] = arrays[name].copy()
    assert arrays[name][place] != value
    arrays[name][place] = value
    with pytest.raises(Damaged, match="sparse"):
        Postings(arrays, "sparse").check()


@pytest.mark.parametrize("value", [-1, np.nan, np.inf])
def test_check_finds_impossible_lengths(value: float) -> None:
    arrays = sample("count")
    Postings(arrays).check()
    arrays["lengths"] = arrays["lengths"].astype(np.float32)
    arrays["lengths"][3] = value
    with pytest.raises(Damaged, match="bm25"):
        Postings(arrays, "bm25").check()


@pytest.mark.parametrize("order", [[0, 1, 1], [0, 1, 3]])
def test_check_finds_a_garbled_order(order: list[int]) -> None:
    arrays = built([{"a": 1.0}, {"b": 1.0}, {"a": 2.0}])
    Postings({**arrays, "order": np.array([2, 0, 1], np.uint32)}).check()
    with pytest.raises(Damaged, match="sparse"):
        Postings({**arrays, "order": np.array(order, np.uint32)}, "sparse").check()


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [("list_parts", 0, 1), ("list_parts", 0, 3), ("part_starts", 0, 1), ("part_numbers", 0, 1),
     ("part_numbers", 1, 0), ("part_numbers", 1, 2), ("part_sizes", 0, 0), ("part_sizes", 0, 9)],
)  # fmt: skip
def test_check_finds_garbled_parts(name: str, place: Any, value: int) -> None:
    n = 65_540
    indptr = np.zeros(n + 1, np.int64)
    indptr[[4, 6, n - 1]] = 1
    vectors = TermVectors(["a"], np.cumsum(indptr), np.zeros(3, np.int32), np.ones(3, np.float32))
    with computed_by("numpy"):
        arrays = built_from(vectors, "impact")
    assert arrays["part_numbers"].tolist() == [0, 1]
    assert arrays["part_sizes"].tolist() == [1, 0]
    Postings(arrays).check()
    arrays[name] = arrays[name].copy()
    arrays[name][place] = value
    with pytest.raises(Damaged, match="sparse"):
        Postings(arrays, "sparse").check()
