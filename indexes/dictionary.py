"""The terms of a field, sorted by their UTF-8 bytes, each known by its number."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .offsets import STRIDE, Offsets


class Dictionary:
    """Opened from the terms' bytes, one after the other, and their packed offsets."""

    def __init__(self, terms: NDArray[np.uint8], offsets: Offsets) -> None:
        # memoryviews index several times faster than arrays, element by element
        self._blob = np.ascontiguousarray(terms).data
        self._starts = np.ascontiguousarray(offsets.starts).data
        self._sizes = np.ascontiguousarray(offsets.sizes).data
        self._offsets = offsets

    def __len__(self) -> int:
        return len(self._offsets)

    def terms(self) -> list[str]:
        """All terms, ascending. Raises ValueError where offsets or bytes are garbled."""
        blob, bounds = bytes(self._blob), self._offsets.all().tolist()
        return [
            blob[start:stop].decode("utf-8", "surrogatepass") for start, stop in pairwise(bounds)
        ]

    def numbers(self, terms: Sequence[str]) -> NDArray[np.int32]:
        """The number of each term, int32 (m,); -1 where no row holds it."""
        words = (term.encode("utf-8", "surrogatepass") for term in terms)
        return np.fromiter(map(self._find, words), np.int32, len(terms))

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


def packed_terms(names: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Sorted terms as bytes, one after the other, and the size of each (m,)."""
    words = [name.encode("utf-8", "surrogatepass") for name in names]
    sizes = np.fromiter(map(len, words), np.int64, len(words))
    return np.frombuffer(b"".join(words), np.uint8), sizes
