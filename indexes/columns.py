"""One field of a segment's metadata as arrays: its distinct values, and which document has which.

What filters, facets and sorting ask, they ask of the distinct values, which are in order: an
answer is a range of their numbers, the codes, and numpy carries it over to the documents.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .moments import comparable
from .offsets import Offsets, pack

Field = tuple[str, ...]  # of metadata: the keys that lead to it
Scalar = str | int | float | bool
Key = tuple[int, Any]

Bools = NDArray[np.bool_]
Codes = NDArray[Any]  # uint8, uint16 or uint32
Integers = NDArray[np.int64]


class Values:
    """Distinct values, numbered in order: numbers, then texts by moment or code point, then
    False, True.

    `numbers` are the bits of int64, or of float64 where `reals`, bool (n,), says so; texts are
    UTF-8 bytes, one after the other; `truths` are 0 and 1. `moments`: whether a text names one.
    """

    def __init__(
        self,
        numbers: NDArray[np.int64],
        reals: Bools,
        texts: NDArray[np.uint8],
        offsets: Offsets,
        truths: NDArray[np.uint8],
        *,
        moments: bool,
    ) -> None:
        self.numbers, self.reals, self.truths = numbers, reals, truths
        self.texts, self.offsets, self.moments = texts, offsets, moments
        self.n_numbers, self.n_texts = len(numbers), len(offsets)
        self._blob = texts.data

    @staticmethod
    def of(
        numbers: list[int | float], texts: list[bytes], truths: list[bool], *, moments: bool
    ) -> Values:
        """Values that are distinct and in order already."""
        reals = np.fromiter((type(n) is float for n in numbers), np.bool_, len(numbers))
        bits = np.zeros(len(numbers), np.int64)
        bits[~reals] = [n for n in numbers if type(n) is int]
        bits.view(np.float64)[reals] = [n for n in numbers if type(n) is float]
        sizes, starts = pack(np.fromiter(map(len, texts), np.int64, len(texts)))
        blob = np.frombuffer(b"".join(texts), np.uint8)
        offsets = Offsets(sizes, starts, len(blob))
        return Values(bits, reals, blob, offsets, np.array(truths, np.uint8), moments=moments)

    def __len__(self) -> int:
        return self.n_numbers + self.n_texts + len(self.truths)

    def __getitem__(self, code: int) -> Scalar:
        if code < self.n_numbers:
            if self.reals[code]:
                return float(self.numbers.view(np.float64)[code])
            return int(self.numbers[code])
        place = code - self.n_numbers
        if place < self.n_texts:
            return self._text(place).decode()
        return bool(self.truths[place - self.n_texts])

    def __iter__(self) -> Iterator[Scalar]:
        return (self[code] for code in range(len(self)))

    def key(self, code: int) -> Key:
        """What a value is sorted by among the values of all segments, see `sort_key`."""
        value = self[code]
        return (1, comparable(value)) if self.moments and type(value) is str else sort_key(value)

    def some_numbers(self, codes: Integers) -> list[int | float]:
        """Numbers, given by their codes."""
        found: list[int | float] = self.numbers[codes].tolist()
        for place in np.flatnonzero(self.reals[codes]).tolist():
            found[place] = float(self.numbers.view(np.float64)[codes[place]])
        return found

    def some_texts(self, codes: Integers) -> list[str]:
        """Texts, given by their codes."""
        starts, stops = (self._ends[codes - self.n_numbers + n].tolist() for n in (0, 1))
        blob = self._blob
        return [str(blob[i:j], "utf-8") for i, j in zip(starts, stops, strict=True)]

    def place(self, value: int | float | str, *, after: bool = False) -> int:
        """The code of the first value of the same kind that is not less (after: that is more).

        A text must be `comparable`.
        """
        search = bisect_right if after else bisect_left
        keys: Callable[[int], Any] = self.__getitem__
        if not isinstance(value, str):
            return search(range(self.n_numbers), value, key=keys)
        keys = self._comparable if self.moments else self._text
        wanted = value if self.moments else value.encode()
        return self.n_numbers + search(range(self.n_texts), wanted, key=keys)

    def beginning(self, text: str) -> Bools:
        """Which values are texts that begin with `text`, bool (n,)."""
        wanted = np.zeros(len(self), np.bool_)
        start = text.encode()
        if not self.moments:  # they follow each other
            low = self.place(text) - self.n_numbers
            places = range(low, self.n_texts)
            rest = bisect_left(places, True, key=lambda i: not self._text(i).startswith(start))
            wanted[self.n_numbers + low : self.n_numbers + low + rest] = True
            return wanted
        long = np.flatnonzero(self._ends[1:] - self._ends[:-1] >= len(start))
        for place, byte in enumerate(start):
            long = long[self.texts[self._ends[long] + place] == byte]
        wanted[self.n_numbers + long] = True
        return wanted

    @cached_property
    def spelt(self) -> tuple[list[int | float], Integers]:
        """Numbers that texts spell, as CSV files have them, ascending; the codes of these texts."""
        from .spelt import spelt_numbers

        # subtle: whether ordered by moments or not, such texts begin with - or a digit
        ends = self.place("-"), self.place("."), self.place("0"), self.place(":")
        codes = np.concatenate([np.arange(*ends[:2]), np.arange(*ends[2:])])
        texts = self.some_texts(codes)
        numbers = spelt_numbers(texts)
        both = zip(texts, codes.tolist(), strict=True)
        pairs = sorted((numbers[text], code) for text, code in both if text in numbers)
        return [number for number, _ in pairs], np.array([code for _, code in pairs], np.int64)

    @cached_property
    def _ends(self) -> Integers:
        return self.offsets.all()

    def _text(self, place: int) -> bytes:
        return bytes(self._blob[self._ends[place] : self._ends[place + 1]])

    def _comparable(self, place: int) -> str:
        return comparable(self._text(place).decode())


@dataclass(frozen=True)
class Column:
    """A field's values: `values[codes[i]]` is a value of document `owners[i]`.

    Without `owners`, document i has the code `codes[i]`; len(values) says that it has none. A
    list has a value for each of its distinct members; null, objects and lists in lists are no
    values. `there` is None where the field is there and not null just where there is a value.
    """

    values: Values
    codes: Codes  # (m,)
    owners: NDArray[np.uint32] | None  # (m,) ascending
    there: Bools | None  # (n_documents,)
    n_documents: int

    @cached_property
    def present(self) -> Bools:
        """Where the field is there and not null, bool (n_documents,)."""
        if self.there is not None:
            return self.there
        return self.documents(np.ones(len(self.values), np.bool_))

    def documents(self, wanted: Bools) -> Bools:
        """Which documents have a wanted value, bool (n_documents,); wanted: one bool a value."""
        if self.owners is None:
            having: Bools = np.append(wanted, False)[self.codes]
            return having
        chosen = np.zeros(self.n_documents, np.bool_)
        chosen[self.owners[wanted[self.codes]]] = True
        return chosen

    def counts(self, chosen: Bools) -> Integers:
        """How many of the chosen documents, bool (n_documents,), have each value, (n,)."""
        codes = self.codes[chosen if self.owners is None else chosen[self.owners]]
        return np.bincount(codes, minlength=len(self.values))[: len(self.values)]

    def entries(self) -> tuple[Integers, Integers]:
        """Documents and the codes that they have: (m,) each, documents ascending."""
        if self.owners is not None:
            return self.owners.astype(np.int64), self.codes.astype(np.int64)
        documents = np.flatnonzero(self.codes != len(self.values))
        return documents, self.codes[documents].astype(np.int64)

    def best(self, *, descending: bool) -> Integers:
        """The smallest (or largest) code of each document, (n_documents,); len(values): none."""
        if self.owners is None:
            return self.codes.astype(np.int64)
        best = np.full(self.n_documents, len(self.values), np.int64)
        if descending:
            ends = np.flatnonzero(np.diff(self.owners, append=np.uint32(2**32 - 1)) != 0)
        else:
            ends = np.flatnonzero(np.diff(self.owners, prepend=np.uint32(2**32 - 1)) != 0)
        best[self.owners[ends]] = self.codes[ends]
        return best


@dataclass(frozen=True)
class Columns:
    """The columns of documents; of a field that is not there, no document has it.

    But those in `left_out`: they are in the metadata only; None: so may be any other field.
    """

    by_field: Mapping[Field, Column]
    left_out: frozenset[Field] | None = frozenset()

    def get(self, field: Field, n_documents: int) -> Column | None:
        """The column of a field; None if it was left out."""
        column = self.by_field.get(field)
        if column is None and self.left_out is not None and field not in self.left_out:
            return empty_column(n_documents)
        return column


def empty_column(n_documents: int) -> Column:
    """The column of a field that no document has."""
    nothing = Values.of([], [], [], moments=False)
    return Column(nothing, np.zeros(n_documents, np.uint8), None, None, n_documents)


def make_column(
    n_documents: int, values: Values, documents: Integers, codes: Integers, there: Integers
) -> Column:
    """The column of entries (m,) in any order, doubles included.

    there: documents that have the field, whether they have a value or not; others may be in it.

    >>> values = Values.of([], [b"a", b"b"], [], moments=False)
    >>> made = make_column(3, values, np.array([2, 0, 0]), np.array([0, 1, 0]), np.array([1]))
    >>> made.codes.tolist(), made.owners.tolist(), made.present.tolist()
    ([0, 1, 0], [0, 0, 2], [True, True, True])
    """
    n = len(values)
    narrow = np.uint8 if n < 2**8 else np.uint16 if n < 2**16 else np.uint32  # n is "none"
    one = np.full(n_documents, n, np.int64)
    one[documents] = codes
    held: Codes = one.astype(narrow)
    owners = None
    has = one < n
    if np.count_nonzero(has) < len(documents):
        pairs = np.sort(documents * n + codes)
        pairs = pairs[np.diff(pairs, prepend=-1) != 0]
        if np.count_nonzero(has) < len(pairs):
            held, owners = (pairs % n).astype(narrow), (pairs // n).astype(np.uint32)
    present = has.copy()
    present[there] = True
    return Column(
        values, held, owners, None if np.array_equal(has, present) else present, n_documents
    )


def same(one: Column, other: Column) -> bool:
    """Whether two columns say the same of the same documents."""
    return (
        len(one.values) == len(other.values)
        and one.values.moments == other.values.moments
        and all(repr(a) == repr(b) for a, b in zip(one.values, other.values, strict=True))
        and all(map(np.array_equal, one.entries(), other.entries()))
        and np.array_equal(one.present, other.present)
    )


def sort_key(value: Scalar) -> Key:
    """Numbers before texts before truth values; each kind in its own order."""
    return 2 if isinstance(value, bool) else 1 if isinstance(value, str) else 0, value
