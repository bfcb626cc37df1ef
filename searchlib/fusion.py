"""Formulas that merge several retrievers' scores into one: normalisation and rank fusion.

Every normalisation here is affine, `(score - shift) * scale`, so that a fused score stays a
sum of named parts. Statistics come from a pool of candidates whose scores are complete: each
candidate has its true score from every retriever, not 0 where a list was cut off.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
LEAST_SPREAD = 1e-9  # a pool with less says nothing: its retriever contributes 0 to every candidate


class Affine(NamedTuple):
    """`(score - shift) * scale`."""

    shift: float
    scale: float

    def __call__(self, scores: Floats) -> NDArray[np.float64]:
        """Normalised scores, same shape, float64."""
        normalised: NDArray[np.float64] = (scores.astype(np.float64) - self.shift) * self.scale
        return normalised


Normaliser = Callable[[Floats], Affine]
"""From a pool of one retriever's scores (m,) to the map that normalises them."""


def _spread(width: float) -> float:
    return 1.0 / width if width > LEAST_SPREAD else 0.0


def z_score(pool: Floats) -> Affine:
    """(s - mean) / standard deviation; the default (benchmarks/effectiveness.py says why).

    >>> z_score(np.array([1, 3], np.float32))
    Affine(shift=2.0, scale=1.0)
    """
    if not pool.size:
        return Affine(0.0, 0.0)
    values = pool.astype(np.float64)
    mean = float(values.sum()) / len(values)
    values -= mean
    return Affine(mean, _spread(math.sqrt(float(values @ values) / len(values))))


def log_share(pool: Floats, rate: float) -> Affine:
    """Logarithm of a candidate's share of the pool, relative to an even share:
    rate * z - log(mean over the pool of exp(rate * z)), z being the z-score.

    Its exponential is the softmax of the z-scores times the pool's size: 1 for a candidate as
    likely as the average one. A larger rate favours what stands out in one retriever.

    >>> shares = np.exp(log_share(np.array([1, 3], np.float32), 1.0)(np.array([1, 3], np.float32)))
    >>> shares.round(3).tolist()
    [0.238, 1.762]
    """
    standard = z_score(pool)
    if not standard.scale:  # no spread: all candidates are alike
        return Affine(0.0, 0.0)
    level = math.log(float(np.exp(rate * standard(pool)).mean()))
    return Affine(standard.shift + level / (rate * standard.scale), rate * standard.scale)


def min_max(pool: Floats) -> Affine:
    """(s - min) / (max - min), into 0..1 over the pool (Lee, SIGIR 1997)."""
    if not pool.size:
        return Affine(0.0, 0.0)
    low, high = float(pool.min()), float(pool.max())
    return Affine(low, _spread(high - low))


def theoretical_min_max(floor: float) -> Normaliser:
    """(s - floor) / (max - floor), floor being the least score possible: 0 for BM25 and sparse
    dot products, -1 for cosines (TM2C2 of Bruch, Gai and Ingber, TOIS 2023, section 4.1)."""

    def normaliser(pool: Floats) -> Affine:
        if not pool.size:
            return Affine(0.0, 0.0)
        return Affine(floor, _spread(float(pool.max()) - floor))

    return normaliser


def reciprocal_rank(ranks: NDArray[np.int64], constant: float = 60.0) -> NDArray[np.float64]:
    """1 / (constant + rank), ranks from 1, rank 0 (not retrieved) giving 0.

    Cormack, Clarke and Buettcher, SIGIR 2009, whose constant is 60. A larger constant makes
    the first ranks count less.

    >>> reciprocal_rank(np.array([1, 0])).round(4).tolist()
    [0.0164, 0.0]
    """
    return np.where(ranks > 0, 1.0 / (constant + np.maximum(ranks, 1)), 0.0)


def ranks_of(scores: Floats, pool: Floats) -> NDArray[np.int64]:
    """Rank of each score among the pool's, from 1, equal scores sharing the better rank.

    A score of 0 or less gets rank 0, "not retrieved", where the pool's smallest is 0 or more:
    a document that shares no term with the query was not found.

    >>> ranks_of(np.array([3, 1, 0], np.float32), np.array([3, 1, 0], np.float32)).tolist()
    [1, 2, 0]
    """
    ascending = np.sort(pool)
    better = len(pool) - np.searchsorted(ascending, scores, side="right")
    matchless = (scores <= 0) & (len(pool) > 0 and float(ascending[0]) >= 0)
    return np.where(matchless, 0, better + 1).astype(np.int64)
