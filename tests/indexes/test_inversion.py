"""Building an inverted file: by the extension, by numpy, by merging; in order of similarity."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from postings_cases import (
    KINDS,
    ROWS,
    WAYS,
    Arrays,
    Row,
    built,
    built_from,
    computed_by,
    content,
    needs_kernels,
    random_rows,
    stored,
)

from indexes import inversion
from indexes.builder import _kept_rows, _kept_rows_natively, merge_postings
from indexes.dictionary import Words
from indexes.errors import Damaged
from indexes.inversion import Kind, Rows, decode, encode, renumbered
from indexes.postings import Postings
from indexes.types import TermVectors


def assert_equal(some: Arrays, others: Arrays) -> None:
    """Byte for byte."""
    assert some.keys() == others.keys()
    for name, array in some.items():
        assert (array.dtype, array.shape) == (others[name].dtype, others[name].shape), name
        assert array.tobytes() == others[name].tobytes(), name


@needs_kernels
@settings(deadline=None)
@given(ROWS, KINDS, st.sampled_from([1, 10_000]))
def test_both_ways_build_the_same(rows: list[Row], kind: Kind, dense_from: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inversion, "_order", lambda *_: None)
        arrays = []
        for way in WAYS:
            with computed_by(way, dense_from):
                arrays.append(built(rows, kind))
    assert_equal(*arrays)


@needs_kernels
@pytest.mark.parametrize("kind", ["count", "impact"])
@pytest.mark.parametrize("n", [255, 256, 257, 5000, 65_536, 65_537])
def test_both_ways_build_the_same_windows_and_parts(n: int, kind: Kind) -> None:
    rows = random_rows(n, n, 150, 4, kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inversion, "_order", lambda *_: None)
        arrays = []
        for way in WAYS:
            with computed_by(way, 1):
                arrays.append(built_from(rows, kind))
    assert 0 < len(arrays[0]["dense"]) < len(arrays[0]["list_sizes"])
    assert ("list_parts" in arrays[0]) == (n > 65_536)
    assert_equal(*arrays)


@needs_kernels
def test_both_ways_store_the_same_weights() -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 0x7F7FFFFF, 100_000, np.uint32, endpoint=True)
    near_halves = rng.integers(0x38000000, 0x477FF000, 100_000, np.uint32, endpoint=True)
    near_halves = near_halves & ~np.uint32(0xFFF)  # ties among them
    special = np.array([0, 2.0**-14, 65504, 65519, 65520, 65535, 65535.5, 0.5, 1.5], np.float32)
    weights = np.concatenate([bits, near_halves]).view(np.float32)
    weights = np.concatenate([weights, special, np.nextafter(special, np.float32(1e-45))])
    kinds: list[Kind] = ["count", "impact"]
    for kind in kinds:
        found = []
        for way in WAYS:
            with computed_by(way):
                found.append(encode(weights, kind))
        assert found[0].tobytes() == found[1].tobytes()


@pytest.mark.parametrize("way", WAYS)
def test_weights_saturate_and_round(way: str) -> None:
    with computed_by(way):
        counts = encode(np.array([0, 0.4, 1, 2.6, 70000], np.float32), "count")
        assert decode(counts).tolist() == [0, 0, 1, 3, 65535]
        impacts = encode(np.array([0, 1e-9, 2.0**-14, 1, 1e9], np.float32), "impact")
        assert decode(impacts).tolist() == [0, 0, 2.0**-14, 1, 65504]


def test_decoding_equals_astype_for_every_normal_half() -> None:
    halves = np.arange(0x0400, 0x7C00, dtype=np.uint16).view(np.float16)
    assert np.array_equal(decode(halves), halves.astype(np.float32))
    assert decode(np.zeros(1, np.float16)).tolist() == [0]


@pytest.mark.parametrize("way", WAYS)
def test_too_many_postings_are_refused(way: str) -> None:
    rows = Rows(np.array([0, 2**32]), np.empty(0, np.int32), np.empty(0, np.uint16))
    with computed_by(way), pytest.raises(ValueError, match="flush sooner"):
        inversion.assemble(Words.of([]), rows, None)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("column", [-1, 3])
def test_columns_out_of_bounds_are_refused(way: str, column: int) -> None:
    numbers = np.array([5, 6, 7], np.int32)
    with computed_by(way):
        assert renumbered(np.array([2, 0], np.int32), numbers).tolist() == [7, 5]
        with pytest.raises(IndexError):
            renumbered(np.array([0, column], np.int32), numbers)


# --- order of similarity


def shuffled(rows: TermVectors, seed: int) -> TermVectors:
    """The same rows, each one's entries in another order."""
    row = np.repeat(np.arange(len(rows)), np.diff(rows.indptr))
    by = np.lexsort([np.random.default_rng(seed).random(len(row)), row])
    return TermVectors(rows.terms, rows.indptr, rows.indices[by], rows.values[by])


