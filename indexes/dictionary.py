"""The terms of a field, sorted by their UTF-8 bytes, each known by its number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .kernels import native
from .offsets import STRIDE, Offsets


class Dictionary:
    """Opened from the terms' bytes, one after the other, and their packed offsets."""

    def __init__(self, terms: NDArray[np.uint8], offsets: Offsets) -> None:
        # memoryviews index several times faster than arrays, element by element
        self._blob = np.ascontiguousarray(terms).data
        self._starts = np.ascontiguousarray(offsets.starts, np.uint32).data
        self._sizes = np.ascontiguousarray(offsets.sizes).data
        self._offsets = offsets

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

    def numbers(self, terms: Sequence[str]) -> NDArray[np.int32]:
        """The number of each term, int32 (m,); -1 where no row holds it."""
        words = [term.encode("utf-8", "surrogatepass") for term in terms]
        kernels = native()
        if kernels is None:
            return np.fromiter(map(self._find, words), np.int32, len(words))
        numbers = np.empty(len(words), np.int32)
        ends = np.fromiter(accumulate(map(len, words)), np.int64, len(words))
        kernels.find_terms(
            self._blob,
            self._sizes,
            self._sizes.itemsize,
            self._starts,
            b"".join(words),
            ends,
            numbers,
        )
        return numbers

    def beginning(self, start: str, shortest: int, longest: int) -> list[str]:
        """The terms that begin so and have as many bytes, ascending. Raises ValueError as above."""
        prefix = start.encode("utf-8", "surrogatepass")
        first, begin = self._place(prefix)
        last, _ = self._place(prefix + b"\xff")  # which no UTF-8 has
        sizes = np.asarray(self._sizes[first:last]).astype(np.int64)
        kept = (sizes >= shortest) & (sizes <= longest)
        ends = (begin + np.cumsum(sizes))[kept].tolist()
        return [
            bytes(self._blob[end - size : end]).decode("utf-8", "surrogatepass")
            for end, size in zip(ends, sizes[kept].tolist(), strict=True)
        ]

    def _find(self, wanted: bytes) -> int:
        for number, at in self._stride(wanted):
            size = self._sizes[number]
            if size == len(wanted) and bytes(self._blob[at : at + size]) == wanted:
                return number
        return -1

    def _place(self, wanted: bytes) -> tuple[int, int]:
        """The number of the first term that is not before `wanted`, and where it starts."""
        after = 0, 0
        for number, at in self._stride(wanted):
            size = self._sizes[number]
            if bytes(self._blob[at : at + size]) >= wanted:
                return number, at
            after = number + 1, at + size
        return after

    def _stride(self, wanted: bytes) -> Iterator[tuple[int, int]]:
        """The number and the start of the at most 64 terms among which `wanted` has its place."""
        low, high = 0, len(self._starts) - 1
        while high - low > 1:
            middle = (low + high) // 2
            first = self._starts[middle]
            if bytes(self._blob[first : first + self._sizes[middle * STRIDE]]) <= wanted:
                low = middle
            else:
                high = middle
        at = self._starts[low]
        for number in range(low * STRIDE, min(len(self), (low + 1) * STRIDE)):
            yield number, at
            at += self._sizes[number]


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
