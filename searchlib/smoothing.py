"""Smoothing: what resembles a good candidate is more likely to be good.

The cluster hypothesis (van Rijsbergen 1979) as score regularisation (Diaz, CIKM 2005): among the
best candidates, a score moves towards the scores of those that its vector is nearest to.
`benchmarks/fusion.py` shows what that brings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from indexes.selection import Selection
from indexes.types import Unit

from .errors import BadQuery
from .scorer import Floats, Ids
from .types import Explanation

FAR = 0.01  # a cosine: who is together no nearer than that to another hardly counts
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

    `placed`: whose vectors say what is near. `share` (default 0.3, good range 0.2-0.4): of the
    neighbours' scores. `candidates` (64, 50-150): so many of the best have neighbours, among
    themselves; `neighbours` (10, 8-15): at most so many count, and one for every 6 candidates.
    """

    placed: Placed
    share: float = 0.3
    candidates: int = 64
    neighbours: int = 10

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise BadQuery(f"illegal smoothing: {self.share}, must be between 0 and 1")
        if self.candidates < 1 or self.neighbours < 1:
            few = min(self.candidates, self.neighbours)
            raise BadQuery(f"illegal candidates or neighbours: {few}, must be 1 or more")

    def neighbourhood(
        self, ids: Ids, scores: Floats, vectors_of: VectorsOf
    ) -> Neighbourhood | None:
        """The best of a pool's `ids` (n,), ascending, by their `scores` (n,), and who is near whom
        among them; None where they are too few."""
        most = min(self.neighbours, min(self.candidates, len(ids)) // LEAST_PER_NEIGHBOUR)
        if not self.share or not most:
            return None
        if len(ids) > self.candidates:
            chosen = np.sort(np.argsort(-scores, kind="stable")[: self.candidates])
            ids, scores = ids[chosen], scores[chosen]
        near = nearness(cosines(vectors_of(ids)), most)
        return Neighbourhood(ids, scores, near, smoothed(scores, near, self.share))

    def explain(self, place: int, among: Neighbourhood, names: Sequence[str]) -> Explanation:
        """What smoothing adds to the score of one of the neighbourhood, which has these names."""
        near, scores = among.near[place], among.scores
        nodes = []
        for other in sorted(np.flatnonzero(near).tolist(), key=lambda i: (-near[i], i)):
            above = float(scores[other]) - float(scores[place])
            leaves = (
                Explanation(float(near[other]), "nearness"),
                Explanation(above, "its score above this one", note=f"{scores[other]:.4f}"),
            )
            value = leaves[0].value * above
            nodes.append(Explanation(value, f"neighbour {names[other]}", "product", leaves))
        moved = Explanation(sum(node.value for node in nodes), "neighbours", "sum", tuple(nodes))
        share = Explanation(self.share, "share")
        value = share.value * moved.value
        return Explanation(value, "smoothing over neighbours", "product", (share, moved))


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """The best candidates of a query: `ids` (n,) ascending, their own `scores`, how `near` each
    is to each (n, n), and their `smoothed` scores, none below the least of their own."""

    ids: Ids
    scores: Floats
    near: Floats
    smoothed: Floats

    def places(self, ids: Ids) -> Ids:
        """Where `ids` (m,) are among these, -1 where they are not."""
        at = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.where(self.ids[at] == ids, at, -1)

    def apply(self, ids: Ids, scores: Floats) -> Floats:
        """`scores` (m,) with the smoothed ones of those who are among these."""
        at = self.places(ids)
        return np.where(at < 0, scores, self.smoothed[at])


def cosines(vectors: Floats) -> Floats:
    """Between all rows (n, dim): (n, n); 0 where a row is 0."""
    products = vectors @ vectors.T
    lengths = np.sqrt(np.maximum(products.diagonal(), 0))
    scales = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    products *= scales
    products *= scales[:, None]
    return products


def nearness(similar: Floats, most: int) -> Floats:
    """How near n candidates are to each other, (n, n), from their cosines.

    A candidate counts by how much more similar it is than the one after the `most` most similar
    ones, or than 0, so that nothing hangs on a tie; over the row's sum and FAR. Itself, nothing.

    >>> nearness(np.array([[1, 0.5, 0], [0.5, 1, 0.25], [0, 0.25, 1]], np.float32), 1).round(2)
    array([[0.  , 0.98, 0.  ],
           [0.96, 0.  , 0.  ],
           [0.  , 0.96, 0.  ]], dtype=float32)
    """
    near = similar.copy()
    np.fill_diagonal(near, 0)
    if most < len(near):
        after = len(near) - most - 1
        near -= np.maximum(np.partition(near, after, axis=1)[:, after, None], 0)
    np.maximum(near, 0, out=near)
    near /= np.add.reduce(near, 1, keepdims=True) + np.float32(FAR)
    return near


def smoothed(scores: Floats, near: Floats, share: float) -> Floats:
    """Scores (n,) moved towards each other by how `near` (n, n) they are.

    s + share * sum over j of near[j] * (s[j] - s); rows of `near` add up to at most 1.

    >>> near = np.array([[0, 0.5, 0.5], [0, 0, 0], [0, 0, 0]], np.float32)
    >>> smoothed(np.array([2, 1, 0], np.float32), near, 0.5).tolist()
    [1.25, 1.0, 0.0]
    """
    moved: Floats = near @ scores
    moved -= np.add.reduce(near, 1) * scores
    moved *= np.float32(share)
    moved += scores
    return moved
