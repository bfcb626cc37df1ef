"""Top-k over one segment's inverted file, exact.

A score adds a query's terms in ascending order of their UTF-8 bytes, in float32, whichever way
it is found: `score_all`, `score_rows` and `search` agree bit by bit, with or without the C
extension, whatever the batch and however rows fell into segments.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .norms import Norms, norms_of
from .postings import Postings, damage_named
from .similarity import BM25, Similarity, Statistics
from .threads import cores, on_threads
from .topk import top_k
from .types import TermPart, TermVectors, TopK

Float32s = NDArray[np.float32]
Plan = Literal["auto", "all", "bounded"]
"""Which postings the extension reads: what it estimates to be faster, all, or as bounds allow."""

PLANS: dict[Plan, int] = {"auto": 0, "all": 1, "bounded": 2}
QUERIES_AT_ONCE = 16  # a thread's share of a batch is at least so many
FEW_MARKED = 8  # a posting looked up costs about as much as so many read in passing


@dataclass(frozen=True)
class Factors:
    """Queries as one segment sees them: CSR over the segment's term numbers."""

    indptr: NDArray[np.int64]  # (q + 1,)
    numbers: NDArray[np.int32]  # -1 where no row holds the term
    factors: Float32s  # query weight times idf, where the similarity has it

    def __len__(self) -> int:
        return len(self.indptr) - 1


def factors_of(
    postings: Postings, queries: TermVectors, similarity: Similarity, statistics: Statistics
) -> Factors:
    """The queries' terms and factors in a segment; `statistics` are aligned with their terms."""
    numbers = postings.dictionary.columns(queries.terms, queries.indices)
    values = np.asarray(queries.values, np.float32)
    multipliers = similarity.term_weights(statistics)
    if multipliers is not None:
        values = (values * multipliers[queries.indices]).astype(np.float32)
    return Factors(queries.indptr, numbers, values)


def search(
    postings: Postings,
    queries: TermVectors,
    k: int,
    similarity: Similarity,
    statistics: Statistics,
    *,
    eligible: NDArray[np.bool_] | None = None,
    owners: NDArray[np.uint32] | None = None,
    floors: Float32s | None = None,
    plan: Plan = "auto",
) -> list[TopK]:
    """Each query's k best rows that share a term with it; ids are rows of this segment.

    `owners` (n_rows,) ranks groups of rows instead, each by its best row: ids are theirs.
    `eligible` is a bool per row. `floors` (q,): only what scores higher is asked for. `statistics`
    are aligned with `queries.terms`. Raises Damaged.
    """
    norms = norms_of(postings, similarity, statistics)
    with damage_named(postings.name):
        factors = factors_of(postings, queries, similarity, statistics)
        if eligible is not None:
            marked = postings.marks.of(eligible)
            cost = marked.count * len(factors.numbers) * FEW_MARKED
            if cost < int(postings.sizes(factors.numbers).sum()):
                rows = np.flatnonzero(eligible)
                sums = [_sums(postings, one, norms, rows) for one in _each(factors)]
                return [_ranked(rows, scores, k, owners, None) for scores in sums]
        if postings.lists is not None:
            return _search_natively(
                postings,
                factors,
                k,
                norms,
                eligible=eligible,
                owners=owners,
                floors=floors,
                plan=plan,
            )
        sums = [_all_sums(postings, one, norms) for one in _each(factors)]
        rows = np.arange(postings.n_rows)
        return [_ranked(rows, scores, k, owners, eligible) for scores in sums]


def score_all(
    postings: Postings, query: TermVectors, similarity: Similarity, statistics: Statistics
) -> Float32s:
    """The score of every row for a query (one row of term vectors), float32 (n_rows,).

    The exhaustive oracle, by numpy. 0 where row and query share no term. Raises Damaged.
    """
    norms = norms_of(postings, similarity, statistics)
    with damage_named(postings.name):
        return _all_sums(postings, factors_of(postings, query, similarity, statistics), norms)


def score_rows(
    postings: Postings,
    query: TermVectors,
    similarity: Similarity,
    statistics: Statistics,
    rows: NDArray[np.int64],
) -> Float32s:
    """`score_all(...)[rows]`, bit by bit, reading only these rows' postings: (len(rows),)."""
    norms = norms_of(postings, similarity, statistics)
    with damage_named(postings.name):
        factors = factors_of(postings, query, similarity, statistics)
        return _sums(postings, factors, norms, rows)


