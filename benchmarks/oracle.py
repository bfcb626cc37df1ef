"""The slow obvious ranking: exact float32 scores of every document, and recall against them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Csr = Any
ROUNDING = 2e-6  # of a score: sums in another order


class Oracle:
    """Exact scores q @ X.T of queries (q, terms) over postings X.T (terms, documents)."""

    def __init__(self, postings: Csr, queries: Csr) -> None:
        self._postings = postings
        self._queries = queries
        self._scores = np.zeros(postings.shape[1], np.float32)

    def recall(self, answers: dict[str, NDArray[np.int64]], query: int, k: int) -> dict[str, float]:
        """Each system's share of the k best of one query, any order of equal scores being right.

        A row counts if its true score is not below the k-th best; no row counts twice. Where
        fewer than k share a term with the query, those are all that can be found.
        """
        found = self._queries[query] @ self._postings
        if not found.nnz:
            return dict.fromkeys(answers, 1.0)
        most = min(k, found.nnz)
        threshold = np.partition(found.data, found.nnz - most)[found.nnz - most]
        self._scores[found.indices] = found.data
        least = threshold * (1 - ROUNDING)
        recalls = {
            name: int((self._scores[np.unique(rows[:k])] >= least).sum()) / most
            for name, rows in answers.items()
        }
        self._scores[found.indices] = 0
        return recalls
