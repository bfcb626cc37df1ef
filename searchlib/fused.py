"""Fusion of retrievers with score completion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from indexes.snapshot import Selection, Snapshot
from indexes.types import TopK, Unit

from .adaptive import Trust
from .completion import Candidates, Completion
from .errors import BadQuery
from .fusing import best, fused
from .methods import Method, explained_value
from .naming import name_ids
from .pool import Pool, distinct
from .scorer import Floats, Ids, Scorer, explained, ranked_ids
from .smoothing import Neighbourhood, Smoothing
from .types import Explanation, Ranking

WIDEST = 64  # times `depth`, where many candidates are copies of each other


class _Known(NamedTuple):
    """The query that came last: its pool, that pool fused, and who is near whom in it."""

    query: str
    where: Selection | None
    unit: Unit
    ids: Ids  # (n,) ascending
    pool: Pool
    merged: Floats  # (n,)
    around: Neighbourhood | None


@dataclass(frozen=True)
class Fused:
    """Several scorers merged over complete scores: every candidate of any part gets its true
    score from all parts before they are normalised and summed.

    `method` is a normaliser, one per part, ReciprocalRank or OpinionPool. `depth` is how many of
    each part's best make the pool on which normalisation rests: more makes it steadier and slower,
    and a score never depends on k. Good range 20-200. `trust` adapts the weights to each query,
    `smoothing` lets a good candidate's neighbours have a say in its score.
    """

    name: str
    parts: tuple[Scorer, ...]
    weights: tuple[float, ...]
    method: Method
    depth: int = 50
    trust: Trust | None = None
    smoothing: Smoothing | None = None
    _last: list[_Known] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.parts:
            raise BadQuery("a fusion needs at least one retriever")
        if len(self.weights) != len(self.parts):
            raise BadQuery(f"{len(self.parts)} retrievers but {len(self.weights)} weights")
        if any(not weight >= 0 for weight in self.weights):
            raise BadQuery(f"illegal fusion weights: {self.weights}, must be 0 or more")
        if self.depth < 1:
            raise BadQuery(f"illegal fusion depth: {self.depth}, must be 1 or more")
        if isinstance(self.method, tuple) and len(self.method) != len(self.parts):
            raise BadQuery(f"{len(self.parts)} retrievers but {len(self.method)} normalisers")
        if self.trust is not None and len(self.trust.guides) != len(self.parts):
            raise BadQuery(f"{len(self.parts)} retrievers but {len(self.trust.guides)} guides")

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot that all parts search."""
        return self.parts[0].snapshot

    @property
    def direct(self) -> bool:
        """A fused score takes a search of every part."""
        return False

    def search(
        self, queries: Sequence[str], k: int, where: str | None = None, unit: Unit = "document"
    ) -> list[Ranking]:
        """One ranking a query."""
        return ranked_ids(self, queries, k, where, unit)

    def explain(self, query: str, id: str, where: str | None = None) -> Explanation:
        """Each part's weight, normalisation and own explanation, summing to the score."""
        return explained(self, query, id, where)

    def top(
        self, queries: Sequence[str], k: int, where: Selection | None, unit: Unit
    ) -> list[TopK]:
        """The k best ids of each query."""
        depth = max(k, self.depth)
        if len(queries) == 1:
            found = Completion(self.parts, queries[0], where, unit).candidates(depth)
            return [self._best(found, self._remembered(queries[0], where, unit, found), k)]
        lists = [part.top(queries, depth, where, unit) for part in self.parts]
        answers = []
        for query, tops in zip(queries, zip(*lists, strict=True), strict=True):
            found = Completion(self.parts, query, where, unit).completed(tops)
            answers.append(self._best(found, self._known(query, where, unit, found), k))
        return answers

    def top_weighted(
        self, query: str, k: int, weightings: Sequence[tuple[float, ...]]
    ) -> list[TopK]:
        """The k best documents under each of several weightings, searched for once."""
        asked = Completion(self.parts, query, None, "document")
        found = asked.candidates(max(k, self.depth))
        answers = []
        for weights in weightings:
            weighted = replace(self, weights=weights)
            known = weighted._known(query, None, "document", found)
            answers.append(weighted._best(found, known, k))
        return answers

    def top_and_scores(
        self, query: str, k: int, ids: Ids, where: Selection | None, unit: Unit
    ) -> tuple[TopK, Floats]:
        """The k best ids, and the fused scores of `ids`."""
        return self.top([query], k, where, unit)[0], self.scores(query, ids, where, unit)

    def scores(self, query: str, ids: Ids, where: Selection | None, unit: Unit) -> Floats:
        """Fused scores of `ids`, normalised over the same pool as `top`'s."""
        complete = Completion(self.parts, query, where, unit).scores(ids)
        return self._final(ids, complete, self._asked(query, where, unit))

    def passage_scores(self, query: str, passages: Ids, where: Selection | None) -> Floats:
        """Their parts' scores, normalised as those of documents are; without neighbours."""
        complete = Completion(self.parts, query, where, "passage").scores(passages)
        return self._merged(complete, self._asked(query, where, "document").pool)

    def full_score(self, query: str, where: Selection | None, unit: Unit) -> float | None:
        """No score of a fusion says so."""
        return None

    def explain_id(self, query: str, id: int, where: Selection | None, unit: Unit) -> Explanation:
        """The sum of the parts' weighted, normalised scores, each with its own tree, and of what
        its neighbours add."""
        known = self._asked(query, where, unit)
        if self.trust is None:
            weights = [Explanation(weight, "weight") for weight in self.weights]
        else:
            weights = self.trust.explain(self.weights, known.pool)
        ids = np.array([id], np.int64)
        nodes = []
        for i, (part, weight) in enumerate(zip(self.parts, weights, strict=True)):
            score = part.scores(query, ids, where, unit)
            tree = part.explain_id(query, id, where, unit)
            value = explained_value(self.method, i, known.pool, score, tree)
            share = weight.value * value.value
            nodes.append(Explanation(share, part.name, "product", (weight, value)))
        if self.smoothing is not None and known.around is not None:
            [place] = known.around.places(ids).tolist()
            if place >= 0:
                names = name_ids(self.snapshot, known.around.ids, unit)
                nodes.append(self.smoothing.explain(place, known.around, names))
        total = sum(node.value for node in nodes)
        return Explanation(total, f"{self.name}: sum of parts", "sum", tuple(nodes))

    def _asked(self, query: str, where: Selection | None, unit: Unit) -> _Known:
        for last in self._last:
            if (last.query, last.unit) == (query, unit) and last.where is where:
                return last
        found = Completion(self.parts, query, where, unit).candidates(self.depth)
        return self._remembered(query, where, unit, found)

    def _remembered(
        self, query: str, where: Selection | None, unit: Unit, found: Candidates
    ) -> _Known:
        known = self._known(query, where, unit, found)
        self._last[:] = [known]
        return known

    def _known(self, query: str, where: Selection | None, unit: Unit, found: Candidates) -> _Known:
        within, pool = self._pool(query, where, unit, found)
        merged = self._merged(within.scores, pool)
        around = None
        if (smoothing := self.smoothing) is not None:
            around = smoothing.neighbourhood(
                within.ids,
                merged,
                lambda ids: smoothing.placed.vectors(query, ids, where, unit),
            )
        return _Known(query, where, unit, within.ids, pool, merged, around)

    def _pool(
        self, query: str, where: Selection | None, unit: Unit, found: Candidates
    ) -> tuple[Candidates, Pool]:
        """What normalisation rests on: every part's best, copies of one document once.

        Where copies leave fewer than `depth`, more are looked for: of candidates that are all
        alike nothing could be said, neither of these nor of the others.
        """
        within, depth = found.within(self.depth), self.depth
        kept = distinct(within.scores)
        while len(kept) < self.depth and depth < WIDEST * self.depth:
            if all(len(ids) < depth for ids in within.tops):  # there are no more
                break
            depth *= 4
            within = Completion(self.parts, query, where, unit).candidates(depth)
            kept = distinct(within.scores)
        full: tuple[float | None, ...] = ()
        if self.trust is not None:
            full = tuple(part.full_score(query, where, unit) for part in self.parts)
        if len(kept) == len(within.ids):
            return within, Pool(within.scores, full)
        return within, Pool(np.take(within.scores, kept, axis=1), full)

    def _best(self, found: Candidates, known: _Known, k: int) -> TopK:
        return best(found.ids, self._final(found.ids, found.scores, known), k)

    def _merged(self, scores: Floats, pool: Pool) -> Floats:
        return fused(self.method, self.weights, self.trust, pool, scores)

    def _final(self, ids: Ids, scores: Floats, known: _Known) -> Floats:
        merged = known.merged if ids is known.ids else self._merged(scores, known.pool)
        return merged if known.around is None else known.around.apply(ids, merged)
