"""An inverted file, opened: the one structure behind BM25 and learned-sparse fields.

A weight is stored once, in its term's posting list: a count, or an impact (float16). Lists hold
places, which are rows in the order of storage. Terms are sorted by their UTF-8 bytes, so a
term's number ascends with its string in every segment alike: whoever adds up a score in
ascending term number adds in the same order, however rows fell into segments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dictionary import Dictionary, Words
from .errors import Damaged
from .inversion import BLOCKS, KIND_NUMBERS, PART, WINDOW, Kind, decode
from .kernels import native
from .marks import Marks
from .offsets import SIZES, Offsets

_DTYPES = {
    "rows": ("<i8",),
    "terms": ("|u1",),
    "term_sizes": SIZES,
    "term_starts": ("<u4",),
    "list_sizes": SIZES,
    "list_starts": ("<u4",),
    "dense": ("<u4",),
    "windows": ("<u4",),
    "ids": ("<u2",),
    "weights": ("<f2", "|u1", "<u2"),
    "bounds": ("|u1",),
}
_OPTIONAL = {
    "list_parts": SIZES,
    "part_starts": ("<u4",),
    "part_numbers": ("<u2",),
    "part_sizes": ("<u2",),
    "tops": ("<f2",),
    "order": ("<u4",),
    "lengths": ("|u1", "<u2", "<f4"),
}
_PARTS = ("list_parts", "part_starts", "part_numbers", "part_sizes")  # above 65,536 rows
_LISTS = ("list_sizes", "list_starts", "dense", "windows", "ids", "weights")
_HANDED_OVER = (*_LISTS, *_PARTS, "bounds", "tops", "order")  # to the C extension


class Postings:
    """The arrays of one segment's term field, opened (see `inversion.assemble`).

    `name` is what errors call it. Raises Damaged where arrays are missing or disagree; their
    insides are checked by `check`, which reads everything, and wherever they are followed.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], name: str = "postings") -> None:
        for key, dtypes in {**_DTYPES, **_OPTIONAL}.items():
            array = arrays.get(key)
            if (array is None and key in _DTYPES) or (
                array is not None and (array.dtype.str not in dtypes or array.ndim == 0)
            ):
                raise Damaged(f"{name}: array {key!r} is missing or of the wrong type")
        self.name = name
        self.arrays = dict(arrays)
        self.n_rows = int(arrays["rows"][0]) if arrays["rows"].shape == (1,) else -1
        self.n_terms = len(arrays["list_sizes"])
        self.nnz = len(arrays["weights"])  # how many postings there are
        self.kind: Kind = "impact" if arrays["weights"].dtype.kind == "f" else "count"
        self.n_windows = -(-self.n_rows // WINDOW)
        self.n_parts = -(-self.n_rows // PART)
        windows = arrays["windows"].reshape(-1)
        self.skip = int(windows[-1]) if len(windows) else 0  # postings of dense lists, which lead
        if not self._agree():
            raise Damaged(f"{name}: the lengths of its arrays disagree")
        with damage_named(name):
            words = Offsets(arrays["term_sizes"], arrays["term_starts"], len(arrays["terms"]))
            self.dictionary = Dictionary(arrays["terms"], words)
            self.lists_at = Offsets(
                arrays["list_sizes"], arrays["list_starts"], self.nnz - self.skip
            )
            self.parts_at = (
                None
                if self.n_parts <= 1
                else Offsets(
                    arrays["list_parts"], arrays["part_starts"], len(arrays["part_numbers"])
                )
            )
        self.marks = Marks(self.order)
        self.norms: object = None  # see norms.py

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self.arrays.values())

    @property
    def order(self) -> NDArray[np.uint32] | None:
        """The row at each place, (n_rows,); None where rows are stored in their own order."""
        return self.arrays.get("order")

    @cached_property
    def places(self) -> NDArray[np.int64] | None:
        """The place of each row, (n_rows,); None where it is the row's own number. Or Damaged."""
        if self.order is None:
            return None
        places = np.full(self.n_rows, -1, np.int64)
        with damage_named(self.name):
            places[self.order] = np.arange(self.n_rows)
        if (places < 0).any():
            raise Damaged(f"{self.name}: the order of its rows is garbled")
        return places

    @property
    def lengths(self) -> NDArray[Any]:
        """The sum of each row's counts, (n_rows,): of a field of counts only."""
        return self.arrays["lengths"]

    @cached_property
    def lists(self) -> Any | None:
        """The same lists, open for the C extension; None where there is none."""
        kernels = native()
        if kernels is None:
            return None
        kind = self.arrays["weights"].dtype
        held = [self.arrays.get(name) for name in _HANDED_OVER]
        number = KIND_NUMBERS[kind.kind if kind.kind == "f" else f"u{kind.itemsize}"]
        with damage_named(self.name):
            return kernels.Lists(
                self.n_rows,
                self.n_terms,
                number,
                *(None if array is None else _bytes(array) for array in held),
            )

    # --- terms

    def terms(self) -> list[str]:
        """All terms in ascending order of their UTF-8 bytes."""
        with damage_named(self.name):
            return self.dictionary.terms()

    def words(self) -> Words:
        """The same terms as they are stored. Raises Damaged."""
        with damage_named(self.name):
            return self.dictionary.words

    def term_ids(self, terms: Sequence[str]) -> NDArray[np.int32]:
        """The number of each term, int32 (m,); -1 where no row holds it."""
        with damage_named(self.name):
            return self.dictionary.numbers(terms)

    def sizes(self, numbers: NDArray[np.int32]) -> NDArray[np.int64]:
        """How many rows hold each term, deleted ones included; 0 for -1. int64 (m,)."""
        with damage_named(self.name):
            if self.lists is not None:
                sizes = np.zeros(len(numbers), np.int64)
                self.lists.sizes(numbers, sizes)
                return sizes
            return np.array([self._size(number) for number in numbers.tolist()], np.int64)

    def document_frequency(
        self, numbers: NDArray[np.int32], alive: NDArray[np.bool_] | None = None
    ) -> NDArray[np.int64]:
        """How many rows hold each term, int64 (m,); of the `alive` (n_rows,) ones if given."""
        if alive is None:
            return self.sizes(numbers)
        counts = np.zeros(len(numbers), np.int64)
        with damage_named(self.name):
            marked = self.marks.of(alive)
            for i, number in enumerate(numbers.tolist()):
                if number < 0:
                    continue
                if number not in marked.counts:
                    marked.counts[number] = self._count(number, marked.places)
                counts[i] = marked.counts[number]
        return counts

    # --- postings

    def postings(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The rows that hold term `number`, in order of storage, and its weights in them."""
        places, weights = self.stored(number)
        with damage_named(self.name):
            rows = places if self.order is None else self.order[places].astype(np.int64)
        return rows, decode(weights)

    def stored(self, number: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """The places that hold term `number`, ascending, and its weights as stored."""
        arrays = self.arrays
        ids, weights = arrays["ids"], arrays["weights"]
        with damage_named(self.name):
            start, stop = self.lists_at.span(number)
            if stop > start:
                bases = np.zeros(stop - start, np.int64)
                if self.parts_at is not None:
                    parts = slice(*self.parts_at.span(number))
                    sizes = arrays["part_sizes"][parts].astype(np.int64) + 1
                    bases = np.repeat(arrays["part_numbers"][parts].astype(np.int64) * PART, sizes)
                listed = slice(self.skip + start, self.skip + stop)
                return _sums(bases, ids[listed]), weights[listed]
            windows = arrays["windows"][self._dense(number)].astype(np.int64)
            start, stop = int(windows[0]), int(windows[-1])
            if stop > self.skip:
                raise ValueError("a window reaches too far")
            window_parts = np.arange(self.n_windows) // (PART // WINDOW)
            bases = np.repeat(window_parts * PART, np.diff(windows))
            return _sums(bases, ids[start:stop]), weights[start:stop]

    def all_stored(self) -> tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[Any]]:
        """Each list: sizes (m,), rows (nnz,), weights as stored (nnz,). Raises Damaged."""
        lists = [self.stored(number) for number in range(self.n_terms)]
        sizes = np.array([len(places) for places, _ in lists], np.int64)
        places = np.concatenate([np.empty(0, np.int64), *(places for places, _ in lists)])
        weights = np.concatenate([self.arrays["weights"][:0], *(weights for _, weights in lists)])
        if len(places) != len(weights) or places.max(initial=-1) >= self.n_rows:
            raise Damaged(f"{self.name}: postings are out of bounds")
        if self.places is not None:  # raises Damaged where the order is garbled
            return sizes, self.arrays["order"][places], weights
        return sizes, places.astype(np.uint32), weights

    def check(self) -> None:
        """Read everything; raise Damaged where it is not what `inversion.assemble` makes."""
        from .soundness import check_postings

        with damage_named(self.name), np.errstate(all="ignore"):
            check_postings(self)

    # --- inside

    def _agree(self) -> bool:
        """Whether the arrays have the lengths that they should have to each other."""
        arrays, m, n = self.arrays, self.n_terms, self.n_rows
        d = len(arrays["dense"])
        return bool(
            m >= 0
            and n >= 0
            and len(arrays["term_sizes"]) == m
            and len(arrays["ids"]) == self.nnz >= self.skip
            and arrays["windows"].shape == (d, self.n_windows + 1)
            and arrays["bounds"].shape == (d, self.n_windows * BLOCKS)
            and all((name in arrays) == (self.n_parts > 1) for name in _PARTS)
            and len(arrays.get("list_parts", range(m))) == m
            and len(arrays.get("part_sizes", ())) == len(arrays.get("part_numbers", ()))
            and ("tops" in arrays) == (self.kind == "impact")
            and len(arrays.get("tops", range(m))) == m
            and ("lengths" in arrays) == (self.kind == "count")
            and len(arrays.get("lengths", range(n))) == n
            and len(arrays.get("order", range(n))) == n
        )

    def _dense(self, number: int) -> int:
        """Which dense list a term has. Or Damaged."""
        dense = self.arrays["dense"]
        place = int(np.searchsorted(dense, number))
        if place == len(dense) or dense[place] != number:
            raise Damaged(f"{self.name}: a posting list is missing")
        return place

    def _size(self, number: int) -> int:
        if number < 0:
            return 0
        if self.arrays["list_sizes"][number]:
            return int(self.arrays["list_sizes"][number])
        windows = self.arrays["windows"][self._dense(number)]
        return max(0, int(windows[-1]) - int(windows[0]))

    def _count(self, number: int, marks: NDArray[np.bool_]) -> int:
        """How many of a term's places are marked."""
        if self.lists is not None:
            return int(self.lists.count_marked(number, marks))
        return int(np.count_nonzero(marks[self.stored(number)[0]]))


def _sums(bases: NDArray[np.int64], ids: NDArray[Any]) -> NDArray[np.int64]:
    if len(bases) != len(ids):
        raise ValueError("sizes contradict each other")
    return bases + ids.astype(np.int64)


def _bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    """An array's bytes, not copied: buffers know no float16."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


@contextmanager
def damage_named(name: str) -> Iterator[None]:
    """Raise Damaged, naming the file, where garbled numbers make numpy or the kernels stumble."""
    try:
        yield
    except (IndexError, ValueError) as error:
        raise damaged(name, error) from error


def damaged(name: str, error: Exception) -> Damaged:
    """The error for a file whose garbled numbers made numpy or the kernels stumble."""
    return Damaged(f"{name}: its posting lists are garbled ({error})")
