"""From rows to an inverted file: how weights are stored, and how rows become posting lists.

Both are done by the C extension where there is one, else by numpy, with equal results but for
one thing: rows are put in order of similarity only by the extension.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .dictionary import packed_terms
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


def assemble(
    names: Sequence[str], rows: Rows, lengths: NDArray[np.float32] | None
) -> dict[str, NDArray[Any]]:
    """The arrays of a term field (see FORMAT.md) from rows whose terms `names` sorts.

    `lengths` (n,) are kept for counts only. Names without postings are left out. Raises ValueError
    for more than 2**32 postings.
    """
    n, m, kind = len(rows), len(names), rows.weights.dtype.kind
    if rows.indptr[-1] >= 2**32:
        raise ValueError(f"{rows.indptr[-1]} postings, a segment may hold 4294967295: flush sooner")
    order = _order(rows, m) if kind == "f" else None
    frequency, parts, tops = _count(rows, m, order)
    used = frequency > 0
    if not used.all():
        names = [name for name, is_used in zip(names, used.tolist(), strict=True) if is_used]
        renumbered = np.cumsum(used, dtype=np.int32) - np.int32(1)
        rows = Rows(rows.indptr, renumbered[rows.terms], rows.weights)
        frequency, parts, tops = frequency[used], parts[used], tops[used]
    is_dense = (frequency * DENSE_SHARE[kind] >= n) & (n >= DENSE_FROM)
    terms, term_sizes = packed_terms(names)
    lists = _Lists(n, frequency, is_dense, parts, tops, kind)
    arrays: dict[str, NDArray[Any]] = {
        "rows": np.array([n], np.int64),
        "terms": terms,
        **_packed("term_sizes", "term_starts", term_sizes),
    }
    fill = _fill if native() is None else _fill_natively
    arrays |= fill(rows, lists, order)
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
    parts: NDArray[np.int64]  # (m,) in how many parts a list's rows are
    tops: NDArray[np.uint16]  # (m,) the largest stored weight, as bits
    kind: str  # of the weights' dtype

    @property
    def n_windows(self) -> int:
        return -(-self.n_rows // WINDOW)

    def head(self) -> dict[str, NDArray[Any]]:
        """The arrays that follow from the sizes alone."""
        sparse = np.where(self.is_dense, 0, self.frequency)
        head = _packed("list_sizes", "list_starts", sparse)
        head["dense"] = np.flatnonzero(self.is_dense).astype(np.uint32)
        if self.n_rows > PART:
            parts = np.where(self.is_dense, 0, self.parts)
            head |= _packed("list_parts", "part_starts", parts)
        return head


def _packed(sizes_name: str, starts_name: str, sizes: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    narrow, starts = pack(sizes)
    return {sizes_name: narrow, starts_name: starts}


def _starts(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where entries of these sizes begin, (m,)."""
    return np.cumsum(sizes) - sizes


def _order(rows: Rows, m: int) -> NDArray[np.uint32] | None:
    """In which order rows shall be stored; None for their own."""
    kernels = native()
    if kernels is None or len(rows) < DENSE_FROM:
        return None
    order = np.empty(len(rows), np.uint32)
    kernels.order_rows(rows.indptr, rows.terms, rows.weights.view(np.uint16), m, order)
    return order


