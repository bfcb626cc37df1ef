"""Queries as segments see them: their terms' numbers there, and what each term weighs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .forking import forkable_lock
from .kernels import native
from .postings import Postings
from .similarity import Similarity, Statistics
from .types import TermVectors

Float32s = NDArray[np.float32]
Float64s = NDArray[np.float64]
Int32s = NDArray[np.int32]

ROOM = 1024  # terms, at first
MOST = 200_000  # terms that are remembered


class Factors(NamedTuple):
    """Queries as one segment sees them: CSR over the segment's term numbers."""

    indptr: NDArray[np.int64]  # (q + 1,)
    numbers: Int32s  # -1 where no row holds the term
    factors: Float32s  # query weight times idf, where the similarity has it

    @property
    def n_queries(self) -> int:
        """How many queries these are."""
        return len(self.indptr) - 1


def factors_of(
    postings: Postings, queries: TermVectors, similarity: Similarity, statistics: Statistics
) -> Factors:
    """The queries' terms and factors in a segment; `statistics` are aligned with their terms."""
    terms = queries.terms
    numbers = postings.term_ids([terms[column] for column in queries.indices.tolist()])
    multipliers = similarity.term_weights(statistics)
    if multipliers is not None:
        multipliers = multipliers[queries.indices]
    return Factors(queries.indptr, numbers, _product(queries.values, multipliers))


class Weighed(NamedTuple):
    """Queries and what each of their terms weighs in any segment."""

    indptr: NDArray[np.int64]  # (q + 1,)
    numbers: Int32s  # (n_segments, nnz)
    factors: Float32s  # (nnz,)

    def in_segment(self, number: int) -> Factors:
        """The same queries as one segment sees them."""
        return Factors(self.indptr, self.numbers[number], self.factors)


class _Table(NamedTuple):
    """Columns of numbers and multipliers, one a term; `slots` says which."""

    slots: dict[str, int]
    numbers: Int32s  # (n_segments, room)
    multipliers: Float64s  # (room,)


class KnownTerms:
    """What was found out about the terms of queries to one field, so that it is found out once.

    `multipliers` tells what query weights are multiplied by, (m,), from the terms' numbers in
    each segment; None where that is nothing. Several threads may ask.
    """

    def __init__(
        self,
        postings: Sequence[Postings],
        multipliers: Callable[[Sequence[Int32s]], Float64s] | None = None,
    ) -> None:
        self._postings = postings
        self._multipliers = multipliers
        self._table = self._empty(ROOM)
        self._learning = forkable_lock()

    def weighed(self, queries: TermVectors) -> Weighed:
        """The queries with what each of their terms weighs. Raises Damaged."""
        table = self._table
        found = self._found(table, queries)
        if found is None:
            table = self._learned(queries)
            found = self._found(table, queries)
            assert found is not None
        return Weighed(queries.indptr, *found)

    def _found(self, table: _Table, queries: TermVectors) -> tuple[Int32s, Float32s] | None:
        """Numbers (n_segments, nnz) and factors (nnz,); None where a term is not known."""
        multipliers = None if self._multipliers is None else table.multipliers
        kernels = native()
        if kernels is None:
            slots = _slots(table.slots, queries)
            if slots is None:
                return None
            wanted = None if multipliers is None else multipliers[slots]
            return table.numbers[:, slots], _product(queries.values, wanted)
        columns = np.ascontiguousarray(queries.indices, np.int32)
        values = np.ascontiguousarray(queries.values, np.float32)
        numbers = np.empty((len(self._postings), len(columns)), np.int32)
        factors = np.empty(len(columns), np.float32)
        known = kernels.weigh(
            table.slots,
            queries.terms,
            columns,
            values,
            multipliers,
            len(self._postings),
            table.numbers,
            numbers,
            factors,
        )
        return (numbers, factors) if known else None

    def _learned(self, queries: TermVectors) -> _Table:
        """The table with the queries' terms in it."""
        terms = queries.terms
        wanted = dict.fromkeys(terms[column] for column in queries.indices.tolist())
        with self._learning:
            table = self._table
            new = [term for term in wanted if term not in table.slots]
            count = len(table.slots)
            if count + len(new) > MOST:  # start afresh
                table, new, count = self._empty(ROOM), list(wanted), 0
            if count + len(new) > len(table.multipliers):
                table = self._copied(table, 2 * (count + len(new)))
            numbers = [postings.term_ids(new) for postings in self._postings]
            columns = slice(count, count + len(new))
            for row, found in zip(table.numbers, numbers, strict=True):
                row[columns] = found
            if self._multipliers is not None and numbers:
                table.multipliers[columns] = self._multipliers(numbers)
            # subtle: last, because other threads read what the slots point at without a lock
            table.slots.update(zip(new, range(count, count + len(new)), strict=True))
            self._table = table
            return table

    def _empty(self, room: int) -> _Table:
        numbers = np.empty((len(self._postings), room), np.int32)
        return _Table({}, numbers, np.zeros(room, np.float64))

    def _copied(self, table: _Table, room: int) -> _Table:
        count = len(table.slots)
        larger = self._empty(room)
        larger.numbers[:, :count] = table.numbers[:, :count]
        larger.multipliers[:count] = table.multipliers[:count]
        larger.slots.update(table.slots)
        return larger


def _slots(known: dict[str, int], queries: TermVectors) -> Int32s | None:
    """The slot of each term of each query, (nnz,); None where one is not known."""
    terms = queries.terms
    try:
        slots = [known[terms[column]] for column in queries.indices.tolist()]
    except KeyError:
        return None
    return np.array(slots, np.int32)


def _product(values: Float32s, multipliers: Float64s | None) -> Float32s:
    if multipliers is None:
        return np.asarray(values, np.float32)
    return (values * multipliers).astype(np.float32)
