"""From rows to an inverted file: how weights are stored, and how rows become posting lists.

Both are done by the C extension where there is one, else by numpy, with equal results but for
one thing: rows are put in order of similarity only by the extension.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .dictionary import Words
from .kernels import native
from .offsets import pack

Kind = Literal["count", "impact"]

SMALLEST_IMPACT = 2.0**-14  # float16's smallest normal number; whatever is below is dropped
LARGEST = {"count": 65535.0, "impact": 65504.0}
STORED = {"count": np.dtype(np.uint16), "impact": np.dtype(np.float16)}

WINDOW, BLOCK, PART = 256, 16, 65536  # rows, as in native/lists.h
BLOCKS = WINDOW // BLOCK  # a window's
DENSE_FROM = 2**15  # rows; below, searching every posting is as fast
DENSE_SHARE = {"f": 64, "u": 32}  # a list is dense if it holds one in so many rows

KIND_NUMBERS = {"f": 0, "u1": 1, "u2": 2}  # HALF, BYTE, SHORT in native/lists.h


@dataclass(frozen=True)
class Rows:
    """Rows as CSR: row i holds terms[indptr[i]:indptr[i+1]] in any order, with stored weights."""

    indptr: NDArray[np.int64]  # (n + 1,)
    terms: NDArray[np.int32]  # (nnz,) term numbers
    weights: NDArray[Any]  # (nnz,) uint16 or float16

    def __len__(self) -> int:
        return len(self.indptr) - 1


def encode(weights: NDArray[np.float32], kind: Kind) -> NDArray[Any]:
    """Weights as stored: counts as uint16 (rounded), impacts as float16; 0 is "drop me".

    Both saturate. Impacts below 2**-14 become 0, so that no subnormal number is stored. Raises
    ValueError for a weight that is negative or not a number.
    """
    stored = np.empty(len(weights), STORED[kind])
    kernels = native()
    if kernels is not None:
        weights = np.ascontiguousarray(weights, np.float32)
        illegal = kernels.encode_weights(weights, kind == "count", stored.view(np.uint16))
    else:
        legal = (weights >= 0) & (weights < np.inf)
        illegal = -1 if legal.all() else int(np.argmin(legal))
    if illegal >= 0:
        raise ValueError(f"illegal weight {weights[illegal]}, must be a number >= 0")
    if kernels is not None:
        return stored
    capped = np.minimum(weights, np.float32(LARGEST[kind]))
    if kind == "count":
        return np.rint(capped).astype(np.uint16)
    return np.where(capped < SMALLEST_IMPACT, np.float32(0), capped).astype(np.float16)


def decode(stored: NDArray[Any]) -> NDArray[np.float32]:
    """Stored weights as float32, exactly."""
    if stored.dtype.kind == "u":
        return stored.astype(np.float32)
    # subtle: three times faster than astype; right for zero and for normal numbers >= 0 only.
    # A half's exponent and fraction, moved to a float's places, lack 112 in the exponent.
    bits = stored.view(np.uint16).astype(np.uint32) << np.uint32(13)
    return bits.view(np.float32) * np.float32(2.0**112)


def renumbered(
    terms: NDArray[np.int32], numbers: NDArray[np.int32], out: NDArray[np.int32] | None = None
) -> NDArray[np.int32]:
    """The numbers of terms: `numbers[terms]`. Raises IndexError for a term out of bounds.

    `out`: where to write them; it may be `terms`, which nobody needs any more then.
    """
    kernels = native()
    if kernels is None:
        if terms.min(initial=0) < 0:
            raise IndexError("a column is out of bounds")
        return numbers[terms]
    made = np.empty(len(terms), np.int32) if out is None else out
    kernels.renumber(terms, numbers, made)
    return made


def assemble(
    words: Words, rows: Rows, lengths: NDArray[np.float32] | None
) -> dict[str, NDArray[Any]]:
    """The arrays of a term field (see FORMAT.md) from rows of terms that ascend with their numbers.

    `lengths` (n,) are kept for counts only; `rows.terms` may be written over. Terms without
    postings are left out. Raises ValueError for 2**32 postings or more.
    """
    n, kind = len(rows), rows.weights.dtype.kind
    if rows.indptr[-1] >= 2**32:
        raise ValueError(f"{rows.indptr[-1]} postings, a segment may hold 4294967295: flush sooner")
    frequency, tops = _count(rows, len(words))
    used = frequency > 0
    if not used.all():
        words = words.marked(used)
        places = np.cumsum(used, dtype=np.int32) - np.int32(1)
        rows = Rows(rows.indptr, renumbered(rows.terms, places, rows.terms), rows.weights)
        frequency, tops = frequency[used], tops[used]
    is_dense = (frequency * DENSE_SHARE[kind] >= n) & (n >= DENSE_FROM)
    arrays: dict[str, NDArray[Any]] = {
        "rows": np.array([n], np.int64),
        "terms": words.text,
        **_packed("term_sizes", "term_starts", words.sizes),
        **_packed("list_sizes", "list_starts", np.where(is_dense, 0, frequency)),
        "dense": np.flatnonzero(is_dense).astype(np.uint32),
    }
    order = _order(rows, len(words)) if kind == "f" else None
    fill = _fill if native() is None else _fill_natively
    arrays |= fill(rows, _Lists(n, frequency, is_dense, tops, kind), order)
    if kind == "u":
        arrays["weights"] = _narrowed(arrays["weights"])
        assert lengths is not None
        arrays["lengths"] = _narrowed(lengths)
    else:
        arrays["tops"] = tops.view(np.float16)
    if order is not None:
        arrays["order"] = order
    return arrays


@dataclass(frozen=True)
class _Lists:
    """The sizes of the posting lists to be filled."""

    n_rows: int
    frequency: NDArray[np.int64]  # (m,)
    is_dense: NDArray[np.bool_]  # (m,)
    tops: NDArray[np.uint16]  # (m,) the largest stored weight, as bits
    kind: str  # of the weights' dtype

    @property
    def n_windows(self) -> int:
        return -(-self.n_rows // WINDOW)

    @property
    def n_parts(self) -> int:
        return -(-self.n_rows // PART)

    @property
    def begins(self) -> NDArray[np.int64]:
        """Where each list begins, (m,): dense ones come first."""
        dense = np.where(self.is_dense, self.frequency, 0)
        sparse = self.frequency - dense
        starts: NDArray[np.int64] = np.where(
            self.is_dense, np.cumsum(dense) - dense, dense.sum() + np.cumsum(sparse) - sparse
        )
        return starts


def _packed(sizes_name: str, starts_name: str, sizes: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    narrow, starts = pack(sizes)
    return {sizes_name: narrow, starts_name: starts}


def _order(rows: Rows, m: int) -> NDArray[np.uint32] | None:
    """In which order rows shall be stored; None for their own."""
    kernels = native()
    if kernels is None or len(rows) < DENSE_FROM:
        return None
    order = np.empty(len(rows), np.uint32)
    kernels.order_rows(rows.indptr, rows.terms, rows.weights.view(np.uint16), m, order)
    return order


def _count(rows: Rows, m: int) -> tuple[NDArray[np.int64], NDArray[np.uint16]]:
    """The size of each term's list, and its largest weight."""
    frequency, tops = np.zeros(m, np.int64), np.zeros(m, np.uint16)
    bits = rows.weights.view(np.uint16)  # ascend as the weights do
    kernels = native()
    if kernels is not None:
        kernels.count_rows(rows.terms, bits, frequency, tops)
    else:
        frequency[:] = np.bincount(rows.terms, minlength=m)
        np.maximum.at(tops, rows.terms, bits)
    return frequency, tops


