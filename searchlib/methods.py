"""Methods of fusion: what each makes of complete scores before weights multiply them.

`values` is what a search computes, for all parts and candidates at once; `explained_value` is the
same for one part's score of one document, by the formulas of `fusion`, as a tree that adds up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import BadQuery
from .fusion import Affine, Floats, Normaliser, log_share, ranks_of, reciprocal_rank
from .pool import Pool
from .types import Explanation


@dataclass(frozen=True)
class ReciprocalRank:
    """Fusion by rank alone: weight / (constant + rank), ranks within the completed pool."""

    constant: float = 60.0

    def __post_init__(self) -> None:
        if self.constant <= 0:
            raise BadQuery(f"illegal RRF constant: {self.constant}, must be greater than 0")


@dataclass(frozen=True)
class OpinionPool:
    """Fusion of shares: each part deals out the pool by a softmax of its z-scores, and what it
    gives a candidate counts by the part's weight (a linear opinion pool; Stone 1961).

    So a part is heard the more, the further a candidate stands out in it: a rare word in BM25, a
    close paraphrase in a dense model. `rate` (default 0.4; good range 0.2-0.6): the larger, the
    more so; near 0 it ranks as weighted z-scores do.
    """

    rate: float = 0.4

    def __post_init__(self) -> None:
        if not 0 < self.rate <= 2:
            raise BadQuery(f"illegal opinion pool rate: {self.rate}, must be above 0, at most 2")


Method = tuple[Normaliser, ...] | ReciprocalRank | OpinionPool
"""A normaliser a part, or one of the two that look at all candidates."""


def values(method: Method, pool: Pool, scores: Floats) -> NDArray[np.float64]:
    """What a method makes of complete scores (parts, m), given the pool: float64 (parts, m)."""
    if isinstance(method, OpinionPool):
        shares = np.exp(method.rate * pool.standardised(scores))
        even = shares if scores is pool.scores else np.exp(method.rate * pool.z)
        if even.shape[1]:
            shares /= np.add.reduce(even, 1, keepdims=True) / even.shape[1]
        return shares
    rows = zip(scores, pool.scores, strict=True)
    if isinstance(method, ReciprocalRank):
        ranks = (ranks_of(row, of_pool) for row, of_pool in rows)
        return np.stack([reciprocal_rank(some, method.constant) for some in ranks])
    normalised = zip(method, rows, strict=True)
    return np.stack([normalise(of_pool)(row) for normalise, (row, of_pool) in normalised])


def explained_value(
    method: Method, part: int, pool: Pool, score: Floats, tree: Explanation
) -> Explanation:
    """What a method makes of a part's score (1,), which `tree` explains."""
    row = pool.scores[part]
    if isinstance(method, ReciprocalRank):
        rank = int(ranks_of(score, row)[0])
        value = float(reciprocal_rank(np.array([rank]), method.constant)[0])
        note = f"rank {rank}, 1 / ({method.constant:g} + {rank})" if rank else "not retrieved"
        return Explanation(value, "reciprocal rank", note=f"{note}; score {tree.value:.4f}")
    if isinstance(method, OpinionPool):
        logarithm = _affine_node(tree, log_share(row, method.rate))
        note = "of the pool of candidates, against an even share"
        return Explanation(math.exp(logarithm.value), "share", "exp", (logarithm,), note)
    return _affine_node(tree, method[part](row))


def _affine_node(tree: Explanation, affine: Affine) -> Explanation:
    shifted = Explanation(
        tree.value - affine.shift,
        "score minus shift",
        "sum",
        (tree, Explanation(-affine.shift, "shift", note="from the pool of candidates")),
    )
    scale = Explanation(affine.scale, "scale", note="from the pool of candidates")
    return Explanation(shifted.value * affine.scale, "normalised", "product", (scale, shifted))
