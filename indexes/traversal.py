"""Top-k over one segment's inverted file, exact.

A score adds a query's terms in ascending order of their UTF-8 bytes, in float32, whichever way
it is found: `score_all`, `score_rows` and `search` agree bit by bit, with or without the C
extension, whatever the batch and however rows fell into segments.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .factors import Factors, factors_of
from .norms import Norms, norms_of
from .postings import Postings, damage_named, damaged
from .similarity import Similarity, Statistics
from .sums import all_sums, each, impacts_of, ranked, row_sums
from .threads import cores, on_threads
from .types import TermPart, TermVectors, TopK

Float32s = NDArray[np.float32]
Plan = Literal["auto", "all", "bounded"]
"""Which postings the extension reads: what it estimates to be faster, all, or as bounds allow."""

PLANS: dict[Plan, int] = {"auto": 0, "all": 1, "bounded": 2}
QUERIES_AT_ONCE = 16  # a thread's share of a batch is at least so many
FEW_MARKED = 8  # a posting looked up costs about as much as so many read in passing
NOTHING = np.empty(0, np.int64)
NO_SCORES = np.empty(0, np.float32)


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
    norms = norms_of(postings, similarity, statistics.average_length)
    factors = factors_of(postings, queries, similarity, statistics)
    return best_rows(
        postings, factors, norms, k, eligible=eligible, owners=owners, floors=floors, plan=plan
    )


def best_rows(
    postings: Postings,
    factors: Factors,
    norms: Norms | None,
    k: int,
    *,
    eligible: NDArray[np.bool_] | None = None,
    owners: NDArray[np.uint32] | None = None,
    floors: Float32s | None = None,
    plan: Plan = "auto",
) -> list[TopK]:
    """`search` for queries whose factors in the segment are known."""
    try:
        if eligible is not None and (few := _few(postings, factors, eligible)) is not None:
            sums = [row_sums(postings, one, norms, few) for one in each(factors)]
            return [ranked(few, scores, k, owners, None) for scores in sums]
        if postings.lists is not None:
            places = None if eligible is None else postings.marks.of(eligible).places
            return _search_natively(
                postings, factors, norms, k, places=places, owners=owners, floors=floors, plan=plan
            )
        sums = [all_sums(postings, one, norms) for one in each(factors)]
        rows = np.arange(postings.n_rows)
        return [ranked(rows, scores, k, owners, eligible) for scores in sums]
    except (IndexError, ValueError) as error:
        raise damaged(postings.name, error) from error


def best_rows_and_scores(
    postings: Postings,
    factors: Factors,
    norms: Norms | None,
    k: int,
    rows: NDArray[np.int64],
    *,
    eligible: NDArray[np.bool_] | None = None,
    plan: Plan = "auto",
) -> tuple[TopK, Float32s]:
    """One query's `best_rows`, and the scores of `rows`, which often come with them for nothing."""
    lists = postings.lists
    if lists is None or (eligible is not None and _few(postings, factors, eligible) is not None):
        [top] = best_rows(postings, factors, norms, k, eligible=eligible, plan=plan)
        return top, scores_of(postings, factors, norms, rows)
    try:
        wanted = rows if postings.places is None else postings.places[rows]
        scores = np.empty(len(rows), np.float32)
        [top] = _search_natively(
            postings,
            factors,
            norms,
            k,
            places=None if eligible is None else postings.marks.of(eligible).places,
            owners=None,
            floors=None,
            plan=plan,
            wanted=np.ascontiguousarray(wanted, np.int64),
            wanted_scores=scores,
        )
    except (IndexError, ValueError) as error:
        raise damaged(postings.name, error) from error
    return top, scores


def scores_of(
    postings: Postings, factors: Factors, norms: Norms | None, rows: NDArray[np.int64]
) -> Float32s:
    """`score_rows` for a query whose factors in the segment are known."""
    with damage_named(postings.name):
        return row_sums(postings, factors, norms, rows)


