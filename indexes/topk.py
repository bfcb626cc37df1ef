"""The k largest of many scores, by numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32s = NDArray[np.float32]

MANY = 1000  # scores, from which on a floor is worth looking for


def top_k(scores: Float32s, k: int) -> tuple[NDArray[np.int64], Float32s]:
    """The k largest scores above 0 and their places, best first; ties by ascending place."""
    floor = floor_of(scores, k)
    ids = np.flatnonzero(scores >= floor if floor > 0 else scores > 0)
    return best_of(ids, scores[ids], k)


def floor_of(scores: Float32s, k: int) -> np.float32:
    """A number that at least k scores reach, mostly close to the k-th largest; or -inf.

    The k-th largest of the maxima of disjoint groups of scores is such a number, and is found
    several times faster than the k-th largest score: callers sift what is left.
    """
    groups = max(4 * k, len(scores) // 32)
    if k <= 0 or 2 * groups > len(scores) or len(scores) < MANY:
        return np.float32(-np.inf)
    depth = len(scores) // groups
    maxima = scores[: depth * groups].reshape(depth, groups).max(axis=0)
    return np.float32(np.partition(maxima, groups - k)[groups - k])


def best_of(ids: NDArray[np.int64], values: Float32s, k: int) -> tuple[NDArray[np.int64], Float32s]:
    """The k largest values with their ids (ascending on entry), best first, ties by id."""
    if k <= 0:
        return ids[:0], values[:0]
    if len(ids) > k:
        kept = values >= np.partition(values, len(values) - k)[len(values) - k]
        ids, values = ids[kept], values[kept]
    order = np.argsort(-values, kind="stable")[:k]
    return ids[order], values[order]
