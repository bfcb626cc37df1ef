"""Reranking: a retriever's best candidates in the order of a model that reads query and passage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from indexes.snapshot import Selection, Snapshot
from indexes.types import TopK, Unit

from .errors import BadQuery
from .passages import passage_text
from .protocols import Reranker
from .scorer import Floats, Ids, Scorer, explained, ranked_ids
from .types import Explanation, Ranking

WHOLE = 1 << 30  # characters: the model cuts passages itself


@dataclass
class _Known:
    """Scores of passages that were read for one query."""

    query: str
    scores: dict[int, float]


@dataclass(frozen=True)
class Reranked:
    """A retriever's best `depth` candidates, ordered by a reranker's scores alone.

    A document scores as the best of its `passages` passages that the retriever likes best (MaxP:
    Dai and Callan, SIGIR 2019). A score is the reranker's own and depends neither on k nor on
    `depth`: that says how many are read (20 to 100 is usual; k, if k is more), and so what a
    query costs. Pages beyond it follow in rounds, see `paging`.
    """

    retriever: Scorer
    reranker: Reranker
    depth: int = 50
    passages: int = 3
    _last: list[_Known] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, value in (("depth", self.depth), ("passages", self.passages)):
            if value < 1:
                raise BadQuery(f"illegal rerank {name}: {value}, must be 1 or more")

    @property
    def name(self) -> str:
        """Such as `hybrid, reranked`."""
        return f"{self.retriever.name}, reranked"

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot that is searched."""
        return self.retriever.snapshot

    @property
    def direct(self) -> bool:
        """Any candidate can be read; none is scored in passing."""
        return True

    def search(
        self, queries: Sequence[str], k: int, where: str | None = None, unit: Unit = "document"
    ) -> list[Ranking]:
        """One ranking a query."""
        return ranked_ids(self, queries, k, where, unit)

    def explain(self, query: str, id: str, where: str | None = None) -> Explanation:
        """The reranker's score of each passage that it read."""
        return explained(self, query, id, where)

    def top(
        self, queries: Sequence[str], k: int, where: Selection | None, unit: Unit
    ) -> list[TopK]:
        """The k best of the retriever's best max(k, depth); ties by ascending id."""
        answers = []
        found = self.retriever.top(queries, max(k, self.depth), where, unit)
        for query, candidates in zip(queries, found, strict=True):
            ids = np.sort(candidates.ids)
            scores = self.scores(query, ids, where, unit)
            best = np.argsort(-scores, kind="stable")[:k]
            answers.append(TopK(ids[best], scores[best]))
        return answers

    def top_and_scores(
        self, query: str, k: int, ids: Ids, where: Selection | None, unit: Unit
    ) -> tuple[TopK, Floats]:
        """The k best ids, and the reranker's scores of `ids`."""
        return self.top([query], k, where, unit)[0], self.scores(query, ids, where, unit)

    def scores(self, query: str, ids: Ids, where: Selection | None, unit: Unit) -> Floats:
        """The reranker's scores of `ids`, (m,)."""
        if unit == "passage" or not len(ids):
            return self._read(query, ids)
        passages, starts = self._chosen(query, ids, where)
        best: Floats = np.maximum.reduceat(self._read(query, passages), starts)
        return best

    def passage_scores(self, query: str, passages: Ids, where: Selection | None) -> Floats:
        """The reranker's scores of those passages that speak for their documents; others: -inf."""
        documents = np.unique(self.snapshot.documents_of(passages))
        chosen, _ = self._chosen(query, documents, where)
        scores = np.full(len(passages), -np.inf, np.float32)
        speak = np.isin(passages, chosen)
        scores[speak] = self._read(query, passages[speak])
        return scores

    def full_score(self, query: str, where: Selection | None, unit: Unit) -> float | None:
        """No reranker's score says so."""
        return None

    def explain_id(self, query: str, id: int, where: Selection | None, unit: Unit) -> Explanation:
        """The best of the passages read; the note says what the retriever thought."""
        ids = np.array([id], np.int64)
        before = float(self.retriever.scores(query, ids, where, unit)[0])
        note = f"{self.retriever.name} gave {before:.4f}"
        passages = ids if unit == "passage" else np.sort(self._chosen(query, ids, where)[0])
        numbers = self.snapshot.passage_number(passages).tolist()
        parts = tuple(
            Explanation(score, f"{self.reranker.name} of query and passage #{number}", note=note)
            for score, number in zip(self._read(query, passages).tolist(), numbers, strict=True)
        )
        if len(parts) == 1:
            return parts[0]
        best = max(part.value for part in parts)
        return Explanation(best, f"best of {len(parts)} passages", "max", parts, note)

    def _chosen(self, query: str, documents: Ids, where: Selection | None) -> tuple[Ids, Ids]:
        """Each document's passages that are read, and where each document's begin, (m,)."""
        firsts, counts = self.snapshot.passages_of_each(documents)
        starts = np.cumsum(counts) - counts
        passages = np.arange(counts.sum()) + np.repeat(firsts - starts, counts)
        if (counts <= self.passages).all():
            return passages, starts
        scores = self.retriever.passage_scores(query, passages, where)
        owners = np.repeat(np.arange(len(documents)), counts)
        order = np.lexsort((-scores, owners))  # each document's best first
        ranks = np.arange(len(order)) - np.repeat(starts, counts)
        kept = np.minimum(counts, self.passages)
        return passages[order[ranks < self.passages]], np.cumsum(kept) - kept

    def _read(self, query: str, passages: Ids) -> Floats:
        """The reranker's scores of passages (m,); each is read once a query."""
        known = next((last.scores for last in self._last if last.query == query), None)
        if known is None:
            known = {}
            self._last[:] = [_Known(query, known)]
        new = np.array([p for p in dict.fromkeys(passages.tolist()) if p not in known], np.int64)
        if len(new):
            excerpts = self.snapshot.excerpts(new, WHOLE)
            texts = [passage_text(excerpt.title, excerpt.text) for excerpt in excerpts]
            known.update(zip(new.tolist(), self.reranker.score(query, texts).tolist(), strict=True))
        return np.array([known[passage] for passage in passages.tolist()], np.float32)
