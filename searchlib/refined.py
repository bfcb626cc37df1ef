"""Pseudo-relevance feedback: a field searched with queries that a first search made better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from indexes.manifest import TermField
from indexes.snapshot import Selection, Snapshot
from indexes.types import TermVectors, TopK, Unit

from .errors import BadQuery
from .feedback import Feedback, refined_terms, refined_vector
from .field_explanation import Share
from .fused import Fused
from .naming import name_ids
from .passages import passage_text
from .protocols import Vectors
from .query_cache import QueryCache
from .retrievers import FieldRetriever
from .scorer import Floats, Ids, Scorer, explained, ranked_ids
from .types import Explanation, Ranking

REMEMBERED = 1024  # queries whose passages are remembered
WHOLE = 1 << 30  # characters: a passage's text is never cut


class FirstPass:
    """The best passages of each query, found once for all retrievers that learn from them.

    `passages`: how many at most; of what a filter lets through.
    """

    def __init__(self, scorer: Scorer, passages: int) -> None:
        self.scorer = scorer
        self.passages = passages
        self._memory: tuple[Selection | None, dict[str, Ids]] = (None, {})

    def of(self, queries: Sequence[str], where: Selection | None) -> list[Ids]:
        """The passages of each query, best first."""
        of, found = self._memory  # subtle: both at once, as another thread may replace them
        if of is not where or len(found) > REMEMBERED:
            found = {}
            self._memory = where, found
        if new := [query for query in dict.fromkeys(queries) if query not in found]:
            tops = self.scorer.top(new, self.passages, where, "passage")
            found.update((query, top.ids) for query, top in zip(new, tops, strict=True))
        return [found[query] for query in queries]


@dataclass(frozen=True)
class Refined:
    """A field's retriever that asks what feedback made of the query.

    `first` finds the passages to learn from: the retriever itself, or a better one. A filter holds
    for them too, so nothing that it hides has a say, or is shown. An explanation tells each
    term's weight apart: the query's own, and each passage's.
    """

    part: FieldRetriever
    first: FirstPass
    feedback: Feedback
    _last: list[tuple[Selection | None, FieldRetriever]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    @property
    def name(self) -> str:
        """Such as `bm25 with feedback`."""
        return f"{self.part.name} with feedback"

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot that is searched."""
        return self.part.snapshot

    @property
    def direct(self) -> bool:
        """As without feedback."""
        return self.part.direct

    def asking(self, where: Selection | None) -> FieldRetriever:
        """The retriever with the queries that feedback makes under a filter."""
        for known, asking in self._last:
            if known is where:
                return asking
        refiner = _Refiner(self.part, self.first, self.feedback, where)
        queries = QueryCache(refiner)
        asking = replace(self.part, name=self.name, queries=queries, shares=refiner.shares)
        self._last[:] = [(where, asking)]
        return asking

    def search(
        self, queries: Sequence[str], k: int, where: str | None = None, unit: Unit = "document"
    ) -> list[Ranking]:
        """One ranking a query."""
        return ranked_ids(self, queries, k, where, unit)

    def explain(self, query: str, id: str, where: str | None = None) -> Explanation:
        """Why `id` has its score, and who asked for what it was found by."""
        return explained(self, query, id, where)

    def top(
        self, queries: Sequence[str], k: int, where: Selection | None, unit: Unit
    ) -> list[TopK]:
        """The k best ids of each query."""
        return self.asking(where).top(queries, k, where, unit)

    def scores(self, query: str, ids: Ids, where: Selection | None, unit: Unit) -> Floats:
        """True scores of `ids`; `where` says what the query learns from."""
        return self.asking(where).scores(query, ids, where, unit)

    def top_and_scores(
        self, query: str, k: int, ids: Ids, where: Selection | None, unit: Unit
    ) -> tuple[TopK, Floats]:
        """The k best ids, and the true scores of `ids`."""
        return self.asking(where).top_and_scores(query, k, ids, where, unit)

    def passage_scores(self, query: str, passages: Ids, where: Selection | None) -> Floats:
        """Their scores."""
        return self.asking(where).passage_scores(query, passages, where)

    def full_score(self, query: str, where: Selection | None, unit: Unit) -> float | None:
        """That of the query which feedback makes."""
        return self.asking(where).full_score(query, where, unit)

    def explain_id(self, query: str, id: int, where: Selection | None, unit: Unit) -> Explanation:
        """The score's parts, their weights told apart by where they come from."""
        return self.asking(where).explain_id(query, id, where, unit)


