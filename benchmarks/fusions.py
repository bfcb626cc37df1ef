"""The systems that effectiveness.py compares: every retriever alone, and every fusion of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from indexes.snapshot import Selection, Snapshot
from indexes.types import TopK, Unit
from searchlib import Engine, Explanation
from searchlib.fused import Fused
from searchlib.fusion import Normaliser, min_max, theoretical_min_max, z_score
from searchlib.methods import ReciprocalRank
from searchlib.scorer import Floats, Ids, Scorer

SINGLE = ("bm25", "bm25_passage", "sparse", "lookup", "dense", "static", "instant")
DEFAULT = "hybrid"
FLOORS = {"bm25": 0.0, "sparse": 0.0, "dense": -1.0}  # least possible scores


@dataclass(frozen=True)
class Recipe:
    """A fusion: which retrievers, how heavy each, how their scores are made comparable."""

    method: str  # "RRF", "z", "min-max", "tmm" (theoretical min-max)
    weights: dict[str, float]

    @property
    def name(self) -> str:
        """Such as `z 0.5 bm25 + dense`."""
        shares = ("" if w == 1 else f"{w:g} " for w in self.weights.values())
        return f"{self.method} " + " + ".join(
            f"{share}{part}" for share, part in zip(shares, self.weights, strict=True)
        )

    def normalisers(self) -> ReciprocalRank | list[Normaliser]:
        """What `Engine.fused` takes as its method."""
        if self.method == "RRF":
            return ReciprocalRank()
        if self.method == "tmm":
            return [theoretical_min_max(FLOORS[part]) for part in self.weights]
        return [{"z": z_score, "min-max": min_max}[self.method]] * len(self.weights)


def equal(method: str, *parts: str) -> Recipe:
    """A recipe in which every part weighs 1."""
    return Recipe(method, dict.fromkeys(parts, 1.0))


RECIPES = (
    equal("RRF", "bm25", "sparse", "dense"),
    equal("RRF", "bm25", "dense"),
    equal("RRF", "sparse", "dense"),
    equal("min-max", "bm25", "sparse", "dense"),
    equal("min-max", "bm25", "dense"),
    equal("min-max", "sparse", "dense"),
    equal("tmm", "bm25", "sparse", "dense"),
    equal("tmm", "bm25", "dense"),
    equal("z", "bm25", "sparse", "dense"),
    equal("z", "bm25", "dense"),
    equal("z", "sparse", "dense"),
    equal("z", "bm25", "sparse"),
    Recipe("z", {"bm25": 1.0, "sparse": 0.5, "dense": 1.0}),
    Recipe("z", {"bm25": 0.5, "sparse": 0.5, "dense": 1.0}),
    Recipe("z", {"bm25": 0.5, "sparse": 0.3, "dense": 1.0}),
    Recipe("z", {"bm25": 0.3, "sparse": 0.3, "dense": 1.0}),
    Recipe("z", {"bm25_passage": 0.5, "sparse": 0.5, "dense": 1.0}),
    Recipe("z", {"bm25": 0.5, "lookup": 0.5, "dense": 1.0}),
)


class Remembered:
    """A retriever that remembers its answers, since many fusions ask the same of it.

    Same scores; `forget` frees the memory. Only for whole collections without a filter.
    """

    def __init__(self, part: Scorer) -> None:
        self.part = part
        self.forget()

    def forget(self) -> None:
        """Drops what is remembered."""
        self._tops: dict[tuple[str, int, Unit], TopK] = {}
        self._scores: dict[tuple[str, Unit], tuple[Ids, Floats]] = {}

    @property
    def name(self) -> str:
        return self.part.name

    @property
    def snapshot(self) -> Snapshot:
        return self.part.snapshot

    def top(
        self, queries: Sequence[str], k: int, where: Selection | None, unit: Unit
    ) -> list[TopK]:
        assert where is None
        new = [q for q in dict.fromkeys(queries) if (q, k, unit) not in self._tops]
        if new:
            for query, top in zip(new, self.part.top(new, k, None, unit), strict=True):
                self._tops[query, k, unit] = top
        return [self._tops[query, k, unit] for query in queries]

    def scores(self, query: str, ids: Ids, where: Selection | None, unit: Unit) -> Floats:
        assert where is None
        empty = np.empty(0, np.int64), np.empty(0, np.float32)
        known, scores = self._scores.get((query, unit), empty)
        new = np.setdiff1d(ids, known)
        if new.size:
            known = np.concatenate([known, new])
            scores = np.concatenate([scores, self.part.scores(query, new, None, unit)])
            order = np.argsort(known)
            known, scores = known[order], scores[order]
            self._scores[query, unit] = known, scores
        return scores[np.searchsorted(known, ids)]

    @property
    def direct(self) -> bool:
        return True

    def top_and_scores(
        self, query: str, k: int, ids: Ids, where: Selection | None, unit: Unit
    ) -> tuple[TopK, Floats]:
        return self.top([query], k, where, unit)[0], self.scores(query, ids, where, unit)

    def passage_scores(self, query: str, passages: Ids, where: Selection | None) -> Floats:
        return self.part.passage_scores(query, passages, where)

    def full_score(self, query: str, where: Selection | None, unit: Unit) -> float | None:
        return self.part.full_score(query, where, unit)

    def explain_id(self, query: str, id: int, where: Selection | None, unit: Unit) -> Explanation:
        return self.part.explain_id(query, id, where, unit)


def systems(engine: Engine, depth: int) -> tuple[dict[str, Scorer], list[Remembered]]:
    """Name -> system, and the memories that they share (to be emptied now and then).

    `depth` is how many of each part's best a fusion's normalisation rests on. The two that heed
    what a query quotes, and respell it, do so here too.
    """
    there = engine.retriever_names()
    parts = {name: Remembered(engine.retriever(name)) for name in SINGLE if name in there}
    found: dict[str, Scorer] = dict(parts)
    if "instant" in parts:
        found["instant"] = engine.quoting(parts["instant"])
    default = engine.retriever(DEFAULT)
    if isinstance(default, Fused):  # the same fusion, of parts that remember
        remembering = tuple(parts[part.name] for part in default.parts)
        found[DEFAULT] = engine.quoting(replace(default, parts=remembering, depth=depth))
    for recipe in RECIPES:
        if all(part in parts for part in recipe.weights):
            found[recipe.name] = engine.fused(
                [parts[part] for part in recipe.weights],
                weights=list(recipe.weights.values()),
                method=recipe.normalisers(),
                depth=depth,
            )
    return found, list(parts.values())