def explain_row(
    postings: Postings,
    query: TermVectors,
    similarity: Similarity,
    statistics: Statistics,
    row: int,
) -> list[TermPart]:
    """The shared terms' parts of a row's score, ascending by term; they add up to it.

    `weight` is the stored one, `impact` includes idf where the similarity has it, and
    contribution = query_weight * impact as the score adds it.
    """
    factors = factors_of(postings, query, similarity, statistics)
    norms = norms_of(postings, similarity, statistics)
    parts = []
    for i, column in enumerate(query.indices.tolist()):
        number, factor, query_weight = factors.numbers[i], factors.factors[i], query.values[i]
        if number < 0 or query_weight == 0:
            continue
        rows, weights = postings.postings(int(number))
        at = np.flatnonzero(rows == row)
        if not len(at):
            continue
        contribution = float(factor * _impacts(weights[at], norms, rows[at])[0])
        parts.append(
            TermPart(
                query.terms[column],
                float(query_weight),
                float(weights[at[0]]),
                contribution / float(query_weight),
                contribution,
                int(statistics.document_frequency[column]),
            )
        )
    return sorted(parts, key=lambda part: part.term)


# --- by the extension


def _search_natively(
    postings: Postings,
    factors: Factors,
    k: int,
    norms: Norms | None,
    *,
    eligible: NDArray[np.bool_] | None,
    owners: NDArray[np.uint32] | None,
    floors: Float32s | None,
    plan: Plan,
) -> list[TopK]:
    n_queries = len(factors)
    k = min(k, postings.n_rows)
    if k == 0:
        return [TopK(np.empty(0, np.int64), np.empty(0, np.float32))] * n_queries
    ids = np.empty((n_queries, k), np.int64)
    scores = np.empty((n_queries, k), np.float32)
    counts = np.empty(n_queries, np.int64)
    places = None if eligible is None else postings.marks.of(eligible).places
    lists = postings.lists
    assert lists is not None

    def work(some: slice) -> None:
        lists.search(
            factors.numbers,
            factors.factors,
            factors.indptr[some.start : some.stop + 1],
            k,
            None if norms is None else norms.rows,
            None if norms is None else norms.blocks,
            places,
            owners,
            None if floors is None else floors[some],
            PLANS[plan],
            ids[some],
            scores[some],
            counts[some],
        )

    n_parts = n_queries // QUERIES_AT_ONCE
    n_parts = min(cores(), n_parts) if n_parts > 1 else 1
    bounds = [n_queries * i // n_parts for i in range(n_parts + 1)]
    on_threads(work, [slice(*pair) for pair in pairwise(bounds)])
    sizes = counts.tolist()
    return [TopK(ids[i, :size], scores[i, :size]) for i, size in enumerate(sizes)]


# --- by numpy


def _each(factors: Factors) -> Iterator[Factors]:
    """The queries one by one."""
    for start, stop in pairwise(factors.indptr.tolist()):
        indptr = np.array([0, stop - start], np.int64)
        yield Factors(indptr, factors.numbers[start:stop], factors.factors[start:stop])


def _terms(query: Factors) -> list[tuple[int, np.float32]]:
    """One query's terms in this segment, ascending, and their factors > 0."""
    pairs = zip(query.numbers.tolist(), query.factors, strict=True)
    return sorted((number, factor) for number, factor in pairs if number >= 0 and factor > 0)


def _all_sums(postings: Postings, query: Factors, norms: Norms | None) -> Float32s:
    """Every row's score, term at a time: float32 (n_rows,)."""
    sums = np.zeros(postings.n_rows, np.float32)
    for number, factor in _terms(query):
        rows, weights = postings.postings(number)
        sums[rows] += _impacts(weights, norms, rows) * factor
    return sums


def _sums(
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
        sums[shared] += _impacts(stored[at[shared]], norms, rows[shared]) * factor
    return sums


def _impacts(weights: Float32s, norms: Norms | None, rows: NDArray[np.int64]) -> Float32s:
    """What a score takes stored weights in rows for."""
    return weights if norms is None else BM25.impacts(weights, norms.rows[rows])


def _ranked(
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
