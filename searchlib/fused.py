"""Fusion of retrievers with score completion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from indexes.snapshot import Selection, Snapshot
from indexes.types import TopK, Unit

from .adaptive import Trust
from .errors import BadQuery
from .fusion import Affine, Normaliser, log_share, ranks_of, reciprocal_rank
from .retrievers import Floats, Ids, Scorer, explained, ranked_ids
from .types import Explanation, Ranking


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


class Candidates(NamedTuple):
    """What any part found: `ids` (m,) ascending, each part's scores of them (parts, m)."""

    ids: Ids
    scores: Floats
    tops: Sequence[Ids]  # each part's own, best first


class _Pool(NamedTuple):
    """The pool of one query: each part's scores of it (parts, m)."""

    query: str
    where: Selection | None
    unit: Unit
    scores: Floats


@dataclass(frozen=True)
class Fused:
    """Several scorers merged over complete scores: every candidate of any part gets its true
    score from all parts before they are normalised and summed.

    `method` is a normaliser, one per part, ReciprocalRank or OpinionPool. `depth` is how many of
    each part's best make the pool on which normalisation rests: more makes it steadier and slower,
    and a score never depends on k. Good range 20-200. `trust` adapts the weights to each query.
    """

    name: str
    parts: tuple[Scorer, ...]
    weights: tuple[float, ...]
    method: Method
    depth: int = 50
    trust: Trust | None = None
    _last: list[_Pool] = field(default_factory=list, init=False, repr=False, compare=False)

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
        if len(queries) == 1:
            found = self._candidates(queries[0], max(k, self.depth), where, unit)
            pool = self._pool_of(found)
            self._last[:] = [_Pool(queries[0], where, unit, pool)]
            return [self._best(found, pool, k)]
        lists = [part.top(queries, max(k, self.depth), where, unit) for part in self.parts]
        answers = []
        for i, query in enumerate(queries):
            found = self._completed(query, [ranking[i] for ranking in lists], [], where, unit)
            answers.append(self._best(found, self._pool_of(found), k))
        return answers

    def top_weighted(
        self, query: str, k: int, weightings: Sequence[tuple[float, ...]]
    ) -> list[TopK]:
        """The k best documents under each of several weightings, searched for once."""
        found = self._candidates(query, max(k, self.depth), None, "document")
        pool = self._pool_of(found)
        return [replace(self, weights=weights)._best(found, pool, k) for weights in weightings]

    def top_and_scores(
        self, query: str, k: int, ids: Ids, where: Selection | None, unit: Unit
    ) -> tuple[TopK, Floats]:
        """The k best ids, and the fused scores of `ids`."""
        return self.top([query], k, where, unit)[0], self.scores(query, ids, where, unit)

    def scores(self, query: str, ids: Ids, where: Selection | None, unit: Unit) -> Floats:
        """Fused scores of `ids`, normalised over the same pool as `top`'s."""
        fused = self._merge(self._complete(query, ids, where, unit), self._pool(query, where, unit))
        return fused.astype(np.float32)

    def passage_scores(self, query: str, passages: Ids, where: Selection | None) -> Floats:
        """Their parts' scores, normalised as those of documents are."""
        complete = self._complete(query, passages, where, "passage")
        return self._merge(complete, self._pool(query, where, "document")).astype(np.float32)

    def explain_id(self, query: str, id: int, where: Selection | None, unit: Unit) -> Explanation:
        """The sum of the parts' weighted, normalised scores, each with its own tree."""
        pool = self._pool(query, where, unit)
        weights = self._weights(pool)
        nodes = []
        for i, part in enumerate(self.parts):
            tree = part.explain_id(query, id, where, unit)
            weight = weights[i]
            if isinstance(self.method, ReciprocalRank):
                score = part.scores(query, np.array([id], np.int64), where, unit)
                rank = int(ranks_of(score, pool[i])[0])
                value = float(reciprocal_rank(np.array([rank]), self.method.constant)[0])
                note = (
                    f"rank {rank}, 1 / ({self.method.constant:g} + {rank})"
                    if rank
                    else "not retrieved"
                )
                normalised = Explanation(
                    value, "reciprocal rank", note=f"{note}; score {tree.value:.4f}"
                )
            elif isinstance(self.method, OpinionPool):
                logarithm = _affine_node(tree, log_share(pool[i], self.method.rate))
                value = math.exp(logarithm.value)
                note = "of the pool of candidates, against an even share"
                normalised = Explanation(value, "share", "exp", (logarithm,), note)
            else:
                normalised = _affine_node(tree, self.method[i](pool[i]))
            nodes.append(
                Explanation(
                    weight.value * normalised.value, part.name, "product", (weight, normalised)
                )
            )
        return Explanation(
            sum(node.value for node in nodes), f"{self.name}: sum of parts", "sum", tuple(nodes)
        )

    def _weights(self, pool: Floats) -> list[Explanation]:
        """What each part's share of the score is multiplied by, and why."""
        if self.trust is not None:
            return self.trust.weights(self.weights, pool)
        return [Explanation(weight, "weight") for weight in self.weights]

    def _pool(self, query: str, where: Selection | None, unit: Unit) -> Floats:
        for last in self._last:
            if (last.query, last.unit) == (query, unit) and last.where is where:
                return last.scores
        pool = self._candidates(query, self.depth, where, unit).scores
        self._last[:] = [_Pool(query, where, unit, pool)]
        return pool

    def _pool_of(self, found: Candidates) -> Floats:
        """The candidates that normalisation rests on: every part's best `depth`."""
        if all(len(ids) <= self.depth for ids in found.tops):
            return found.scores
        deep = np.isin(found.ids, np.concatenate([ids[: self.depth] for ids in found.tops]))
        pool: Floats = found.scores[:, deep]
        return pool

    def _candidates(
        self, query: str, depth: int, where: Selection | None, unit: Unit
    ) -> Candidates:
        """Every part's best `depth`, completely scored.

        One part is asked after the other, those first whose scores are at hand anyway; each is
        told what was found before, and scores it in passing.
        """
        tops: dict[int, TopK] = {}
        passing: list[tuple[int, TopK]] = []
        for i in sorted(range(len(self.parts)), key=lambda i: not self.parts[i].direct):
            part = self.parts[i]
            if tops and not part.direct:
                found = np.concatenate([top.ids for top in tops.values()])
                tops[i], scores = part.top_and_scores(query, depth, found, where, unit)
                passing.append((i, TopK(found, scores)))
            else:
                [tops[i]] = part.top([query], depth, where, unit)
        in_order = [tops[i] for i in range(len(self.parts))]
        return self._completed(query, in_order, passing, where, unit)

    def _completed(
        self,
        query: str,
        tops: Sequence[TopK],
        passing: Sequence[tuple[int, TopK]],
        where: Selection | None,
        unit: Unit,
    ) -> Candidates:
        """Complete scores of all parts' best; `passing`: a part, and other scores that it gave."""
        known = [*enumerate(tops), *passing]
        ids, places = _union([some.ids for _, some in known])
        complete = np.full((len(self.parts), len(ids)), np.nan, np.float32)
        start = 0
        for i, some in known:
            stop = start + len(some.ids)
            complete[i, places[start:stop]] = some.scores
            start = stop
        for scores, part in zip(complete, self.parts, strict=True):
            missing = np.flatnonzero(np.isnan(scores))
            if len(missing):
                scores[missing] = part.scores(query, ids[missing], where, unit)
        return Candidates(ids, complete, [top.ids for top in tops])

    def _best(self, found: Candidates, pool: Floats, k: int) -> TopK:
        fused = self._merge(found.scores, pool).astype(np.float32)
        best = np.argsort(-fused, kind="stable")[:k]  # ids ascend: of equal scores the first
        return TopK(found.ids[best], fused[best])

    def _complete(self, query: str, ids: Ids, where: Selection | None, unit: Unit) -> Floats:
        # (parts, m): every candidate's true score from every part
        return np.stack([part.scores(query, ids, where, unit) for part in self.parts])

    def _merge(self, scores: Floats, pool: Floats) -> NDArray[np.float64]:
        fused = np.zeros(scores.shape[1])
        for i, weight in enumerate(node.value for node in self._weights(pool)):
            if isinstance(self.method, ReciprocalRank):
                ranks = ranks_of(scores[i], pool[i])
                fused += weight * reciprocal_rank(ranks, self.method.constant)
            elif isinstance(self.method, OpinionPool):
                fused += weight * np.exp(log_share(pool[i], self.method.rate)(scores[i]))
            else:
                fused += weight * self.method[i](pool[i])(scores[i])
        return fused


def _affine_node(tree: Explanation, affine: Affine) -> Explanation:
    shifted = Explanation(
        tree.value - affine.shift,
        "score minus shift",
        "sum",
        (tree, Explanation(-affine.shift, "shift", note="from the pool of candidates")),
    )
    scale = Explanation(affine.scale, "scale", note="from the pool of candidates")
    return Explanation(shifted.value * affine.scale, "normalised", "product", (scale, shifted))


def _union(parts: Sequence[Ids]) -> tuple[Ids, Ids]:
    """All ids once, ascending, and the place there of each id of the parts."""
    every = np.concatenate(parts)
    ascending = np.sort(every)
    fresh = np.ones(len(every), np.bool_)
    np.not_equal(ascending[1:], ascending[:-1], out=fresh[1:])
    ids = ascending[fresh]
    return ids, np.searchsorted(ids, every)
