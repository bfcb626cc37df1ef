"""Top-k over one segment's inverted file: term at a time, exact.

A score adds a query's terms in ascending order of their UTF-8 bytes, in float32, in posting
lists as in forward rows: `score_all`, `score_rows` and `search` agree bit by bit, whatever the
batch and however rows fell into segments.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .postings import Postings, damage_named
from .similarity import BM25, Similarity, Statistics
from .types import TermPart, TermVectors, TopK

POSTINGS_AT_ONCE = 2**17  # of several lists together; bounds the memory of a long query


def compact(queries: TermVectors) -> TermVectors:
    """The same rows over only the columns they use, terms ascending.

    Do this once before asking for `Statistics` and searching segments: an encoder's columns
    may be a whole vocabulary.
    """
    used = np.unique(queries.indices)
    order = sorted(used.tolist(), key=queries.terms.__getitem__)
    renumbered = np.zeros(int(used[-1]) + 1 if len(used) else 0, np.int32)
    renumbered[order] = np.arange(len(order), dtype=np.int32)
    return TermVectors(
        [queries.terms[column] for column in order],
        queries.indptr,
        renumbered[queries.indices],
        queries.values,
    )


def search(
    postings: Postings,
    queries: TermVectors,
    k: int,
    similarity: Similarity,
    statistics: Statistics,
    *,
    eligible: NDArray[np.bool_] | None = None,
    groups: NDArray[np.int64] | None = None,
) -> list[TopK]:
    """Each query's k best rows that share a term with it; ids are rows of this segment.

    With `groups` (g,), the first row of each group of consecutive rows, ascending from 0,
    groups are ranked instead, by their best row. `eligible` is a bool per row, or per group.
    `statistics` are aligned with `queries.terms`. Raises Damaged.
    """
    if groups is not None and len(groups) == postings.n_rows:
        groups = None  # every group is one row
    with damage_named(postings.name):
        results = []
        norms = _norms(postings, similarity, statistics)
        sums = np.empty(postings.n_rows, np.float32)
        for numbers, factors in _prepared(postings, queries, similarity, statistics):
            sums.fill(0)
            _accumulate(postings, numbers, factors, norms, sums)
            best = sums if groups is None or not len(sums) else np.maximum.reduceat(sums, groups)
            results.append(TopK(*top_k(best, k, eligible)))
        return results


def top_k(
    scores: NDArray[np.float32], k: int, eligible: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k largest scores above 0 and their places, best first; ties by ascending place."""
    if eligible is not None:
        scores = np.where(eligible, scores, np.float32(0))
    floor = floor_of(scores, k)
    ids = np.flatnonzero(scores >= floor if floor > 0 else scores > 0)
    return best_of(ids, scores[ids], k)


