"""Batches for the loop: queries that belong together, and documents that all of them meet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import BadQuery
from .batch import Batch
from .mining import CandidateLists
from .pairs import PseudoQuery
from .texts import PassageTexts

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]

Teacher = Callable[[Ids, Ids], Floats]
"""(B, n) float32: what the teacher says of n passages, for the queries of B rows."""

_LOOKED_AT = 2000  # queries among which those near an anchor are looked for


@dataclass(frozen=True)
class DrawSettings:
    """What a batch is drawn from.

    `queries`, `documents`: of a batch; each query meets each document. `hard`: of each query's
    best candidates, how many go into the batch; the rest of its documents are random. `near`: how
    many times `queries` the nearest queries to a random one are, of which the batch is drawn; so
    its documents are hard for all. 0 draws from all. `cut`: how often a query's own document
    lacks what became the query; at 0 copying words is rewarded most, at 1 never.

    Raises BadQuery for a number out of its range.
    """

    queries: int = 16
    documents: int = 48
    hard: int = 3
    near: int = 2
    cut: float = 0.5

    def __post_init__(self) -> None:
        for name in ("queries", "hard"):
            if getattr(self, name) < 1:
                raise BadQuery(f"illegal {name}: {getattr(self, name)}, must be 1 or more")
        if self.documents < self.queries + 1:
            raise BadQuery(
                f"illegal documents: {self.documents}, must be more than queries ({self.queries})"
            )
        if self.near < 0:
            raise BadQuery(f"illegal near: {self.near}, must be 0 or more")
        if not 0 <= self.cut <= 1:
            raise BadQuery(f"illegal cut: {self.cut}, must be between 0 and 1")


@dataclass(frozen=True)
class Material:
    """Queries with their candidates: what batches are drawn from.

    One of `teacher` and `answers` is given: `answers` are, of each query, the numbers of all
    passages that answer it. `vectors` (n, dim), of the queries, tell which are near each other.
    """

    queries: Sequence[PseudoQuery]
    lists: CandidateLists
    texts: PassageTexts
    passages: Ids  # all that the index holds
    teacher: Teacher | None = None
    answers: Sequence[Collection[int]] | None = None
    vectors: Floats | None = None

    def __len__(self) -> int:
        return len(self.queries)


def draw(material: Material, settings: DrawSettings, rng: np.random.Generator) -> Batch:
    """One batch; equal generators give equal batches.

    Each query brings the first of its candidates, which is its own passage or an answer, and
    some of the others; no passage stands twice.
    """
    rows = _rows(material, settings, rng)
    lists = material.lists.passages
    own = list(dict.fromkeys(lists[rows, 0].tolist()))
    others: list[int] = []
    for row in rows.tolist():
        some = rng.permutation(lists.shape[1] - 1)[: settings.hard]
        others += lists[row, 1 + some].tolist()
    drawn = rng.choice(material.passages, settings.documents).tolist()
    mixed = [others[i] for i in rng.permutation(len(others))]
    rest = material.passages[: settings.documents].tolist()  # of a small corpus, all
    chosen = list(dict.fromkeys([*own, *mixed, *drawn, *rest]))
    chosen = chosen[: max(settings.documents, len(own))]
    passages = np.array(chosen, np.int64)
    texts = material.texts(passages)
    for row in rows.tolist():
        if rng.random() < settings.cut:
            place = chosen.index(int(lists[row, 0]))
            [texts[place]] = material.texts.without(
                material.queries[row], passages[place : place + 1]
            )
    queries = [material.queries[row].text for row in rows.tolist()]
    if material.teacher is not None:
        return Batch(queries, texts, teacher=material.teacher(rows, passages))
    assert material.answers is not None
    answered = [[passage in material.answers[row] for passage in chosen] for row in rows.tolist()]
    return Batch(queries, texts, positives=np.array(answered, np.bool_))


def _rows(material: Material, settings: DrawSettings, rng: np.random.Generator) -> Ids:
    """Different queries, near each other where vectors tell."""
    count = min(settings.queries, len(material))
    pool = rng.permutation(len(material))[:_LOOKED_AT]
    if material.vectors is None or not settings.near:
        return pool[:count]
    products = material.vectors[pool] @ material.vectors[pool[0]]
    nearest = pool[np.argsort(-products, kind="stable")[: settings.near * count]]
    return nearest[rng.permutation(len(nearest))[:count]]
