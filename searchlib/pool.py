"""The pool of candidates that normalisation rests on, and what its scores say: z-scores, made once.

A pool has a row of complete scores for each part of a fusion. Formulas take all rows together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .fusion import LEAST_SPREAD, Floats

Float64s = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pool:
    """Complete scores of one query's candidates, (parts, m) float32.

    >>> Pool(np.array([[1, 3], [5, 5]], np.float32)).z.tolist()
    [[-1.0, 1.0], [0.0, 0.0]]

    `full` has of each part the score of what has all that the query asks for, None where no score
    says so; () of no part.
    """

    scores: Floats
    full: tuple[float | None, ...] = ()

    @cached_property
    def _standard(self) -> tuple[Float64s, Float64s]:
        """Means, and one over the deviations (0 where a part tells nothing apart), (parts, 1)."""
        count = max(self.scores.shape[1], 1)
        values = self.scores.astype(np.float64)
        means = np.add.reduce(values, 1, keepdims=True) / count
        values -= means
        deviations = np.sqrt(np.einsum("ij,ij->i", values, values) / count)
        scales = [1 / width if width > LEAST_SPREAD else 0.0 for width in deviations.tolist()]
        return means, np.array(scales)[:, None]

    @cached_property
    def z(self) -> Float64s:
        """The pool's own z-scores, (parts, m)."""
        return self.standardised(self.scores)

    def standardised(self, scores: Floats) -> Float64s:
        """The z-scores of complete scores (parts, n), by the pool's means and deviations."""
        means, scales = self._standard
        z: Float64s = scores - means
        z *= scales
        return z

    @cached_property
    def evenness(self) -> list[float]:
        """Of each part (see `evenness_of`)."""
        evenness: list[float] = evenness_of(self.z).tolist()
        return evenness

    @cached_property
    def matchless(self) -> list[float]:
        """Of each part: the share of the candidates that it gives 0."""
        zeros = np.add.reduce(self.scores == 0, 1)
        shares: list[float] = (zeros / max(self.scores.shape[1], 1)).tolist()
        return shares

    @cached_property
    def coverage(self) -> list[float]:
        """Of each part: how much of the query its best candidate has, 0 to 1; 1 where none says so.

        >>> Pool(np.array([[1, 3], [5, 5]], np.float32), (4.0, None)).coverage
        [0.75, 1.0]
        """
        if not any(full is not None for full in self.full):
            return [1.0] * len(self.scores)
        best = np.maximum.reduce(self.scores, 1, initial=0.0).tolist()
        return [
            1.0 if full is None else min(most / full, 1.0) if full > 0 else 0.0
            for most, full in zip(best, self.full, strict=True)
        ]

    def correlation(self, one: int, other: int) -> float:
        """Pearson's, of two parts' scores; 0 where one of them tells nothing apart."""
        correlation: float = float(self.z[one] @ self.z[other]) / max(self.scores.shape[1], 1)
        return correlation


def distinct(scores: Floats) -> NDArray[np.int64]:
    """The places (m,), ascending, of candidates that differ in some part: of equal ones the first.

    Copies of one document would make a pool's deviations as small as they are many.

    >>> distinct(np.array([[1, 1, 2, 1], [5, 5, 5, 5]], np.float32)).tolist()
    [0, 2]
    """
    count = scores.shape[1]
    for row in scores[::-1]:  # mostly no two vectors are equal, and these come last
        if len(set(row.tolist())) == count:
            return np.arange(count)
    firsts: dict[tuple[float, ...], int] = {}
    for place, row in enumerate(map(tuple, scores.T.tolist())):
        firsts.setdefault(row, place)
    return np.array(list(firsts.values()), np.int64)


def evenness_of(z: Float64s) -> Float64s:
    """Entropy of the softmax of each row of z-scores (parts, m), over that of an even one: 0 to 1.

    >>> evenness_of(np.array([[0.0, 0.0], [-1.0, 1.0]])).round(3).tolist()
    [1.0, 0.527]
    """
    parts, count = z.shape
    if count < 2:
        return np.ones(parts)
    logarithms = z - np.maximum.reduce(z, 1, keepdims=True)
    shares = np.exp(logarithms)
    totals = np.add.reduce(shares, 1)
    # - sum of p log p, p being share / total
    entropy = np.log(totals) - np.einsum("ij,ij->i", shares, logarithms) / totals
    evenness: Float64s = entropy / np.log(count)
    return evenness
