"""An inverted file with forward rows: the one structure behind BM25 and learned-sparse fields.

Every weight is stored twice, by term (posting lists) and by row (forward rows), as the same
number: a count (uint16, saturating) or an impact (float16). Terms are sorted by their UTF-8
bytes, so a term's number ascends with its string in every segment alike: whoever adds up a
score in ascending term number adds in the same order, however rows fell into segments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import Damaged
from .inversion import Kind, decode

_DTYPES = {
    "terms": ("|u1",),
    "term_offsets": ("<i8",),
    "indptr": ("<i8",),
    "docids": ("<u2", "<u4"),
    "weights": ("<u2", "<f2"),
    "lengths": ("<f4",),
    "fwd_indptr": ("<i8",),
    "fwd_terms": ("<u2", "<u4"),
    "fwd_weights": ("<u2", "<f2"),
}


@dataclass(frozen=True)
class Rows:
    """Forward rows as CSR: row i holds terms[indptr[i]:indptr[i+1]], ascending, with weights."""

    indptr: NDArray[np.int64]  # (n + 1,)
    terms: NDArray[Any]  # (nnz,) uint16 or uint32 term numbers
    weights: NDArray[np.float32]  # (nnz,)


class Postings:
    """The arrays of one segment's term field, opened (see `builder.PostingsBuilder.build`).

    `name` is what errors call it. Raises Damaged where arrays are missing or disagree; their
    insides are checked by `check`, which reads everything.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], name: str = "postings") -> None:
        for key, dtypes in _DTYPES.items():
            if key not in arrays or arrays[key].dtype.str not in dtypes or arrays[key].ndim != 1:
                raise Damaged(f"{name}: array {key!r} is missing or of the wrong type")
        self.name = name
        self.lengths: NDArray[np.float32] = arrays["lengths"]
        self.n_rows = len(self.lengths)
        self.n_terms = len(arrays["indptr"]) - 1
        self.kind: Kind = "count" if arrays["weights"].dtype.kind == "u" else "impact"
        self._arrays = dict(arrays)
        self._indptr, self._docids = arrays["indptr"], arrays["docids"]
        self._weights = arrays["weights"]
        self._fwd_indptr, self._fwd_terms = arrays["fwd_indptr"], arrays["fwd_terms"]
        self._fwd_weights = arrays["fwd_weights"]
        self._offsets = arrays["term_offsets"]
        nnz = len(self._docids)
        if not (
            self.n_terms >= 0
            and len(self._offsets) == self.n_terms + 1
            and len(self._fwd_indptr) == self.n_rows + 1
            and len(self._weights) == len(self._fwd_terms) == len(self._fwd_weights) == nnz
            and self._weights.dtype == self._fwd_weights.dtype
            and (self._indptr[0], self._indptr[-1]) == (0, nnz)
            and (self._fwd_indptr[0], self._fwd_indptr[-1]) == (0, nnz)
            and (self._offsets[0], self._offsets[-1]) == (0, len(arrays["terms"]))
        ):
            raise Damaged(f"{name}: the lengths of its arrays disagree")
        self._known: dict[str, int] = {}
        # memoryviews index several times faster than arrays, element by element
        self._blob = np.ascontiguousarray(arrays["terms"]).data
        self._starts = np.ascontiguousarray(self._offsets).data

    @property
    def nnz(self) -> int:
        """How many postings there are."""
        return len(self._docids)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self._arrays.values())

    def term(self, number: int) -> str:
        """The string of term `number`."""
        start, stop = self._starts[number], self._starts[number + 1]
        with damage_named(self.name):
            return bytes(self._blob[start:stop]).decode("utf-8", "surrogatepass")

    def terms(self) -> list[str]:
        """All terms in ascending order of their UTF-8 bytes."""
        blob, bounds = bytes(self._blob), self._offsets.tolist()
        parts = (blob[start:stop] for start, stop in pairwise(bounds))
        with damage_named(self.name):
            return [part.decode("utf-8", "surrogatepass") for part in parts]

    def term_id(self, term: str) -> int:
        """The number of `term`, or -1 where no row holds it."""
        number = self._known.get(term)
        if number is None:
            number = self._known[term] = self._find(term.encode("utf-8", "surrogatepass"))
        return number

    def term_ids(self, terms: Sequence[str]) -> NDArray[np.int64]:
        """The number of each term, int64 (m,); -1 where no row holds it."""
        if len(self._known) > 200_000:
            self._known.clear()
        return np.fromiter(map(self.term_id, terms), np.int64, len(terms))

    def postings(self, number: int) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """The rows that hold term `number`, ascending, and its weights in them."""
        return self.gather(np.array([number], np.int64))

    def gather(self, numbers: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """The postings of several terms, list after list; their sizes are `sizes(numbers)`."""
        starts, stops = self._bounds(self._indptr, numbers)
        parts = [slice(*pair) for pair in zip(starts.tolist(), stops.tolist(), strict=True)]
        docids = np.concatenate([self._docids[:0], *(self._docids[part] for part in parts)])
        weights = np.concatenate([self._weights[:0], *(self._weights[part] for part in parts)])
        return docids, decode(weights)

    def sizes(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many rows hold each term, deleted ones included; 0 for -1. int64 (m,)."""
        sizes = np.zeros(len(numbers), np.int64)
        known = numbers >= 0
        starts, stops = self._bounds(self._indptr, numbers[known])
        sizes[known] = stops - starts
        return sizes

    def document_frequency(
        self, numbers: NDArray[np.int64], alive: NDArray[np.bool_] | None = None
    ) -> NDArray[np.int64]:
        """How many rows hold each term, int64 (m,); of the `alive` (n_rows,) ones if given."""
        if alive is None:
            return self.sizes(numbers)
        counts = np.zeros(len(numbers), np.int64)
        with damage_named(self.name):
            for i in np.flatnonzero(numbers >= 0).tolist():
                counts[i] = np.count_nonzero(alive[self.gather(numbers[i : i + 1])[0]])
        return counts

    def rows(self, ids: NDArray[np.int64]) -> Rows:
        """The forward rows `ids` (m,), in that order."""
        sizes, terms, weights = self.stored_rows(ids)
        return Rows(np.concatenate([[0], np.cumsum(sizes)]), terms, decode(weights))

    def stored_rows(
        self, ids: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]]:
        """The forward rows `ids` (m,): how many terms each has, the terms, weights as stored."""
        starts, stops = self._bounds(self._fwd_indptr, ids)
        sizes = stops - starts
        firsts = np.cumsum(sizes) - sizes
        at = np.arange(sizes.sum()) + np.repeat(starts - firsts, sizes)
        return sizes, self._fwd_terms[at], self._fwd_weights[at]

    def check(self) -> None:
        """Read everything; raise Damaged where a number is out of bounds or out of order."""
        for indptr in (self._indptr, self._fwd_indptr, self._offsets):
            if (np.diff(indptr) < 0).any():
                raise Damaged(f"{self.name}: offsets are not ascending")
        for lists, entries, bound in (
            (self._indptr, self._docids, self.n_rows),
            (self._fwd_indptr, self._fwd_terms, self.n_terms),
        ):
            if len(entries) == 0:
                continue
            starts = np.zeros(len(entries), np.bool_)
            starts[lists[:-1][np.diff(lists) > 0]] = True
            ascending = (entries[1:] > entries[:-1]) | starts[1:]
            if int(entries.max()) >= bound or not ascending.all():
                raise Damaged(f"{self.name}: postings are out of bounds or out of order")
        terms = self.terms()
        if any(a >= b for a, b in pairwise(terms)):
            raise Damaged(f"{self.name}: the terms are not sorted")

    def _bounds(
        self, indptr: NDArray[np.int64], ids: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where lists start and stop; Damaged if not within the entries."""
        starts, stops = indptr[ids], indptr[ids + 1]
        if ((starts < 0) | (stops < starts) | (stops > self.nnz)).any():
            raise Damaged(f"{self.name}: offsets of posting lists are garbled")
        return starts, stops

    def _find(self, wanted: bytes) -> int:
        low, high = 0, self.n_terms
        blob, starts = self._blob, self._starts
        while low < high:
            middle = (low + high) // 2
            if bytes(blob[starts[middle] : starts[middle + 1]]) < wanted:
                low = middle + 1
            else:
                high = middle
        found = low < self.n_terms and bytes(blob[starts[low] : starts[low + 1]]) == wanted
        return low if found else -1


@contextmanager
def damage_named(name: str) -> Iterator[None]:
    """Raise Damaged, naming the file, where garbled numbers make numpy stumble."""
    try:
        yield
    except (IndexError, ValueError) as error:
        raise Damaged(f"{name}: its posting lists are garbled ({error})") from error
