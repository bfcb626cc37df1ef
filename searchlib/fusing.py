"""What a fusion computes for each query: in C where `_fusion` was compiled, else in numpy.

Pools are small, and numpy's calls take longer than the work: one call does what dozens would.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from indexes.types import TopK

from .adaptive import Trust
from .methods import Method, OpinionPool, values
from .pool import Pool
from .scorer import Floats, Ids

try:
    from . import _fusion
except ImportError:  # installed without a compiler
    _fusion = None  # type: ignore[assignment, unused-ignore]


class Given(NamedTuple):
    """Scores (m,) that a part gave of `ids`, some perhaps twice."""

    part: int
    ids: Ids
    scores: Floats


class Union(NamedTuple):
    """All ids given, once each (m,) ascending, and what is known of them."""

    ids: Ids
    scores: Floats  # (parts, m); anything where nothing is known
    missing: list[Ids]  # of each part: the places of what it has not scored


def united(given: list[Given], n_parts: int) -> Union:
    """The ids that parts gave, and each part's scores of them.

    >>> one = Given(0, np.array([7, 3]), np.array([2, 1], np.float32))
    >>> united([one, Given(1, np.array([7]), np.array([5], np.float32))], 2).missing[1].tolist()
    [0]
    """
    total = sum(len(some.ids) for some in given)
    if _fusion is None:
        return _united(given, n_parts, total)
    ids = np.empty(total, np.int64)
    scores = np.empty(n_parts * total, np.float32)
    missing = np.empty((n_parts, total), np.int64)
    counts = np.empty(n_parts, np.int64)
    count = _fusion.complete(given, ids, scores, missing, counts)
    return Union(
        ids[:count],
        scores[: n_parts * count].reshape(n_parts, count),
        [places[:end] for places, end in zip(missing, counts.tolist(), strict=True)],
    )


def fused(
    method: Method, weights: Sequence[float], trust: Trust | None, pool: Pool, scores: Floats
) -> Floats:
    """Fused scores (m,) of complete ones (parts, m), normalised over the pool."""
    if _fusion is not None and isinstance(method, OpinionPool):
        merged = np.empty(scores.shape[1], np.float32)
        guides = rates = coverage = None
        if trust is not None:
            guides = np.array([-1 if guide is None else guide for guide in trust.guides])
            rates = np.array((trust.sharpness, trust.agreement, trust.matchless), np.float64)
            coverage = np.array(pool.coverage, np.float64)
        given = np.array(weights, np.float64)
        _fusion.fuse(scores, pool.scores, given, method.rate, guides, rates, coverage, merged)
        return merged
    if trust is not None:
        weights = trust.weights(weights, pool)
    sums = np.zeros(scores.shape[1])
    # subtle: not `@`, whose rounding depends on how many candidates there are
    for weight, row in zip(weights, values(method, pool, scores), strict=True):
        sums += weight * row
    return sums.astype(np.float32)


def best(ids: Ids, scores: Floats, k: int) -> TopK:
    """The k best of `ids` (m,) by their scores; ties in the order of `ids`."""
    if _fusion is None:
        order = np.argsort(-scores, kind="stable")[:k]
        return TopK(ids[order], scores[order])
    k = min(k, len(ids))
    top = TopK(np.empty(k, np.int64), np.empty(k, np.float32))
    _fusion.best(ids, scores, *top)
    return top


def _united(given: list[Given], n_parts: int, total: int) -> Union:
    every = np.concatenate([some.ids for some in given])
    ids, places = np.unique(every, return_inverse=True)
    scores = np.full((n_parts, len(ids)), np.nan, np.float32)
    known = np.zeros(scores.shape, np.bool_)
    start = 0
    for some in given:
        at = places[start : start + len(some.ids)]
        scores[some.part, at] = some.scores
        known[some.part, at] = True
        start += len(some.ids)
    return Union(ids, scores, [np.flatnonzero(~row) for row in known])
