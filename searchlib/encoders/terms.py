"""A text's terms by id, and rows of them as TermVectors that carry the vocabulary's strings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from indexes.types import TermVectors

Row = tuple[NDArray[np.int32], NDArray[np.float32]]


class Terms(NamedTuple):
    """One text's terms: ids ascending, weights > 0, and where asked the winning position each."""

    ids: NDArray[np.int32]
    weights: NDArray[np.float32]
    positions: NDArray[np.int32] | None = None


def term_vectors(rows: Sequence[Row], term: Callable[[int], str]) -> TermVectors:
    """Rows, ids ascending, as TermVectors; terms that occur become columns, in order of ids."""
    indptr = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(ids) for ids, _ in rows], out=indptr[1:])
    if not indptr[-1]:
        return TermVectors([], indptr, np.zeros(0, np.int32), np.zeros(0, np.float32))
    if len(rows) == 1:
        ids, weights = rows[0]
        columns = np.arange(len(ids), dtype=np.int32)
        return TermVectors([term(id) for id in ids.tolist()], indptr, columns, weights)
    ids = np.concatenate([ids for ids, _ in rows])
    used = np.zeros(int(ids.max()) + 1, np.bool_)
    used[ids] = True
    columns = np.cumsum(used, dtype=np.int32) - 1
    return TermVectors(
        [term(id) for id in np.flatnonzero(used).tolist()],
        indptr,
        columns[ids],
        np.concatenate([weights for _, weights in rows]),
    )
