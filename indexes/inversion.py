"""From rows to an inverted file: how weights are stored, and how rows become posting lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["count", "impact"]

SMALLEST_IMPACT = 2.0**-14  # float16's smallest normal number; whatever is below is dropped
LARGEST = {"count": 65535.0, "impact": 65504.0}
STORED = {"count": np.dtype(np.uint16), "impact": np.dtype(np.float16)}


def encode(weights: NDArray[np.float32], kind: Kind) -> NDArray[Any]:
    """Weights as stored: counts as uint16 (rounded), impacts as float16; 0 is "drop me".

    Both saturate. Impacts below 2**-14 become 0, so that no subnormal number is stored.
    """
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
    names: Sequence[str],
    counts: NDArray[np.int64],
    terms: NDArray[np.int32],
    weights: NDArray[Any],
    lengths: NDArray[np.float32],
) -> dict[str, NDArray[Any]]:
    """All arrays from rows of `counts` terms each, numbered by `names`, sorted; unused names go.

    Transposed twice, terms ascend in each row. What is not needed any more is let go at once:
    at most two copies of the postings are held.
    """
    fwd_indptr = np.concatenate([[0], np.cumsum(counts)])
    indptr, docids, by_term = _transpose(fwd_indptr, terms, weights, len(names))
    del terms, weights
    used = np.diff(indptr) > 0
    indptr = np.append(indptr[:-1][used], indptr[-1])
    _, fwd_terms, by_row = _transpose(indptr, docids, by_term, len(lengths))
    words = [
        name.encode("utf-8", "surrogatepass")
        for name, is_used in zip(names, used.tolist(), strict=True)
        if is_used
    ]
    return {
        "terms": np.frombuffer(b"".join(words), np.uint8),
        "term_offsets": np.cumsum([0, *map(len, words)], dtype=np.int64),
        "indptr": indptr,
        "docids": _narrowed(docids, len(lengths)),
        "weights": by_term,
        "lengths": lengths,
        "fwd_indptr": fwd_indptr,
        "fwd_terms": _narrowed(fwd_terms, len(words)),
        "fwd_weights": by_row,
    }


def _transpose(
    indptr: NDArray[np.int64], indices: NDArray[np.int32], weights: NDArray[Any], n_columns: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[Any]]:
    """A CSR matrix by columns instead of rows, in linear time."""
    from scipy.sparse import csr_array  # at index time only: its import takes 0.4 s

    shape = (len(indptr) - 1, n_columns)
    if 0 in shape:
        return np.zeros(n_columns + 1, np.int64), indices, weights
    # subtle: scipy makes indices as wide as indptr, and copies them to do so
    narrow = indptr.astype(np.int32) if indptr[-1] < 2**31 else indptr
    matrix = csr_array((weights.view(np.uint16), indices, narrow), shape).tocsc()
    rows = matrix.indices.astype(np.int32, copy=False)
    return matrix.indptr.astype(np.int64), rows, matrix.data.view(weights.dtype)


def _narrowed(numbers: NDArray[np.int32], n: int) -> NDArray[Any]:
    """Numbers from 0..n-1 in the smallest type that the file knows for them."""
    return numbers.astype(np.uint16) if n <= 2**16 else numbers.view(np.uint32)


def joined(parts: list[NDArray[Any]], dtype: Any) -> NDArray[Any]:
    """The parts as one array; empties the list."""
    whole = np.concatenate([np.empty(0, dtype), *parts]).astype(dtype, copy=False)
    parts.clear()
    return whole
