"""Scores by numpy: the oracle of the C extension, and what stands in where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .factors import Factors
from .norms import Norms
from .postings import Postings
from .similarity import BM25
from .topk import top_k
from .types import TopK

Float32s = NDArray[np.float32]


def each(factors: Factors) -> Iterator[Factors]:
    """The queries one by one."""
    if factors.n_queries == 1:
        yield factors
        return
    for start, stop in pairwise(factors.indptr.tolist()):
        indptr = np.array([0, stop - start], np.int64)
        yield Factors(indptr, factors.numbers[start:stop], factors.factors[start:stop])


def _terms(query: Factors) -> list[tuple[int, np.float32]]:
    """One query's terms in this segment, ascending, and their factors > 0."""
    pairs = zip(query.numbers.tolist(), query.factors, strict=True)
    return sorted((number, factor) for number, factor in pairs if number >= 0 and factor > 0)


def all_sums(postings: Postings, query: Factors, norms: Norms | None) -> Float32s:
    """Every row's score, term at a time: float32 (n_rows,)."""
    sums = np.zeros(postings.n_rows, np.float32)
    for number, factor in _terms(query):
        rows, weights = postings.postings(number)
        sums[rows] += impacts_of(weights, norms, rows) * factor
    return sums


def row_sums(
    postings: Postings, query: Factors, norms: Norms | None, rows: NDArray[np.int64]
) -> Float32s:
    """The scores of some rows: float32 (len(rows),)."""
    places = rows if postings.places is None else postings.places[rows]
    sums = np.zeros(len(rows), np.float32)
    if postings.lists is not None:
        rows_of = None if norms is None else norms.rows
        places = np.ascontiguousarray(places, np.int64)
        postings.lists.score_rows(query.numbers, query.factors, rows_of, places, sums)
        return sums
    for number, factor in _terms(query):
        held, stored = postings.postings(number)
        by_row = np.argsort(held)
        at = np.searchsorted(held, rows, sorter=by_row)
        at = by_row[np.minimum(at, len(held) - 1)]
        shared = np.flatnonzero(held[at] == rows)
        sums[shared] += impacts_of(stored[at[shared]], norms, rows[shared]) * factor
    return sums


def impacts_of(weights: Float32s, norms: Norms | None, rows: NDArray[np.int64]) -> Float32s:
    """What a score takes stored weights in rows for."""
    return weights if norms is None else BM25.impacts(weights, norms.rows[rows])


def ranked(
    rows: NDArray[np.int64],
    scores: Float32s,
    k: int,
    owners: NDArray[np.uint32] | None,
    eligible: NDArray[np.bool_] | None,
) -> TopK:
    """The k best of rows (ascending) with their scores, or of their owners."""
    if eligible is not None:
        scores = np.where(eligible[rows], scores, np.float32(0))
    if owners is None or not len(rows):
        places, values = top_k(scores, k)
        return TopK(rows[places], values)
    groups, firsts = np.unique(owners[rows], return_index=True)  # owners ascend with rows
    places, values = top_k(np.maximum.reduceat(scores, firsts), k)
    return TopK(groups[places].astype(np.int64), values)
