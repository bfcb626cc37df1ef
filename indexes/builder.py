"""Makes the arrays of a term field: from rows collected in memory, or from merged segments."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dictionary import Words
from .inversion import STORED, Kind, Rows, assemble, encode, joined, renumbered
from .kernels import native
from .postings import Postings, damage_named
from .types import TermVectors

BYTES_PER_TERM = 120  # what a dictionary entry and its string take in Python, about
UNKNOWN = -1


class PostingsBuilder:
    """Collects rows of one term field in memory and turns them into the arrays of a segment."""

    def __init__(self, kind: Kind) -> None:
        self._kind: Kind = kind
        self._numbers: dict[str, int] = {}  # in order of first appearance
        self._text_bytes = 0
        self._columns: Sequence[str] = ()  # of the rows added last, and their numbers
        self._number_of = np.empty(0, np.int32)
        self._terms: list[NDArray[np.int32]] = []
        self._weights: list[NDArray[Any]] = []
        self._counts: list[NDArray[np.int64]] = []  # entries a row
        self._lengths: list[NDArray[np.float32]] = []
        self._bytes = 0
        self.n_rows = 0

    @property
    def nbytes(self) -> int:
        """Bytes held now, about; `build` takes twice as much for a moment."""
        return self._bytes + len(self._numbers) * BYTES_PER_TERM + self._text_bytes

    def add(self, rows: TermVectors) -> None:
        """Append rows. Weights that round to zero are dropped, too large ones are capped.

        Raises ValueError for weights that are negative or not numbers, and for a term that
        names two columns.
        """
        if len(rows) == 0:
            return
        values = np.ascontiguousarray(rows.values, np.float32)
        stored = encode(values, self._kind)
        columns = np.asarray(rows.indices, np.int32)
        ends = rows.indptr
        if stored.view(np.uint16).min(initial=1) == 0:
            kept = stored.view(np.uint16) > 0
            ends = np.append(0, np.cumsum(kept))[ends]
            columns, stored = columns[kept], stored[kept]
        self._terms.append(self._number(rows.terms, columns))
        self._weights.append(stored)
        self._counts.append(np.diff(ends))
        if self._kind == "count":
            padded = np.append(values, np.float32(0)).astype(np.float64)
            sums = np.add.reduceat(padded, rows.indptr[:-1])
            sums[np.diff(rows.indptr) == 0] = 0
            self._lengths.append(sums.astype(np.float32))
        self._bytes += len(columns) * 6 + len(rows) * 12
        self.n_rows += len(rows)

    def build(self) -> dict[str, NDArray[Any]]:
        """The segment's arrays (see FORMAT.md), for `write_arrays` and `Postings`.

        Empties the builder. Raises ValueError for more postings than a segment may hold.
        """
        words, numbers = Words.of(self._numbers).distinct(native())
        terms = joined(self._terms, np.int32)
        rows = Rows(
            np.append(0, np.cumsum(joined(self._counts, np.int64))),
            renumbered(terms, numbers, terms),
            joined(self._weights, STORED[self._kind]),
        )
        lengths = joined(self._lengths, np.float32)
        self.__init__(self._kind)  # type: ignore[misc]
        return assemble(words, rows, lengths)

    def _number(self, terms: Sequence[str], columns: NDArray[np.int32]) -> NDArray[np.int32]:
        """The builder's number of each column's term; only terms in use are taken in."""
        if terms is not self._columns:
            self._columns = terms
            self._number_of = np.full(len(terms), UNKNOWN, np.int32)
        numbers = renumbered(columns, self._number_of)
        if numbers.min(initial=0) == UNKNOWN:
            met = np.zeros(len(terms), np.bool_)
            met[columns] = True
            self._take_in(np.flatnonzero(met & (self._number_of == UNKNOWN)))
            numbers = renumbered(columns, self._number_of)
        return numbers

    def _take_in(self, columns: NDArray[np.int64]) -> None:
        """Number the terms of columns that were not met before."""
        words = [self._columns[column] for column in columns.tolist()]
        found = np.fromiter(map(self._numbers.get, words, repeat(UNKNOWN)), np.int32, len(words))
        fresh = np.flatnonzero(found == UNKNOWN)
        new = [words[place] for place in fresh.tolist()]
        before = len(self._numbers)
        found[fresh] = np.arange(before, before + len(new))
        self._numbers.update(zip(new, range(before, before + len(new)), strict=True))
        self._number_of[columns] = found
        known = np.sort(self._number_of[self._number_of != UNKNOWN])
        if len(self._numbers) < before + len(new) or (known[1:] == known[:-1]).any():
            for word in new:
                self._numbers.pop(word, None)
            self._columns = ()
            raise ValueError("a term names two columns of the term vectors, must name one")
        self._text_bytes += sum(map(len, new))


def merge_postings(
    parts: Sequence[Postings], keep: Sequence[NDArray[np.bool_]]
) -> dict[str, NDArray[Any]]:
    """The arrays of all `parts` as one: the rows that `keep` (n_rows,) marks, part after part.

    Equal, byte for byte, to building anew from those rows. Raises ValueError where counts and
    impacts are mixed, and for more postings than a segment may hold.
    """
    if len({part.kind for part in parts}) > 1:
        raise ValueError("counts and impacts cannot be merged into one field")
    kind: Kind = parts[0].kind if parts else "count"
    dictionaries = [part.words() for part in parts]
    words, numbers = Words.joined(dictionaries).distinct(native())
    ends = np.cumsum([len(some) for some in dictionaries])[:-1]
    gather = _kept_rows if any(part.lists is None for part in parts) else _kept_rows_natively
    rows = gather(parts, keep, np.split(numbers, ends)[: len(parts)])
    lengths = [
        part.lengths[kept] for part, kept in zip(parts, keep, strict=True) if kind == "count"
    ]
    return assemble(
        words,
        Rows(rows.indptr, rows.terms, rows.weights.view(STORED[kind])),
        joined(lengths, np.float32),
    )


def _kept_rows_natively(
    parts: Sequence[Postings],
    keep: Sequence[NDArray[np.bool_]],
    numbers: Sequence[NDArray[np.int32]],
) -> Rows:
    """The kept rows of the parts' lists, by the extension: counted first, then filled."""
    indptr = np.zeros(sum(map(np.count_nonzero, keep)) + 1, np.int64)
    rows_at, first = [], 0
    for part, kept, number_of in zip(parts, keep, numbers, strict=True):
        rows = np.cumsum(kept, dtype=np.int32)
        rows += np.int32(first - 1)
        first += int(np.count_nonzero(kept))
        rows[~kept] = UNKNOWN
        if part.places is not None:  # raises Damaged where the order is garbled
            rows = rows[part.arrays["order"]]
        rows_at.append(rows)
        with damage_named(part.name):
            assert part.lists is not None
            part.lists.transpose(rows, number_of, indptr[1:], None, None)
    np.cumsum(indptr, out=indptr)
    cursors = indptr[:-1].copy()
    terms, weights = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.uint16)
    for part, rows, number_of in zip(parts, rows_at, numbers, strict=True):
        with damage_named(part.name):
            assert part.lists is not None
            part.lists.transpose(rows, number_of, cursors, terms, weights)
    return Rows(indptr, terms, weights)


