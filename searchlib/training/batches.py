"""Batches for the training loop: queries, their candidates' texts, the teacher's scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import BadQuery
from .mining import CandidateLists
from .pairs import PseudoQuery
from .texts import PassageTexts


@dataclass(frozen=True)
class Batch:
    """What one step learns from.

    `documents`: of each query equally many texts; the first is the query's own, or the positive.
    `teacher`: (B, m) float32, larger is better; None where there are labels only.
    """

    queries: list[str]
    documents: list[list[str]]
    teacher: NDArray[np.float32] | None


@dataclass(frozen=True)
class Material:
    """Queries with their candidates, ready to be drawn from: `teacher` (n, m), or None."""

    queries: Sequence[PseudoQuery]
    lists: CandidateLists
    texts: PassageTexts
    teacher: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.queries)

    def candidates(self, row: int, columns: NDArray[np.int64], cut: bool) -> list[str]:
        """The texts of some of a query's candidates; `cut`: without what became the query."""
        passages = self.lists.passages[row, columns]
        return self.texts.without(self.queries[row], passages) if cut else self.texts(passages)


def batches(
    material: Material,
    size: int,
    candidates: int,
    *,
    seed: int,
    cut: float = 0.5,
    start: int = 0,
) -> Iterator[Batch]:
    """Endless batches of `size` queries with `candidates` texts each, from step `start` on.

    Each step draws from a list its first candidate and a random choice of the others. `cut`: in
    which share of the lists the query's own document lacks what became the query; at 0 copying
    words is rewarded most, at 1 never. A step's batch depends on the seed and the step only, so
    that training goes on where it stopped.

    Raises BadQuery for numbers out of their range.
    """
    if size < 1 or candidates < 2:
        raise BadQuery(f"illegal batch: {size} queries of {candidates} texts; need 1 of 2 or more")
    if not 0 <= cut <= 1:
        raise BadQuery(f"illegal cut: {cut}, must be between 0 and 1")
    length = material.lists.passages.shape[1]
    taken = min(candidates, length)
    step = start
    while True:
        rng = np.random.default_rng((seed, step))
        rows = _rows(len(material), size, seed, step)
        documents, teacher = [], []
        for row in rows.tolist():
            others = 1 + rng.permutation(length - 1)[: taken - 1]
            columns = np.concatenate([[0], others])
            documents.append(material.candidates(row, columns, bool(rng.random() < cut)))
            if material.teacher is not None:
                teacher.append(material.teacher[row, columns])
        yield Batch(
            [material.queries[row].text for row in rows.tolist()],
            documents,
            np.stack(teacher) if teacher else None,
        )
        step += 1


def _rows(count: int, size: int, seed: int, step: int) -> NDArray[np.int64]:
    """The queries of a step: epochs, each in an order of its own, laid end to end."""
    places = np.arange(step * size, (step + 1) * size)
    epochs = places // count
    orders = {
        epoch: np.random.default_rng((seed, epoch, 1)).permutation(count)
        for epoch in np.unique(epochs).tolist()
    }
    return np.array([orders[e][p % count] for e, p in zip(epochs, places, strict=True)], np.int64)