def _count(
    rows: Rows, m: int, order: NDArray[np.uint32] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint16]]:
    """The size of each term's list, in how many parts its rows are, and its largest weight."""
    frequency, parts = np.zeros(m, np.int64), np.zeros(m, np.int64)
    tops = np.zeros(m, np.uint16)
    bits = rows.weights.view(np.uint16)  # ascend as the weights do
    kernels = native()
    if kernels is not None:
        kernels.count_rows(rows.indptr, rows.terms, bits, order, frequency, parts, tops)
        return frequency, parts, tops
    frequency[:] = np.bincount(rows.terms, minlength=m)
    np.maximum.at(tops, rows.terms, bits)
    part = np.repeat(np.arange(len(rows)) // PART, np.diff(rows.indptr))
    pairs = np.unique(rows.terms.astype(np.int64) * (len(rows) // PART + 1) + part)
    parts[:] = np.bincount(pairs // (len(rows) // PART + 1), minlength=m)
    return frequency, parts, tops


def _fill_natively(
    rows: Rows, lists: _Lists, order: NDArray[np.uint32] | None
) -> dict[str, NDArray[Any]]:
    """The posting lists, by the extension."""
    head = lists.head()
    is_dense, n_windows = lists.is_dense, lists.n_windows
    d = len(head["dense"])
    place = np.where(is_dense, np.cumsum(is_dense) - 1, -1).astype(np.int32)
    dense, sparse = np.where(is_dense, lists.frequency, 0), np.where(is_dense, 0, lists.frequency)
    cursors = np.where(is_dense, _starts(dense), dense.sum() + _starts(sparse))
    ids, weights = np.empty((2, len(rows.terms)), np.uint16)
    windows = np.zeros((d, n_windows + 1), np.uint32)
    bounds = np.zeros((d, n_windows * BLOCKS), np.uint8)
    in_parts = "list_parts" in head
    part_sizes = np.where(is_dense, 0, lists.parts) if in_parts else np.zeros(0, np.int64)
    part_numbers, parts = np.zeros((2, int(part_sizes.sum())), np.uint16)
    kernels = native()
    assert kernels is not None
    kernels.fill_lists(
        rows.indptr,
        rows.terms,
        rows.weights.view(np.uint16),
        order,
        place,
        cursors,
        _starts(part_sizes) if in_parts else None,
        lists.tops if lists.kind == "f" else None,
        n_windows,
        windows,
        ids,
        weights,
        part_numbers,
        parts,
        bounds,
    )
    flat = windows.reshape(-1)  # counts, shifted by one in each list: they add up to offsets
    np.cumsum(flat, dtype=np.uint32, out=flat)
    if in_parts:
        head |= {"part_numbers": part_numbers, "part_sizes": parts}
    return {
        **head,
        "ids": ids,
        "weights": weights.view(rows.weights.dtype),
        "windows": windows,
        "bounds": bounds,
    }


def _fill(rows: Rows, lists: _Lists, order: NDArray[np.uint32] | None) -> dict[str, NDArray[Any]]:
    """The posting lists, by numpy: the obvious version."""
    assert order is None
    head = lists.head()
    frequency, is_dense, n_windows = lists.frequency, lists.is_dense, lists.n_windows
    places = np.repeat(np.arange(len(rows)), np.diff(rows.indptr))
    by_term = np.argsort(rows.terms, kind="stable")
    places, weights, term = places[by_term], rows.weights[by_term], rows.terms[by_term]
    inside, rest = is_dense[term], ~is_dense[term]
    dense = (np.cumsum(is_dense) - 1)[term[inside]]  # which dense list
    counts = np.bincount(dense * n_windows + places[inside] // WINDOW, minlength=0)
    windows = np.zeros((len(head["dense"]), n_windows + 1), np.uint32)
    padded = np.zeros(len(head["dense"]) * n_windows, np.int64)
    padded[: len(counts)] = counts
    windows[:, 1:] = np.cumsum(padded).reshape(len(head["dense"]), n_windows)
    sizes = frequency[is_dense]
    windows[:, 0] = np.cumsum(sizes) - sizes
    bounds = np.zeros((len(head["dense"]), n_windows * BLOCKS), np.uint8)
    codes = bound_codes(weights[inside], lists.tops[term[inside]])
    np.maximum.at(bounds, (dense, places[inside] // BLOCK), codes)
    if "list_parts" in head:
        n_parts = -(-lists.n_rows // PART)
        pair = term[rest].astype(np.int64) * n_parts + places[rest] // PART
        pairs, counted = np.unique(pair, return_counts=True)
        head["part_numbers"] = (pairs % n_parts).astype(np.uint16)
        head["part_sizes"] = (counted - 1).astype(np.uint16)
    return {
        **head,
        "ids": (np.concatenate([places[inside], places[rest]]) % PART).astype(np.uint16),
        "weights": np.concatenate([weights[inside], weights[rest]]),
        "windows": windows,
        "bounds": bounds,
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
