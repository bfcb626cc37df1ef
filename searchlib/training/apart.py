"""What is held out: whole documents, and no text that is learned from stands on the other side."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from .pairs import hash_of


def grouped(texts: Iterable[str], documents: Iterable[int]) -> NDArray[np.int64]:
    """(n,): passages of one number belong together: the document in which their text comes first.

    `documents`: of each passage. Texts that differ in spaces and capitals alone are one.

    >>> grouped(["a b", "c", "A  b", "d"], [7, 7, 8, 8]).tolist()
    [7, 7, 7, 8]
    """
    first: dict[int, int] = {}
    keys = (hash_of(0, *text.casefold().split()) for text in texts)
    found = [first.setdefault(key, document) for key, document in zip(keys, documents, strict=True)]
    return np.array(found, np.int64)


def held_apart(groups: NDArray[np.int64], share: float, seed: int) -> NDArray[np.bool_]:
    """(n,): which are held out: a share of the groups, at least one."""
    every = np.unique(groups)
    count = max(1, int(share * len(every)))
    return np.isin(groups, np.random.default_rng(seed).permutation(every)[:count])