@needs_kernels
@pytest.mark.parametrize(("n", "levels"), [(100, 0), (5000, 0), (5000, 1), (9000, 2)])
def test_the_order_is_a_permutation_and_the_same_for_the_same_rows(n: int, levels: int) -> None:
    rows = random_rows(n, n, 300, 10, "impact", levels=levels)
    with computed_by("kernels", 1):
        arrays = built_from(rows, "impact")
        again = built_from(shuffled(rows, 1), "impact")
    assert sorted(arrays["order"].tolist()) == list(range(n))
    assert_equal(arrays, again)


@needs_kernels
def test_the_order_puts_similar_rows_together() -> None:
    """Twenty topics in turn: afterwards most neighbours share one."""
    rows = TermVectors.of([{f"topic{i % 20}": 2.0, f"word{i}": 0.1} for i in range(6000)])
    with computed_by("kernels", 1):
        topics = built_from(rows, "impact")["order"] % 20
    assert np.count_nonzero(np.diff(topics)) < 200


def test_counts_and_small_fields_keep_their_order() -> None:
    assert "order" not in built([{"a": 1.0}] * 3, "impact")
    with computed_by(WAYS[-1], 1):
        assert "order" not in built([{"a": 1.0}] * 3, "count")
    with computed_by("numpy", 1):
        assert "order" not in built([{"a": 1.0}] * 3, "impact")


@needs_kernels
@settings(deadline=None)
@given(ROWS)
def test_an_order_hides_nothing(rows: list[Row]) -> None:
    with computed_by("kernels", 0):
        arrays = built(rows, "impact")
    postings = Postings(arrays)
    postings.check()
    assert len(arrays["order"]) == len(rows)
    assert content(postings) == stored(rows, "impact")


# --- merging


PARTS = st.lists(
    st.tuples(ROWS, st.randoms(use_true_random=False)), min_size=1, max_size=4
)  # rows, and who keeps which


@settings(deadline=None)
@given(PARTS, KINDS, st.sampled_from(WAYS), st.sampled_from([1, 10_000]))
def test_merging_equals_building_from_the_kept_rows(
    parts: list[Any], kind: Kind, way: str, dense_from: int
) -> None:
    keep = [np.array([random.random() < 0.6 for _ in rows], np.bool_) for rows, random in parts]
    kept = [
        row
        for (rows, _), mask in zip(parts, keep, strict=True)
        for row, is_kept in zip(rows, mask, strict=True)
        if is_kept
    ]
    with computed_by(way, dense_from):
        merged = merge_postings([Postings(built(rows, kind)) for rows, _ in parts], keep)
        assert_equal(merged, built(kept, kind))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["count", "impact"])
def test_merging_large_segments_equals_building(way: str, kind: Kind) -> None:
    """Two segments of 40,000 rows become one of two parts, all with dense lists."""
    rows = random_rows(7, 80_000, 150, 3, kind)
    keep = np.random.default_rng(8).random(80_000) < 0.9
    with computed_by(way):
        parts = [Postings(built_from(rows.select(i, i + 40_000), kind)) for i in (0, 40_000)]
        assert all(len(part.arrays["dense"]) for part in parts)
        merged = merge_postings(parts, np.split(keep, 2))
        expected = built_from(rows.take(np.flatnonzero(keep)), kind)
    assert "part_starts" in expected
    assert_equal(merged, expected)


@needs_kernels
@settings(deadline=None)
@given(PARTS, KINDS, st.sampled_from([0, 10_000]))
def test_the_extension_gathers_the_rows_that_scipy_gathers(
    parts: list[Any], kind: Kind, dense_from: int
) -> None:
    with computed_by("kernels", dense_from):
        opened = [Postings(built(rows, kind)) for rows, _ in parts]
    keep = [np.array([random.random() < 0.6 for _ in rows], np.bool_) for rows, random in parts]
    numbers = [np.arange(part.n_terms, dtype=np.int32)[::-1].copy() for part in opened]
    found, expected = (
        gather(opened, keep, numbers) for gather in (_kept_rows_natively, _kept_rows)
    )
    assert found.indptr.tolist() == expected.indptr.tolist()
    for i, (start, stop) in enumerate(pairwise(found.indptr.tolist())):
        entries = [
            sorted(zip(rows.terms[start:stop].tolist(), rows.weights[start:stop], strict=True))
            for rows in (found, expected)
        ]
        assert entries[0] == entries[1], i


def test_nothing_merges_into_nothing() -> None:
    assert Postings(merge_postings([], [])).n_rows == 0


@needs_kernels
def test_merging_refuses_an_order_that_names_a_row_twice() -> None:
    with computed_by("kernels", 0):
        arrays = built([{"a": 1.0}, {"b": 1.0}], "impact")
        arrays["order"][:] = 0
        with pytest.raises(Damaged, match="order"):
            merge_postings([Postings(arrays)], [np.ones(2, np.bool_)])


def test_kinds_do_not_mix() -> None:
    parts = [Postings(built([{"a": 1.0}], "count")), Postings(built([{"a": 1.0}], "impact"))]
    with pytest.raises(ValueError, match="counts and impacts"):
        merge_postings(parts, [np.ones(1, np.bool_)] * 2)
