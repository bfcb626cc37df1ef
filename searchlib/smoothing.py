"""Smoothing: what resembles a good candidate is more likely to be good.

The cluster hypothesis (van Rijsbergen 1979) as score regularisation (Diaz, CIKM 2005): a
candidate's score moves towards the scores of those candidates that its vector is nearest to. It
moves the less, the further single candidates stand out in their words: who asks for a name or a
number wants what has it, not what is like it. `benchmarks/fusion.py` shows what that brings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from indexes.selection import Selection
from indexes.types import Unit
from indexes.vectors import products_between

from .errors import BadQuery
from .fusing import nearness
from .pool import Pool
from .scorer import Floats, Ids
from .types import Explanation

Float64s = NDArray[np.float64]
LEAST_PER_NEIGHBOUR = 6  # candidates: with fewer, all would be each other's neighbours


VectorsOf = Callable[[Ids], Floats]
"""The vectors (m, dim) of candidates (m,)."""


class Placed(Protocol):
    """Whoever knows where candidates lie."""

    def vectors(self, query: str, ids: Ids, where: Selection | None, unit: Unit) -> Floats:
        """The vector of each id (m, dim); of a document that of the passage best for the query."""
        ...


@dataclass(frozen=True)
class Smoothing:
    """How much neighbours count in the score of a candidate.

    `placed`: whose vectors say what is near. `words`: the number of the part whose sharpness speaks
    against it. `share` (default 0.6, good range 0.3-0.7): of the neighbours where that part tells
    nothing apart; `sharpness` (3, 2-4): how fast it falls as that part's shares get less even.
    `neighbours` (15, 6-20): at most so many count, and one for every 6 candidates.
    """

    placed: Placed
    words: int = 0
    share: float = 0.6
    sharpness: float = 3.0
    neighbours: int = 15

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise BadQuery(f"illegal smoothing: {self.share}, must be between 0 and 1")
        if not 0 <= self.sharpness <= 10:
            raise BadQuery(
                f"illegal sharpness of smoothing: {self.sharpness}, must be between 0 and 10"
            )
        if self.neighbours < 1:
            raise BadQuery(f"illegal neighbours: {self.neighbours}, must be 1 or more")

    def share_for(self, pool: Pool) -> float:
        """The neighbours' share for the query that has this pool."""
        return self.share * math.exp(self.sharpness * (pool.evenness[self.words] - 1))

    def neighbourhood(self, ids: Ids, vectors_of: VectorsOf) -> Neighbourhood | None:
        """Who is near whom among a pool's `ids` (n,), ascending; None where they are too few."""
        most = min(self.neighbours, len(ids) // LEAST_PER_NEIGHBOUR)
        if not self.share or not most:
            return None
        directions = _directions(vectors_of(ids))
        similar = products_between(directions, directions)
        among = nearness(similar, np.arange(len(ids)), most)
        return Neighbourhood(ids, directions, most, among)

    def explain(
        self, score: float, pool: Pool, scores: Floats, near: Float64s, names: Sequence[str]
    ) -> Explanation:
        """What smoothing adds to a `score`, given those of the pool (n,), called `names`."""
        evenness = pool.evenness[self.words]
        share = Explanation(
            self.share_for(pool),
            "neighbours' share for this query",
            "product",
            (
                Explanation(self.share, "share"),
                Explanation(
                    math.exp(self.sharpness * (evenness - 1)),
                    "sharpness",
                    note=f"evenness of the words' shares {evenness:.3f}",
                ),
            ),
        )
        nodes = []
        for place in sorted(np.flatnonzero(near).tolist(), key=lambda i: (-near[i], i)):
            above = float(scores[place]) - score
            leaves = (
                Explanation(float(near[place]), "nearness"),
                Explanation(above, "its score above this one", note=f"{scores[place]:.4f}"),
            )
            value = leaves[0].value * above
            nodes.append(Explanation(value, f"neighbour {names[place]}", "product", leaves))
        moved = Explanation(sum(node.value for node in nodes), "neighbours", "sum", tuple(nodes))
        return Explanation(
            share.value * moved.value, "smoothing over neighbours", "product", (share, moved)
        )


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """The candidates of a pool, their directions (n, dim), and how near each is to each (n, n)."""

    ids: Ids
    directions: Floats
    most: int
    among: Float64s

    def of(self, ids: Ids, vectors_of: VectorsOf) -> Float64s:
        """How near the pool's candidates are to each of `ids`, in the pool or not: (m, n)."""
        if ids is self.ids:
            return self.among
        at = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        near = self.among[at]
        if len(outside := np.flatnonzero(self.ids[at] != ids)):
            similar = products_between(_directions(vectors_of(ids[outside])), self.directions)
            near[outside] = nearness(similar, np.full(len(outside), -1), self.most)
        return near


def smoothed(scores: Floats, pool: Floats, near: Float64s, share: float) -> Floats:
    """Scores (m,) moved towards those of the pool (n,) by how `near` (m, n) they are.

    s + share * sum over j of near[j] * (pool[j] - s); rows of `near` add up to at most 1.

    >>> near = np.array([[0.0, 0.5, 0.5]])
    >>> smoothed(np.array([2.0]), np.array([2.0, 1.0, 0.0]), near, 0.5).tolist()
    [1.25]
    """
    # subtle: not `@`, whose rounding depends on how many rows it is given
    around = np.einsum("ij,j->i", near, pool.astype(np.float64))
    moved = scores + share * (around - near.sum(1) * scores)
    result: Floats = moved.astype(np.float32)
    return result


def _directions(vectors: Floats) -> Floats:
    """Vectors of length 1, where they have a length."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    lengths[lengths == 0] = 1
    directions: Floats = vectors / lengths[:, None]
    return directions
