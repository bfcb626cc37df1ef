"""Makes the arrays of a term field: from rows collected in memory, or from merged segments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .inversion import STORED, Kind, assemble, encode, joined
from .postings import Postings, damage_named
from .types import TermVectors

ROWS_AT_ONCE = 2**14  # when merging
BYTES_PER_TERM = 120  # what a dictionary entry and its string take in Python, about


class PostingsBuilder:
    """Collects rows of one term field in memory and turns them into the arrays of a segment."""

    def __init__(self, kind: Kind) -> None:
        self._kind: Kind = kind
        self._numbers: dict[str, int] = {}  # in order of first appearance
        self._text_bytes = 0
        self._terms: list[NDArray[np.int32]] = []
        self._weights: list[NDArray[Any]] = []
        self._counts: list[NDArray[np.int64]] = []  # entries a row
        self._lengths: list[NDArray[np.float32]] = []
        self.n_rows = 0

    @property
    def nbytes(self) -> int:
        """Bytes held now, about; `build` takes twice as much for a moment."""
        held = [*self._terms, *self._weights, *self._counts, *self._lengths]
        words = len(self._numbers) * BYTES_PER_TERM + self._text_bytes
        return words + sum(array.nbytes for array in held)

    def add(self, rows: TermVectors) -> None:
        """Append rows. Weights that round to zero are dropped, too large ones are capped.

        Raises ValueError for weights that are negative or not numbers, and for a term that
        names two columns.
        """
        if len(rows) == 0:
            return
        values = np.asarray(rows.values, np.float32)
        legal = (values >= 0) & (values < np.inf)
        if not legal.all():
            raise ValueError(f"illegal weight {values[~legal][0]}, must be a number >= 0")
        padded = np.append(values, np.float32(0)).astype(np.float64)
        sums = np.add.reduceat(padded, rows.indptr[:-1])
        sums[np.diff(rows.indptr) == 0] = 0
        stored = encode(values, self._kind)
        kept = stored.view(np.uint16) > 0
        ends = np.concatenate([[0], np.cumsum(kept)])[rows.indptr]
        self._terms.append(self._number(rows.terms, rows.indices[kept]))
        self._weights.append(stored[kept])
        self._counts.append(np.diff(ends))
        self._lengths.append(sums.astype(np.float32))
        self.n_rows += len(rows)

    def build(self) -> dict[str, NDArray[Any]]:
        """The segment's arrays, for `write_arrays` and `Postings`; empties the builder.

        terms, term_offsets     sorted dictionary: UTF-8 bytes, int64 (n_terms + 1,)
        indptr, docids, weights posting lists: int64 (n_terms + 1,), uint16|32, uint16|float16
        fwd_indptr, fwd_terms, fwd_weights   the same by row, terms ascending
        lengths                 float32 (n_rows,): the sum of each row's weights as added
        """
        names = sorted(self._numbers)
        rank = np.empty(len(names), np.int32)
        numbers = np.fromiter(map(self._numbers.__getitem__, names), np.int64, len(names))
        rank[numbers] = np.arange(len(names), dtype=np.int32)
        self._numbers.clear()
        for terms in self._terms:
            terms[:] = rank[terms]
        return assemble(
            names,
            joined(self._counts, np.int64),
            joined(self._terms, np.int32),
            joined(self._weights, STORED[self._kind]),
            joined(self._lengths, np.float32),
        )

    def _number(self, terms: Sequence[str], columns: NDArray[np.int32]) -> NDArray[np.int32]:
        """The builder's number of each column's term; only terms in use are taken in."""
        used = np.flatnonzero(np.bincount(columns, minlength=len(terms)))
        numbers = np.zeros(len(terms), np.int32)
        for column in used.tolist():
            term = terms[column]
            number = self._numbers.get(term)
            if number is None:
                number = self._numbers[term] = len(self._numbers)
                self._text_bytes += len(term)
            numbers[column] = number
        if len(np.unique(numbers[used])) < len(used):
            raise ValueError("a term names two columns of the term vectors, must name one")
        return numbers[columns]


def merge_postings(
    parts: Sequence[Postings], keep: Sequence[NDArray[np.bool_]]
) -> dict[str, NDArray[Any]]:
    """The arrays of all `parts` as one: the rows that `keep` (n_rows,) marks, part after part.

    Equal, byte for byte, to building anew from those rows. Raises ValueError where counts and
    impacts are mixed.
    """
    if len({part.kind for part in parts}) > 1:
        raise ValueError("counts and impacts cannot be merged into one field")
    dictionaries = [part.terms() for part in parts]
    names = sorted(set().union(*dictionaries))
    numbers = {name: i for i, name in enumerate(names)}
    counts, terms, weights, lengths = [], [], [], []
    for part, kept, words in zip(parts, keep, dictionaries, strict=True):
        number_of = np.fromiter((numbers[word] for word in words), np.int32, len(words))
        ids = np.flatnonzero(kept)
        with damage_named(part.name):
            for start in range(0, len(ids), ROWS_AT_ONCE):
                sizes, words_here, weights_here = part.stored_rows(
                    ids[start : start + ROWS_AT_ONCE]
                )
                counts.append(sizes)
                terms.append(number_of[words_here])
                weights.append(weights_here)
        lengths.append(part.lengths[kept])
    return assemble(
        names,
        joined(counts, np.int64),
        joined(terms, np.int32),
        joined(weights, STORED[parts[0].kind if parts else "count"]),
        joined(lengths, np.float32),
    )