def floor_of(scores: NDArray[np.float32], k: int) -> np.float32:
    """A number that at least k scores reach, mostly close to the k-th largest; or -inf.

    The k-th largest of the maxima of disjoint groups of scores is such a number, and is found
    several times faster than the k-th largest score: callers sift what is left.
    """
    groups = max(4 * k, len(scores) // 32)
    if k <= 0 or 2 * groups > len(scores):
        return np.float32(-np.inf)
    depth = len(scores) // groups
    maxima = scores[: depth * groups].reshape(depth, groups).max(axis=0)
    return np.float32(np.partition(maxima, groups - k)[groups - k])


def best_of(
    ids: NDArray[np.int64], values: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k largest values with their ids (ascending on entry), best first, ties by id."""
    if k <= 0:
        return ids[:0], values[:0]
    if len(ids) > k:
        kept = values >= np.partition(values, len(values) - k)[len(values) - k]
        ids, values = ids[kept], values[kept]
    order = np.argsort(-values, kind="stable")[:k]
    return ids[order], values[order]


def score_all(
    postings: Postings, query: TermVectors, similarity: Similarity, statistics: Statistics
) -> NDArray[np.float32]:
    """The score of every row for a query (one row of term vectors), float32 (n_rows,).

    The exhaustive oracle. 0 where row and query share no term. Raises Damaged.
    """
    sums = np.zeros(postings.n_rows, np.float32)
    with damage_named(postings.name):
        norms = _norms(postings, similarity, statistics)
        for numbers, factors in _prepared(postings, query, similarity, statistics):
            _accumulate(postings, numbers, factors, norms, sums)
    return sums


def score_rows(
    postings: Postings,
    query: TermVectors,
    similarity: Similarity,
    statistics: Statistics,
    rows: NDArray[np.int64],
) -> NDArray[np.float32]:
    """`score_all(...)[rows]`, bit by bit, but from the forward rows: float32 (len(rows),)."""
    sums = np.zeros(len(rows), np.float32)
    with damage_named(postings.name):
        for numbers, factors in _prepared(postings, query, similarity, statistics):
            forward = postings.rows(rows)
            factor_of = np.zeros(postings.n_terms, np.float32)
            factor_of[numbers] = factors
            factors_here = factor_of[forward.terms]
            shared = np.flatnonzero(factors_here)
            owner = np.repeat(np.arange(len(rows)), np.diff(forward.indptr))[shared]
            impacts = _impacts(
                postings, similarity, statistics, forward.weights[shared], rows[owner]
            )
            np.add.at(sums, owner, factors_here[shared] * impacts)
    return sums


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
    with damage_named(postings.name):
        forward = postings.rows(np.array([row], np.int64))
        weights = dict(zip(forward.terms.tolist(), forward.weights.tolist(), strict=True))
        multipliers = similarity.term_weights(statistics)
        parts = []
        for column, query_weight in zip(query.indices.tolist(), query.values.tolist(), strict=True):
            term = query.terms[column]
            weight = weights.get(postings.term_id(term))
            if weight is None or query_weight == 0:
                continue
            factor = np.float32(query_weight * multipliers[column])
            stored = np.array([weight], np.float32)
            impact = _impacts(postings, similarity, statistics, stored, np.array([row]))[0]
            contribution = float(factor * impact)
            parts.append(
                TermPart(
                    term,
                    query_weight,
                    weight,
                    contribution / query_weight,
                    contribution,
                    int(statistics.document_frequency[column]),
                )
            )
        return sorted(parts, key=lambda part: part.term)


def _prepared(
    postings: Postings, queries: TermVectors, similarity: Similarity, statistics: Statistics
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Each query's terms in this segment, numbers ascending, and their factors > 0."""
    columns = np.unique(queries.indices)
    numbers_of = np.zeros(len(queries.terms), np.int64)
    numbers_of[columns] = postings.term_ids([queries.terms[column] for column in columns.tolist()])
    numbers = numbers_of[queries.indices]
    multipliers = similarity.term_weights(statistics)[queries.indices]
    factors = (queries.values * multipliers).astype(np.float32)
    owner = np.repeat(np.arange(len(queries)), np.diff(queries.indptr))
    order = np.lexsort((numbers, owner))
    order = order[(numbers[order] >= 0) & (factors[order] > 0)]
    bounds = np.searchsorted(owner[order], np.arange(len(queries) + 1)).tolist()
    numbers, factors = numbers[order], factors[order]
    for start, stop in pairwise(bounds):
        yield numbers[start:stop], factors[start:stop]


def _accumulate(
    postings: Postings,
    numbers: NDArray[np.int64],
    factors: NDArray[np.float32],
    norms: NDArray[np.float32] | None,
    sums: NDArray[np.float32],
) -> None:
    """Add factor * impact of every posting of the terms to its row's sum, term after term."""
    sizes = postings.sizes(numbers)
    ends = np.cumsum(sizes)
    start = 0
    while start < len(numbers):
        reach = (ends[start] - sizes[start]) + POSTINGS_AT_ONCE
        stop = max(start + 1, int(np.searchsorted(ends, reach, "right")))
        docids, weights = postings.gather(numbers[start:stop])
        rows = docids.astype(np.intp)
        impacts = weights if norms is None else BM25.impacts(weights, norms[rows])
        # subtle: add.at adds one posting after the other, so the order of terms is kept
        np.add.at(sums, rows, impacts * np.repeat(factors[start:stop], sizes[start:stop]))
        start = stop


def _norms(
    postings: Postings, similarity: Similarity, statistics: Statistics
) -> NDArray[np.float32] | None:
    if isinstance(similarity, BM25):
        return similarity.norms(postings.lengths, statistics.average_length)
    return None


def _impacts(
    postings: Postings,
    similarity: Similarity,
    statistics: Statistics,
    weights: NDArray[np.float32],
    rows: NDArray[np.int64],
) -> NDArray[np.float32]:
    """What a score takes a stored weight in a row for, given row by row."""
    if isinstance(similarity, BM25):
        norms = similarity.norms(postings.lengths[rows], statistics.average_length)
        return similarity.impacts(weights, norms)
    return weights