def _kept_rows(
    parts: Sequence[Postings],
    keep: Sequence[NDArray[np.bool_]],
    numbers: Sequence[NDArray[np.int32]],
) -> Rows:
    """The kept rows of the parts' lists, in their order, with terms numbered anew."""
    from scipy.sparse import csr_array  # at index time only: its import takes 0.4 s

    counts, terms, weights = [], [], []
    for part, kept, number_of in zip(parts, keep, numbers, strict=True):
        sizes, rows, stored = part.all_stored()
        ends = np.append(0, np.cumsum(sizes))
        # subtle: scipy makes indices as wide as indptr, and copies them to do so
        narrow = ends.astype(np.int32) if ends[-1] < 2**31 else ends
        bits = stored.view(np.uint16) if stored.dtype.kind == "f" else stored.astype(np.uint16)
        shape = (part.n_terms, part.n_rows)
        by_row = csr_array((bits, rows.astype(np.int32), narrow), shape).tocsc()
        by_row_ends: NDArray[np.int64] = by_row.indptr.astype(np.int64)
        held = np.diff(by_row_ends)
        inside = np.repeat(kept, held)
        counts.append(held[kept])
        terms.append(number_of[by_row.indices[inside]])
        weights.append(by_row.data[inside])
    indptr = np.append(0, np.cumsum(joined(counts, np.int64)))
    return Rows(indptr, joined(terms, np.int32), joined(weights, np.uint16))