def _fill_natively(
    rows: Rows, lists: _Lists, order: NDArray[np.uint32] | None
) -> dict[str, NDArray[Any]]:
    """The posting lists, by the extension: part after part, dense lists and sparse ones alike."""
    kernels = native()
    assert kernels is not None
    cursors, dense = lists.begins, np.flatnonzero(lists.is_dense)
    ends = np.empty((lists.n_parts + 1, len(dense)), np.int64)
    ends[0] = cursors[dense]
    # subtle: not one array, of which either would keep the other
    ids, weights = (np.empty(len(rows.terms), np.uint16) for _ in range(2))
    bits = rows.weights.view(np.uint16)
    found = []  # the terms of a part's sparse lists, and their sizes there
    for part in range(lists.n_parts):
        before = cursors.copy()
        span = part * PART, min(lists.n_rows, (part + 1) * PART)
        kernels.place_rows(rows.indptr, rows.terms, bits, order, *span, cursors, ids, weights)
        ends[part + 1] = cursors[dense]
        if lists.n_parts > 1:
            sizes = np.where(lists.is_dense, 0, cursors - before)
            terms = np.flatnonzero(sizes)
            found.append((terms, np.full(len(terms), part), sizes[terms]))
    windows = np.empty((len(dense), lists.n_windows + 1), np.uint32)
    bounds = np.empty((len(dense), lists.n_windows * BLOCKS), np.uint8)
    tops = lists.tops[dense] if lists.kind == "f" else None
    ends = np.ascontiguousarray(ends.T)
    kernels.bound_lists(lists.n_windows, ids, weights, ends, tops, windows, bounds)
    return {
        **(_parts(lists, *map(np.concatenate, zip(*found, strict=True))) if found else {}),
        "ids": ids,
        "weights": weights.view(rows.weights.dtype),
        "windows": windows,
        "bounds": bounds,
    }


