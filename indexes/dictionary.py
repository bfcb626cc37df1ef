"""The terms of a field, sorted by their UTF-8 bytes, each known by its number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .offsets import STRIDE, Offsets

KNOWN_TERMS = 200_000  # remembered with their numbers
SHORT = 256  # terms; more are taken for an encoder's vocabulary
UNKNOWN = -2


class Dictionary:
    """Opened from the terms' bytes, one after the other, and their packed offsets."""

    def __init__(self, terms: NDArray[np.uint8], offsets: Offsets) -> None:
        # memoryviews index several times faster than arrays, element by element
        self._blob = np.ascontiguousarray(terms).data
        self._starts = np.ascontiguousarray(offsets.starts).data
        self._sizes = np.ascontiguousarray(offsets.sizes).data
        self._offsets = offsets
        self._known: dict[str, int] = {}
        self._vocabulary: Sequence[str] = ()  # an encoder's columns, asked for again and again
        self._of_column = np.empty(0, np.int32)

    def __len__(self) -> int:
        return len(self._offsets)

    @property
    def words(self) -> Words:
        """All terms as they are stored. Raises ValueError where offsets or bytes are garbled."""
        text, starts = np.asarray(self._blob), self._offsets.all()
        bytes(self._blob).decode("utf-8", "surrogatepass")
        begun = starts[:-1][starts[:-1] < starts[1:]]
        if (text[begun] & 0xC0 == 0x80).any():  # within a character
            raise ValueError("offsets of terms lead into characters")
        return Words(text, np.diff(starts))

    def terms(self) -> list[str]:
        """All terms, ascending. Raises ValueError where offsets or bytes are garbled."""
        blob, bounds = bytes(self._blob), self._offsets.all().tolist()
        return [
            blob[start:stop].decode("utf-8", "surrogatepass") for start, stop in pairwise(bounds)
        ]

    def number(self, term: str) -> int:
        """The number of `term`, or -1 where no row holds it."""
        number = self._known.get(term)
        if number is None:
            if len(self._known) >= KNOWN_TERMS:
                self._known.clear()
            number = self._known[term] = self._find(term.encode("utf-8", "surrogatepass"))
        return number

    def numbers(self, terms: Sequence[str]) -> NDArray[np.int32]:
        """The number of each term, int32 (m,); -1 where no row holds it."""
        return np.array([self.number(term) for term in terms], np.int32)

    def known(self, terms: Sequence[str]) -> NDArray[np.int32]:
        """The same for terms that were asked for before; KeyError for any other."""
        known = self._known
        return np.array([known[term] for term in terms], np.int32)

    def columns(self, terms: Sequence[str], columns: NDArray[np.int32]) -> NDArray[np.int32]:
        """The numbers of the terms in `columns` (m,) of a list of terms; -1 where no row has it.

        Of a long list, what was found once is remembered by column as long as the very same list
        is asked for.
        """
        if len(terms) <= SHORT:
            wanted = [terms[column] for column in columns.tolist()]
            try:
                return self.known(wanted)
            except KeyError:
                return self.numbers(wanted)
        vocabulary, of_column = self._vocabulary, self._of_column
        if terms is not vocabulary or len(terms) != len(of_column):
            of_column = np.full(len(terms), UNKNOWN, np.int32)
            self._vocabulary, self._of_column = terms, of_column
        numbers = of_column[columns]
        if len(numbers) and numbers.min() == UNKNOWN:
            for column in columns[numbers == UNKNOWN].tolist():
                of_column[column] = self.number(terms[column])
            numbers = of_column[columns]
        return numbers

    def _find(self, wanted: bytes) -> int:
        """By bisection over every 64th term, then one after the other."""
        low, high = 0, len(self._starts) - 1  # strides
        while high - low > 1:
            middle = (low + high) // 2
            first = self._starts[middle]
            if bytes(self._blob[first : first + self._sizes[middle * STRIDE]]) <= wanted:
                low = middle
            else:
                high = middle
        at = self._starts[low]
        for number in range(low * STRIDE, min(len(self), (low + 1) * STRIDE)):
            size = self._sizes[number]
            if size == len(wanted) and bytes(self._blob[at : at + size]) == wanted:
                return number
            at += size
        return -1


@dataclass(frozen=True)
class Words:
    """Terms as they are stored: their UTF-8 bytes, one after the other, and the size of each."""

    text: NDArray[np.uint8]
    sizes: NDArray[np.int64]  # (m,)

    def __len__(self) -> int:
        return len(self.sizes)

    @staticmethod
    def of(names: Iterable[str]) -> Words:
        """Any terms, in their order.

        >>> Words.of(["ab", "c"]).sizes.tolist()
        [2, 1]
        """
        names = list(names)
        # subtle: one call encodes all; only U+0000 has a zero in its bytes
        text = np.frombuffer("\0".join([*names, ""]).encode("utf-8", "surrogatepass"), np.uint8)
        ends = np.flatnonzero(text == 0)
        if len(ends) == len(names):
            return Words(text[text != 0], np.diff(ends, prepend=-1) - 1)
        words = [name.encode("utf-8", "surrogatepass") for name in names]
        sizes = np.fromiter(map(len, words), np.int64, len(words))
        return Words(np.frombuffer(b"".join(words), np.uint8), sizes)

    @staticmethod
    def joined(parts: Sequence[Words]) -> Words:
        """The terms of all parts."""
        return Words(
            np.concatenate([np.empty(0, np.uint8), *(part.text for part in parts)]),
            np.concatenate([np.empty(0, np.int64), *(part.sizes for part in parts)]),
        )

    def marked(self, marks: NDArray[np.bool_]) -> Words:
        """Those that `marks` (m,) marks."""
        return Words(self.text[np.repeat(marks, self.sizes)], self.sizes[marks])

    def distinct(self, kernels: Any | None) -> tuple[Words, NDArray[np.int32]]:
        """The different terms, ascending, and the number of each of these terms (m,) among them."""
        starts = np.append(0, np.cumsum(self.sizes))
        numbers = np.empty(len(self), np.int32)
        if kernels is not None:
            text, sizes = np.empty(len(self.text), np.uint8), np.empty(len(self), np.int64)
            count = kernels.distinct_terms(self.text, starts, numbers, text, sizes)
            return Words(text[: sizes[:count].sum()], sizes[:count]), numbers
        whole = self.text.tobytes()
        words = [whole[start:stop] for start, stop in pairwise(starts.tolist())]
        found = sorted(set(words))
        number_of = {word: number for number, word in enumerate(found)}
        numbers[:] = [number_of[word] for word in words]
        sizes = np.fromiter(map(len, found), np.int64, len(found))
        return Words(np.frombuffer(b"".join(found), np.uint8), sizes), numbers
