"""A field of an index, searched with one encoder's queries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from indexes.manifest import VectorField
from indexes.similarity import BM25, Similarity
from indexes.snapshot import Selection, Snapshot
from indexes.types import TermVectors, TopK, Unit

from .encoders.analyzer import Analyzer
from .errors import BadQuery
from .field_explanation import Share, explain_field
from .query_cache import QueryCache
from .scorer import Floats, Ids, best_passages, explained, ranked_ids
from .types import Explanation, Ranking


@dataclass(frozen=True)
class FieldRetriever:
    """One field of an index, searched with one encoder's queries.

    `fields` names the field that holds each unit: BM25 keeps whole documents in one and
    passages in another, the encoders' fields hold passages and serve both units. `sources`
    tells of a passage which of its words each of its terms came from, and `shares` what a query's
    vector adds up from, both for explanations.
    """

    name: str
    snapshot: Snapshot
    fields: Mapping[Unit, str]
    queries: QueryCache
    similarity: Similarity | None = None  # None: the field's own
    sources: Callable[[int], Mapping[str, str]] | None = None
    shares: Callable[[str], Sequence[Share]] | None = None

    @property
    def direct(self) -> bool:
        """Vectors are at hand; terms of a row must be looked up in every list."""
        return isinstance(self.snapshot.fields[self.fields["document"]], VectorField)

    def search(
        self, queries: Sequence[str], k: int, where: str | None = None, unit: Unit = "document"
    ) -> list[Ranking]:
        """One ranking a query."""
        return ranked_ids(self, queries, k, where, unit)

    def explain(self, query: str, id: str, where: str | None = None) -> Explanation:
        """Why `id` has its score: terms that add up to it, or one similarity."""
        return explained(self, query, id, where)

    def top(
        self, queries: Sequence[str], k: int, where: Selection | None, unit: Unit
    ) -> list[TopK]:
        """The k best ids of each query."""
        vectors = self.queries.encode(queries)
        return self.snapshot.search(
            self.fields[unit], vectors, k, unit=unit, where=where, similarity=self.similarity
        )

    def scores(self, query: str, ids: Ids, where: Selection | None, unit: Unit) -> Floats:
        """True scores of `ids`; `where` changes nothing here."""
        vector = self.queries.encode([query])
        if isinstance(vector, np.ndarray):
            vector = vector[0]
        similarity = self.similarity
        return self.snapshot.scores(self.fields[unit], vector, ids, unit, similarity=similarity)

    def passage_scores(self, query: str, passages: Ids, where: Selection | None) -> Floats:
        """Their scores."""
        return self.scores(query, passages, where, "passage")

    def vectors(self, query: str, ids: Ids, where: Selection | None, unit: Unit) -> Floats:
        """The vector of each id (m, dim); of a document that of the passage best for the query.

        Raises:
            BadQuery: the field holds terms.
        """
        if not isinstance(self.snapshot.fields[self.fields[unit]], VectorField):
            raise BadQuery(f"retriever {self.name!r} has terms, not vectors")
        passages = ids if unit == "passage" else best_passages(self, query, ids, where)
        rows = self.snapshot.stored_rows(self.fields["passage"], passages)
        assert isinstance(rows, np.ndarray)
        return rows

    def top_and_scores(
        self, query: str, k: int, ids: Ids, where: Selection | None, unit: Unit
    ) -> tuple[TopK, Floats]:
        """The k best ids, and the true scores of `ids`."""
        return self.snapshot.search_and_score(
            self.fields[unit],
            self.queries.encode([query]),
            k,
            ids,
            unit=unit,
            where=where,
            similarity=self.similarity,
        )

    def full_score(self, query: str, where: Selection | None, unit: Unit) -> float | None:
        """BM25's, of a row of average length that has each word of the query once.

        That is the sum of their idf over 1 + k1, those included that no row has, of several
        spellings of a word the least; else None.
        """
        spec = self.snapshot.fields[self.fields[unit]]
        similarity = None if isinstance(spec, VectorField) else self.similarity or spec.similarity
        if not isinstance(similarity, BM25):
            return None
        vector = self.queries.encode([query])
        assert isinstance(vector, TermVectors)
        weights = self.snapshot.query_weights(self.fields[unit], vector)
        encoder, spare = self.queries.encoder, 0.0
        if isinstance(encoder, Analyzer) and not query.isascii():  # else each word has one
            weight = dict(zip(vector.row(0), weights.tolist(), strict=True))
            words = {tuple(word.terms) for word in encoder.words(query)}
            each = [[weight[term] for term in terms] for terms in words]
            spare = sum(sum(some) - min(some) for some in each)
        return (float(weights.sum()) - spare) / (1 + similarity.k1)

    def explain_id(self, query: str, id: int, where: Selection | None, unit: Unit) -> Explanation:
        """The score's parts; a document in a passage field is explained by its best passage."""
        return explain_field(self, query, id, unit)
