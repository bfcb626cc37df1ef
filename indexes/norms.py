"""BM25's norms of the rows of a segment, kept as long as the statistics stay the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .inversion import BLOCK, WINDOW
from .postings import Postings
from .similarity import BM25, Similarity


@dataclass(frozen=True)
class Norms:
    """k1 (1 - b + b len / avglen) of each row, and the smallest in each block of 16 rows."""

    key: tuple[float, float, float]  # k1, b, average length
    rows: NDArray[np.float32]  # (n_rows,)
    blocks: NDArray[np.float32]  # (n_windows * BLOCKS,)


def norms_of(postings: Postings, similarity: Similarity, average_length: float) -> Norms | None:
    """The norms of a segment's rows under BM25, else None. Raises ValueError for impacts."""
    if not isinstance(similarity, BM25):
        return None
    if postings.kind != "count":
        raise ValueError("BM25 scores counts, this field holds impacts: use Dot")
    key = (similarity.k1, similarity.b, average_length)
    norms = postings.norms
    if not isinstance(norms, Norms) or norms.key != key:
        lengths = postings.lengths.astype(np.float32)
        rows = similarity.norms(lengths, average_length)
        padded = np.full(postings.n_windows * WINDOW, np.float32(np.inf))
        padded[: len(rows)] = rows
        norms = Norms(key, rows, padded.reshape(-1, BLOCK).min(axis=1))
        postings.norms = norms
    return norms
