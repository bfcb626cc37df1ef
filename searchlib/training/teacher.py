"""What the teacher says of candidates: several retrievers' scores as one, or a cross-encoder's.

Distilling a heterogeneous ensemble into a sparse student: Geng et al. 2024 (arXiv:2411.04403).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import BadQuery
from ..searching import Searching
from .mining import CandidateLists
from .texts import PassageTexts

Floats = NDArray[np.float32]

PairScorer = Callable[[str, Sequence[str]], NDArray[np.float32]]
"""Scores of texts (m,) for a query, read together with it; larger is better.

As `encoders.cross.CrossEncoder(model).score` gives them."""


def _shares() -> dict[str, float]:
    return {"bm25_passage": 0.5, "sparse": 0.5, "dense": 1.0}


@dataclass(frozen=True)
class TeacherWeights:
    """What each retriever's z-score counts; a retriever that is not named counts nothing.

    Raises BadQuery for a weight below 0, or if all are 0.
    """

    weights: Mapping[str, float] = field(default_factory=_shares)

    def __post_init__(self) -> None:
        if any(not weight >= 0 for weight in self.weights.values()):
            raise BadQuery(f"illegal teacher weights: {dict(self.weights)}, must be 0 or more")
        if not any(self.weights.values()):
            raise BadQuery("illegal teacher weights: all are 0; give one retriever a weight")

    def of(self, retrievers: Sequence[str]) -> Floats:
        """(r,) float32. Raises BadQuery if none of the retrievers has a weight."""
        found = np.array([self.weights.get(name, 0.0) for name in retrievers], np.float32)
        if not found.any():
            raise BadQuery(
                f"the teacher weighs {', '.join(self.weights)}, "
                f"but there are only {', '.join(retrievers)}"
            )
        return found


def z_normalised(scores: Floats, means: Floats, deviations: Floats) -> Floats:
    """(s - mean) / deviation; 0 where a retriever gives all the same.

    scores: (n, r, m). means, deviations: (n, r).

    >>> z_normalised(np.array([[[1.0, 3.0]]]), np.array([[2.0]]), np.array([[1.0]]))
    array([[[-1.,  1.]]])
    """
    flat = deviations <= 1e-9
    scale = np.where(flat, 0, 1 / np.where(flat, 1, deviations))
    result: Floats = (scores - means[..., None]) * scale[..., None]
    return result


@dataclass(frozen=True)
class Ensemble:
    """The teacher that needs nothing but the index: a weighted sum of retrievers' z-scores.

    Any passage can be scored, as scores are complete. Means and deviations are those of
    `lists`, over random passages: so a query that nothing answers has low scores throughout.

    Raises BadQuery if none of the retrievers has a weight.
    """

    engine: Searching
    queries: Sequence[str]
    lists: CandidateLists
    weights: TeacherWeights

    def __post_init__(self) -> None:
        self.weights.of(self.lists.retrievers)

    def __call__(self, rows: NDArray[np.int64], passages: NDArray[np.int64]) -> Floats:
        """(B, n) for the queries of B rows and n passages."""
        names = self.lists.retrievers
        scores = np.empty((len(rows), len(names), len(passages)), np.float32)
        for r, part in enumerate(map(self.engine.retriever, names)):
            for b, row in enumerate(rows.tolist()):
                scores[b, r] = part.scores(self.queries[row], passages, None, "passage")
        return together(
            scores, self.lists.means[rows], self.lists.deviations[rows], self.weights.of(names)
        )


def together(scores: Floats, means: Floats, deviations: Floats, weights: Floats) -> Floats:
    """The weighted sum of z-scores, (n, m); arguments as `z_normalised`, weights (r,)."""
    normalised = z_normalised(scores, means, deviations)
    fused: Floats = np.einsum("nrm,r->nm", normalised, weights)
    return fused.astype(np.float32)


@dataclass(frozen=True)
class CrossEncoded:
    """The teacher that a user brings: it reads each query with each passage.

    Costs B * n readings a step. Calling it raises BadQuery if the cross-encoder gives something
    else than one finite number a text.
    """

    queries: Sequence[str]
    texts: PassageTexts
    cross_encoder: PairScorer

    def __call__(self, rows: NDArray[np.int64], passages: NDArray[np.int64]) -> Floats:
        """(B, n) for the queries of B rows and n passages."""
        texts = self.texts(passages)
        found = [np.asarray(self.cross_encoder(self.queries[row], texts)) for row in rows.tolist()]
        for scores in found:
            if scores.shape != (len(texts),) or not np.isfinite(scores).all():
                raise BadQuery(
                    f"the cross-encoder gave {scores.shape} for {len(texts)} texts, "
                    "or what is no number"
                )
        return np.stack(found).astype(np.float32)
