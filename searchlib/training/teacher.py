"""What the teacher says of candidates: several retrievers' scores as one, or a cross-encoder's.

Distilling a heterogeneous ensemble into a sparse student: Geng et al. 2024 (arXiv:2411.04403).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import BadQuery
from ..indexing import no_progress
from ..protocols import Progress
from .mining import CandidateLists

Floats = NDArray[np.float32]

CrossEncoder = Callable[[str, Sequence[str]], NDArray[np.float32]]
"""Scores of texts (m,) for a query, read together with it; larger is better."""


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


def over_pool(lists: CandidateLists, weights: TeacherWeights) -> Floats:
    """Teacher's scores (n, m): weighted sum of z-scores, mean and deviation of each query's pool.

    The pool is what all retrievers found, random candidates apart: as in the index's own hybrid.
    """
    normalised = z_normalised(lists.scores, lists.means, lists.deviations)
    return _weighted(normalised, weights.of(lists.retrievers))


def over_list(lists: CandidateLists, weights: TeacherWeights) -> Floats:
    """The same with mean and deviation of the list's own candidates, random ones included."""
    means, deviations = lists.scores.mean(axis=2), lists.scores.std(axis=2)
    normalised = z_normalised(lists.scores, means, deviations)
    return _weighted(normalised, weights.of(lists.retrievers))


def by_cross_encoder(
    queries: Sequence[str],
    texts: Sequence[Sequence[str]],
    cross_encoder: CrossEncoder,
    on_progress: Progress = no_progress,
) -> Floats:
    """What a cross-encoder says of each query's candidates, (n, m).

    Raises BadQuery if it gives something else than one finite number a text.
    """
    rows = []
    for number, (query, some) in enumerate(zip(queries, texts, strict=True), 1):
        scores = np.asarray(cross_encoder(query, some), np.float32)
        if scores.shape != (len(some),) or not np.isfinite(scores).all():
            raise BadQuery(
                f"the cross-encoder gave {scores.shape} for {len(some)} texts, or what is no number"
            )
        rows.append(scores)
        on_progress(number, len(queries), "teacher")
    return np.stack(rows)


def _weighted(normalised: Floats, weights: Floats) -> Floats:
    together: Floats = np.einsum("nrm,r->nm", normalised, weights)
    return together.astype(np.float32)
