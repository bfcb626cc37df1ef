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
from .inversion import STORED, Kind, assemble, decode, encode, joined
from .types import TermVectors

ROWS_AT_ONCE = 2**14  # when merging
BYTES_PER_TERM = 120  # what a dictionary entry and its string take in Python, about

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
    """The arrays of one segment's term field, opened (see `PostingsBuilder.build`).

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