def refined(scorer: Scorer, first: FirstPass, feedback: Feedback) -> Refined | Fused:
    """A field's retriever with feedback, or a fusion whose parts all have it.

    Raises:
        BadQuery: it is another kind of retriever.
    """
    if isinstance(scorer, FieldRetriever):
        return Refined(scorer, first, feedback)
    if isinstance(scorer, Fused):
        parts = tuple(refined(part, first, feedback) for part in scorer.parts)
        return replace(scorer, name=f"{scorer.name} with feedback", parts=parts)
    raise BadQuery(f"retriever {scorer.name!r} cannot have feedback; give it to what it is made of")


class _Refiner:
    """The encoder of refined queries: each is the sum of its shares."""

    def __init__(
        self,
        part: FieldRetriever,
        first: FirstPass,
        feedback: Feedback,
        where: Selection | None,
    ) -> None:
        self._part = part
        self._first = first
        self._feedback = feedback
        self._where = where
        self._explained: tuple[str, list[Share]] | None = None

    @property
    def fingerprint(self) -> str:
        return self._part.queries.encoder.fingerprint

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        return self._part.queries.encoder.encode_document(texts)

    def encode_query(self, texts: Sequence[str]) -> Vectors:
        shares = self._shares(texts)
        if vectors := [rows for rows in shares if isinstance(rows, np.ndarray)]:
            return np.stack([rows.sum(axis=0) for rows in vectors])
        return TermVectors.of([_sum(rows) for rows in shares if not isinstance(rows, np.ndarray)])

    def own_terms(self, text: str) -> frozenset[str]:
        """The terms that the query itself consists of, where its encoder can tell."""
        own = getattr(self._part.queries.encoder, "own_terms", None)
        return frozenset() if own is None else own(text)

    def shares(self, query: str) -> list[Share]:
        """What the refined query adds up from, each with its name."""
        known = self._explained
        if known is None or known[0] != query:
            [passages] = self._first.of([query], self._where)
            names = name_ids(self._part.snapshot, passages, "passage")
            named = ["the query", *(f"feedback from {name}" for name in names)]
            [rows] = self._shares([query])
            known = self._explained = query, list(zip(named, rows, strict=True))
        return known[1]

    def _shares(self, queries: Sequence[str]) -> list[list[Mapping[str, float]] | Floats]:
        own = self._part.queries.encode(queries)
        found = self._first.of(queries, self._where)
        every, places = np.unique(np.concatenate(found), return_inverse=True)
        ends = np.cumsum([len(passages) for passages in found])[:-1]
        rows = _rows_of(self._part, every)
        result: list[list[Mapping[str, float]] | Floats] = []
        for i, chosen in enumerate(np.split(places.reshape(-1), ends)):
            if isinstance(rows, np.ndarray):
                assert isinstance(own, np.ndarray)
                result.append(refined_vector(own[i], rows[chosen], self._feedback))
            else:
                assert isinstance(own, TermVectors)
                passages = [rows.row(place) for place in chosen.tolist()]
                result.append(refined_terms(own.row(i), passages, self._feedback))
        return result


def _rows_of(part: FieldRetriever, passages: Ids) -> Vectors:
    """What the index holds of passages (m,), each named once, in this field.

    Counts are made anew from the texts, in a time that does not grow with the index; what a model
    made is read back.
    """
    name = part.fields["passage"]
    spec = part.snapshot.fields[name]
    if isinstance(spec, TermField) and spec.kind == "count":
        excerpts = part.snapshot.excerpts(passages, WHOLE)
        texts = [passage_text(excerpt.title, excerpt.text) for excerpt in excerpts]
        return part.queries.encoder.encode_document(texts)
    return part.snapshot.stored_rows(name, passages)


def _sum(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for row in rows:
        for term, weight in row.items():
            total[term] = total.get(term, 0.0) + weight
    return {term: weight for term, weight in total.items() if weight > 0}
