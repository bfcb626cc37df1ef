"""Query vectors that were made already, by text."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from indexes.forking import forkable_lock
from indexes.types import TermVectors

from .protocols import Encoder

Floats = NDArray[np.float32]
REMEMBERED = 1024  # queries
BYTES = 2**24  # of their texts and vectors, about
TERM = 64  # bytes that Python needs for one, about


class QueryCache:
    """Query vectors by text, the least recently used forgotten; rows of what an encoder gave.

    So many are remembered, of no more than 16 MB together.
    May be used by several threads.
    """

    def __init__(self, encoder: Encoder, size: int = REMEMBERED) -> None:
        self.encoder = encoder
        self.size = size
        self._rows: OrderedDict[str, TermVectors | Floats] = OrderedDict()
        self._bytes = 0
        self._lock = forkable_lock()  # not held while queries are encoded

    def encode(self, queries: Sequence[str]) -> TermVectors | Floats:
        """One row a query; only unseen texts are encoded."""
        found = self._remembered(queries)
        missing = list(dict.fromkeys(q for q in queries if q not in found))
        if missing:
            vectors = self.encoder.encode_query(missing)
            for i, query in enumerate(missing):
                row = (
                    vectors[i : i + 1]
                    if isinstance(vectors, np.ndarray)
                    else vectors.select(i, i + 1)
                )
                found[query] = row
            self._remember(found, len(queries))
        return _stack([found[query] for query in queries])

    def _remembered(self, queries: Sequence[str]) -> dict[str, TermVectors | Floats]:
        found = {}
        with self._lock:
            for query in queries:
                if (row := self._rows.get(query)) is not None:
                    self._rows.move_to_end(query)
                    found[query] = row
        return found

    def _remember(self, rows: dict[str, TermVectors | Floats], together: int) -> None:
        with self._lock:
            for query, row in rows.items():
                if query not in self._rows:
                    self._rows[query] = row
                    self._bytes += _bytes_of(query, row)
                self._rows.move_to_end(query)
            while len(self._rows) > max(self.size, together) or self._bytes > BYTES:
                self._bytes -= _bytes_of(*self._rows.popitem(last=False))


def _bytes_of(query: str, row: TermVectors | Floats) -> int:
    size = sys.getsizeof(query)
    if isinstance(row, np.ndarray):
        return size + row.nbytes
    return size + row.indices.nbytes + row.values.nbytes + TERM * len(row.indices)


def _stack(rows: list[TermVectors | Floats]) -> TermVectors | Floats:
    if len(rows) == 1:
        return rows[0]
    dense = [row for row in rows if isinstance(row, np.ndarray)]
    if dense:
        return np.concatenate(dense)
    sparse = [row for row in rows if isinstance(row, TermVectors)]
    if all(row.terms is sparse[0].terms for row in sparse):
        indptr = np.cumsum([0, *(len(row.indices) for row in sparse)], dtype=np.int64)
        indices = np.concatenate([row.indices for row in sparse])
        return TermVectors(
            sparse[0].terms, indptr, indices, np.concatenate([row.values for row in sparse])
        )
    return TermVectors.of([row.row(0) for row in sparse])