def score_all(
    postings: Postings, query: TermVectors, similarity: Similarity, statistics: Statistics
) -> Float32s:
    """The score of every row for a query (one row of term vectors), float32 (n_rows,).

    The exhaustive oracle, by numpy. 0 where row and query share no term. Raises Damaged.
    """
    norms = norms_of(postings, similarity, statistics.average_length)
    with damage_named(postings.name):
        return all_sums(postings, factors_of(postings, query, similarity, statistics), norms)


def score_rows(
    postings: Postings,
    query: TermVectors,
    similarity: Similarity,
    statistics: Statistics,
    rows: NDArray[np.int64],
) -> Float32s:
    """`score_all(...)[rows]`, bit by bit, reading only these rows' postings: (len(rows),)."""
    norms = norms_of(postings, similarity, statistics.average_length)
    return scores_of(postings, factors_of(postings, query, similarity, statistics), norms, rows)


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
    norms = norms_of(postings, similarity, statistics.average_length)
    parts = []
    for i, column in enumerate(query.indices.tolist()):
        number, factor, query_weight = factors.numbers[i], factors.factors[i], query.values[i]
        if number < 0 or query_weight == 0:
            continue
        rows, weights = postings.postings(int(number))
        at = np.flatnonzero(rows == row)
        if not len(at):
            continue
        contribution = float(factor * impacts_of(weights[at], norms, rows[at])[0])
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
    norms: Norms | None,
    k: int,
    *,
    places: NDArray[np.bool_] | None,
    owners: NDArray[np.uint32] | None,
    floors: Float32s | None,
    plan: Plan,
    wanted: NDArray[np.int64] = NOTHING,
    wanted_scores: Float32s = NO_SCORES,
) -> list[TopK]:
    """`places` marks the eligible ones; the first query's scores of `wanted` places are left in
    `wanted_scores`."""
    n_queries = factors.n_queries
    k = min(k, postings.n_rows)
    if k == 0:
        return [TopK(np.empty(0, np.int64), np.empty(0, np.float32))] * n_queries
    lists = postings.lists
    assert lists is not None
    by_row, by_block = (None, None) if norms is None else (norms.rows, norms.blocks)

    def work(indptr: NDArray[np.int64], floors: Float32s | None) -> list[TopK]:
        ids = np.empty((len(indptr) - 1, k), np.int64)
        scores = np.empty((len(indptr) - 1, k), np.float32)
        counts = lists.search(
            factors.numbers,
            factors.factors,
            indptr,
            k,
            by_row,
            by_block,
            places,
            owners,
            floors,
            PLANS[plan],
            ids,
            scores,
            wanted,
            wanted_scores,
        )
        return [TopK(ids[i, :count], scores[i, :count]) for i, count in enumerate(counts)]

    if n_queries < 2 * QUERIES_AT_ONCE:
        return work(factors.indptr, floors)
    n_parts = min(cores(), n_queries // QUERIES_AT_ONCE)
    bounds = [n_queries * i // n_parts for i in range(n_parts + 1)]

    def part(some: slice) -> list[TopK]:
        indptr = factors.indptr[some.start : some.stop + 1]
        return work(indptr, None if floors is None else floors[some])

    parts = on_threads(part, [slice(*pair) for pair in pairwise(bounds)])
    return [top for part in parts for top in part]


def _few(
    postings: Postings, factors: Factors, eligible: NDArray[np.bool_]
) -> NDArray[np.int64] | None:
    """The eligible rows, if they are so few that their postings had better be looked up."""
    marked = postings.marks.of(eligible)
    cost = marked.count * len(factors.numbers) * FEW_MARKED
    # subtle: reading lists means to look at every row too; eight of them are as fast as a posting
    few = cost < postings.n_rows // 8 or cost < int(postings.sizes(factors.numbers).sum())
    return marked.rows if few else None
