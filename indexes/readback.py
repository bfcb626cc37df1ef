"""Rows as they are stored, read back: what an encoder made once need not be made again.

A row read back and added again is stored as the same bits: vectors are kept as they came, and a
weight that was rounded when it was stored is not rounded any further.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .errors import Damaged
from .inversion import PART, WINDOW, decode
from .manifest import FieldSpec, VectorField
from .numbering import Numbering
from .postings import Postings, damage_named
from .segment import Segment
from .types import TermVectors
from .vectors import Vectors

AT_ONCE = 2**22  # postings looked through in one go

Integers = NDArray[np.int64]


def rows_of(
    spec: FieldSpec, segments: Sequence[Segment], numbers: Numbering, ids: Integers
) -> TermVectors | NDArray[np.float32]:
    """The rows of a field of some segments (m,), each named once, in the order asked for."""
    if isinstance(spec, VectorField):
        vectors = np.empty((len(ids), spec.dim), np.float32)
        for number, places, local in numbers.split(ids, spec.unit):
            vectors[places] = vector_rows(segments[number].vectors[spec.name], local)
        return vectors
    blocks, order = [], [np.empty(0, np.int64)]
    for number, places, local in numbers.split(ids, spec.unit):
        blocks.append(term_rows(segments[number].postings[spec.name], local))
        order.append(places)
    return stacked(blocks).take(np.argsort(np.concatenate(order)))


def vector_rows(vectors: Vectors, rows: Integers) -> NDArray[np.float32]:
    """The vectors of rows (m,), float32 (m, dim). Raises Damaged where a length is not finite."""
    found = vectors.data[rows]
    vectors.check_finite(np.einsum("ij,ij->i", found, found))
    return found


def term_rows(postings: Postings, rows: Integers) -> TermVectors:
    """The terms and weights of rows (m,), each row named once, as they are stored.

    There are no forward rows, so all postings are looked through once, some ten nanoseconds
    each: ask for many rows together. Raises Damaged where the lists are garbled.
    """
    with damage_named(postings.name):
        places = rows if postings.places is None else postings.places[rows]
        row_of = np.full(postings.n_rows, -1, np.int64)
        row_of[places] = np.arange(len(rows))
        found = _postings_in(postings, row_of >= 0)
        terms = _terms_at(postings, found)
        owners = row_of[_places_at(postings, found)]
        stored = postings.arrays["weights"][found]
        weights = decode(stored)
    # subtle: not `weights`, which of a negative number of 16 bits are anything
    if not (np.isfinite(stored) & (stored > 0)).all():
        raise Damaged(f"{postings.name}: a weight is not a number above 0")
    by_row = np.lexsort((terms, owners))
    if (np.diff(owners[by_row] * postings.n_terms + terms[by_row]) == 0).any():
        raise Damaged(f"{postings.name}: a row holds a term twice")
    used, columns = np.unique(terms, return_inverse=True)
    words = postings.terms()
    indptr = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(np.bincount(owners, minlength=len(rows)), out=indptr[1:])
    return TermVectors(
        [words[term] for term in used.tolist()],
        indptr,
        columns.reshape(-1)[by_row].astype(np.int32),
        weights[by_row],
    )


def slow_term_rows(postings: Postings, rows: Integers) -> TermVectors:
    """The slow obvious version of `term_rows`, list after list: the tests' oracle."""
    asked = {row: place for place, row in enumerate(rows.tolist())}
    result: list[dict[str, float]] = [{} for _ in asked]
    for number, term in enumerate(postings.terms()):
        rows_of_term, weights = postings.postings(number)
        for row, weight in zip(rows_of_term.tolist(), weights.tolist(), strict=True):
            if row in asked:
                result[asked[row]][term] = weight
    return TermVectors.of(result)


def _postings_in(postings: Postings, wanted: NDArray[np.bool_]) -> Integers:
    """Which postings, counted through all lists, lie at a wanted place (n_rows,)."""
    parts = _parts(postings)
    found = [
        start + np.flatnonzero(wanted[_places(postings, slice(start, start + AT_ONCE), parts)])
        for start in range(0, postings.nnz, AT_ONCE)
    ]
    return np.concatenate([np.empty(0, np.int64), *found])


def _places_at(postings: Postings, found: Integers) -> Integers:
    return _places(postings, found, _parts(postings)).astype(np.int64)


def _places(
    postings: Postings, which: slice | Integers, parts: NDArray[np.uint16] | None
) -> NDArray[np.uint16] | Integers:
    """The places of some postings."""
    ids: NDArray[np.uint16] = postings.arrays["ids"][which]
    if parts is None:
        return ids
    places: Integers = parts[which].astype(np.int64) * PART + ids
    return places


def _parts(postings: Postings) -> NDArray[np.uint16] | None:
    """Which part of 65,536 places each posting lies in; None where there is one part only."""
    if postings.n_parts <= 1:
        return None
    arrays = postings.arrays
    bounds: Integers = arrays["windows"].astype(np.int64)
    windows = bounds[:, 1:] - bounds[:, :-1]
    part_of = (np.arange(postings.n_windows) // (PART // WINDOW)).astype(np.uint16)
    dense = np.repeat(np.tile(part_of, len(windows)), windows.reshape(-1))
    sizes = arrays["part_sizes"].astype(np.int64) + 1
    parts = np.concatenate([dense, np.repeat(arrays["part_numbers"], sizes)])
    if len(parts) != postings.nnz:
        raise ValueError("sizes contradict each other")
    return parts


def _terms_at(postings: Postings, found: Integers) -> Integers:
    """The term of each posting (counted through all lists, ascending)."""
    arrays = postings.arrays
    leading = int(np.searchsorted(found, postings.skip))  # in dense lists, which come first
    ends = arrays["windows"][:, -1].astype(np.int64)
    dense = arrays["dense"].astype(np.int64)[np.searchsorted(ends, found[:leading], "right")]
    ends = np.cumsum(arrays["list_sizes"], dtype=np.int64) + postings.skip
    sparse = np.searchsorted(ends, found[leading:], "right")
    terms = np.concatenate([dense, sparse])
    if len(terms) and terms.max() >= postings.n_terms:
        raise ValueError("lists are shorter than they should be")
    return terms


def stacked(blocks: Sequence[TermVectors]) -> TermVectors:
    """The rows of all blocks one after the other, over one set of columns.

    >>> stacked([TermVectors.of([{"a": 1.0}]), TermVectors.of([{"b": 2.0, "a": 3.0}])]).row(1)
    {'b': 2.0, 'a': 3.0}
    """
    columns: dict[str, int] = {}
    numbers = [
        np.fromiter((columns.setdefault(t, len(columns)) for t in block.terms), np.int32)
        for block in blocks
    ]
    starts = np.cumsum([0, *(len(block.indices) for block in blocks)])
    return TermVectors(
        list(columns),
        np.concatenate(
            [np.zeros(1, np.int64)]
            + [block.indptr[1:] + start for block, start in zip(blocks, starts, strict=False)]
        ),
        np.concatenate(
            [np.empty(0, np.int32)]
            + [number[block.indices] for number, block in zip(numbers, blocks, strict=True)]
        ),
        np.concatenate([np.empty(0, np.float32), *(block.values for block in blocks)]),
    )
