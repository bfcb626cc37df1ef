"""Where variable-sized entries begin, in little more than a byte an entry.

Kept are each entry's size, in the smallest type that holds all of them, and the offset of every
64th entry; an offset in between is a sum of at most 63 sizes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

STRIDE = 64  # as in native/lists.h
SIZES = ("|u1", "<u2", "<u4")


def pack(sizes: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.uint32]]:
    """Sizes (m,) narrowed, and the offsets of entries 0, 64, 128, ... and of the end.

    The end is an entry of its own: ceil(m / 64) + 1 offsets.

    >>> [array.tolist() for array in pack(np.array([3, 1, 4]))]
    [[3, 1, 4], [0, 8]]
    """
    most = sizes.max(initial=0)
    narrow = np.uint8 if most < 2**8 else np.uint16 if most < 2**16 else np.uint32
    ends = np.append(0, np.cumsum(sizes))
    places = np.append(np.arange(0, len(sizes), STRIDE), len(sizes))
    return sizes.astype(narrow), ends[places].astype(np.uint32)


class Offsets:
    """Opened `pack`ed offsets of entries in an array of `total`; ValueError where they disagree."""

    def __init__(self, sizes: NDArray[Any], starts: NDArray[np.uint32], total: int) -> None:
        if len(starts) != -(-len(sizes) // STRIDE) + 1 or int(starts[-1]) != total:
            raise ValueError("offsets disagree with what they lead to")
        self.sizes, self.starts, self._total = sizes, starts, total

    def __len__(self) -> int:
        return len(self.sizes)

    def span(self, i: int) -> tuple[int, int]:
        """Where entry i starts and stops. Raises ValueError where that is out of bounds."""
        first = i - i % STRIDE
        start = int(self.starts[i // STRIDE]) + int(self.sizes[first:i].sum(dtype=np.int64))
        stop = start + int(self.sizes[i])
        if stop > self._total:
            raise ValueError("offsets lead out of bounds")
        return start, stop

    def all(self) -> NDArray[np.int64]:
        """The offsets of all entries and of the end, (m + 1,). Raises ValueError if they jump."""
        offsets = np.append(0, np.cumsum(self.sizes, dtype=np.int64))
        places = np.append(np.arange(0, len(self), STRIDE), len(self))
        if not np.array_equal(offsets[places], self.starts):
            raise ValueError("offsets contradict the sizes between them")
        return offsets