def _fill(rows: Rows, lists: _Lists, order: NDArray[np.uint32] | None) -> dict[str, NDArray[Any]]:
    """The posting lists, by numpy: the obvious version."""
    assert order is None
    is_dense, n_windows = lists.is_dense, lists.n_windows
    d = np.count_nonzero(is_dense)
    places = np.repeat(np.arange(len(rows)), np.diff(rows.indptr))
    by_term = np.argsort(rows.terms, kind="stable")
    places, weights, term = places[by_term], rows.weights[by_term], rows.terms[by_term]
    inside, rest = is_dense[term], ~is_dense[term]
    dense = (np.cumsum(is_dense) - 1)[term[inside]]  # which dense list
    counts = np.bincount(dense * n_windows + places[inside] // WINDOW, minlength=d * n_windows)
    windows = np.zeros((d, n_windows + 1), np.uint32)
    windows[:, 1:] = np.cumsum(counts).reshape(d, n_windows)
    windows[:, 0] = lists.begins[is_dense]
    bounds = np.zeros((d, n_windows * BLOCKS), np.uint8)
    codes = bound_codes(weights[inside], lists.tops[term[inside]])
    np.maximum.at(bounds, (dense, places[inside] // BLOCK), codes)
    parts: dict[str, NDArray[Any]] = {}
    if lists.n_parts > 1:
        pair = term[rest].astype(np.int64) * lists.n_parts + places[rest] // PART
        pairs, sizes = np.unique(pair, return_counts=True)
        parts = _parts(lists, pairs // lists.n_parts, pairs % lists.n_parts, sizes)
    return {
        **parts,
        "ids": (np.concatenate([places[inside], places[rest]]) % PART).astype(np.uint16),
        "weights": np.concatenate([weights[inside], weights[rest]]),
        "windows": windows,
        "bounds": bounds,
    }


def _parts(
    lists: _Lists, terms: NDArray[np.int64], numbers: NDArray[np.int64], sizes: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    """The parts of sparse lists: of which term each is, its number, and how many postings."""
    by_term = np.argsort(terms, kind="stable")
    return {
        **_packed("list_parts", "part_starts", np.bincount(terms, minlength=len(lists.frequency))),
        "part_numbers": numbers[by_term].astype(np.uint16),
        "part_sizes": (sizes[by_term] - 1).astype(np.uint16),
    }


def bound_codes(weights: NDArray[Any], tops: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Weights as a bound's code: a count, or an impact's share of its list's largest, up."""
    codes = weights
    if weights.dtype.kind == "f":
        codes = np.ceil(decode(weights) * (np.float32(255) / decode(tops.view(np.float16))))
    narrow = np.empty(len(weights), np.uint8)
    narrow[:] = np.minimum(codes, 255)
    return narrow


def _narrowed(numbers: NDArray[Any]) -> NDArray[Any]:
    """Numbers >= 0 in the smallest of uint8, uint16 and their own type that holds them exactly."""
    if numbers.dtype.kind == "f" and not (np.rint(numbers) == numbers).all():
        return numbers
    most = numbers.max(initial=0)
    return numbers.astype(np.uint8 if most < 2**8 else np.uint16) if most < 2**16 else numbers


def joined(parts: list[NDArray[Any]], dtype: Any) -> NDArray[Any]:
    """The parts as one array; empties the list."""
    whole = np.concatenate([np.empty(0, dtype), *parts]).astype(dtype, copy=False)
    parts.clear()
    return whole
