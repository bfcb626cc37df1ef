"""Retrievers over one snapshot of an index: the port `Scorer`, and a field searched by an encoder.

Inside, everything is numbers: `Scorer` speaks of a snapshot's integer ids. `Retriever`, the
port that users and evaluation see, speaks of strings; every class here is both.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from indexes.manifest import TermField, VectorField
from indexes.similarity import Similarity
from indexes.snapshot import Selection, Snapshot
from indexes.types import TermPart, TermVectors, TopK, Unit

from .errors import ModelMismatch, NotFound, check_k
from .protocols import Encoder
from .types import Explanation, Ranking

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
Share = tuple[str, Mapping[str, float] | Floats]  # whose it is, and one summand of a query's vector
QUERIES_AT_ONCE = 256  # how many queries share one pass; bounds the memory of a batch


class Scorer(Protocol):
    """A retriever that can also score any candidate: what score completion needs."""

    @property
    def name(self) -> str: ...

    @property
    def snapshot(self) -> Snapshot: ...

    @property
    def direct(self) -> bool:
        """Whether any candidate's score is at hand, so that a search need not give it."""
        ...

    def top(
        self, queries: Sequence[str], k: int, where: Selection | None, unit: Unit
    ) -> list[TopK]:
        """The k best ids of each query, among those that `where` selects."""
        ...

    def scores(self, query: str, ids: Ids, where: Selection | None, unit: Unit) -> Floats:
        """The true scores of `ids`, (m,) float32."""
        ...

    def top_and_scores(
        self, query: str, k: int, ids: Ids, where: Selection | None, unit: Unit
    ) -> tuple[TopK, Floats]:
        """`top` of one query and `scores` of `ids`: a search may give them in passing."""
        ...

    def passage_scores(self, query: str, passages: Ids, where: Selection | None) -> Floats:
        """What `passages` are worth beside each other where documents are ranked, (m,)."""
        ...

    def explain_id(self, query: str, id: int, where: Selection | None, unit: Unit) -> Explanation:
        """Why `id` has its score."""
        ...


def ranked_ids(
    scorer: Scorer, queries: Sequence[str], k: int, where: str | None, unit: Unit
) -> list[Ranking]:
    """A scorer's rankings with documents and passages named by strings.

    Raises:
        BadQuery: k is less than 1.
        BadFilter: `where` cannot be parsed.
    """
    check_k(k)
    snapshot = scorer.snapshot
    selection = snapshot.select(where) if where else None
    rankings = []
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        for top in scorer.top(queries[start : start + QUERIES_AT_ONCE], k, selection, unit):
            names = name_ids(snapshot, top.ids, unit)
            rankings.append(Ranking(tuple(names), tuple(top.scores.tolist())))
    return rankings


def name_ids(snapshot: Snapshot, ids: Ids, unit: Unit) -> list[str]:
    """The strings by which users know documents ("id") and passages ("id#n")."""
    if unit == "document":
        return snapshot.ids(ids)
    documents = snapshot.ids(snapshot.documents_of(ids))
    numbers = snapshot.passage_number(ids).tolist()
    return [f"{name}#{number}" for name, number in zip(documents, numbers, strict=True)]


def find_id(snapshot: Snapshot, name: str) -> tuple[int, Unit]:
    """The document or passage called `name`; a document's own id wins over "id#n".

    Raises:
        NotFound: the index holds neither.
    """
    document = int(snapshot.lookup([name])[0])
    if document >= 0:
        return document, "document"
    parent, hash_mark, number = name.rpartition("#")
    if hash_mark and number.isdecimal():
        document = int(snapshot.lookup([parent])[0])
        if document >= 0:
            first, count = snapshot.passages_of(document)
            if int(number) < count:
                return first + int(number), "passage"
            raise NotFound(f"document {parent!r} has passages #0 to #{count - 1}, not #{number}")
    raise NotFound(f"no document {name!r} in the index")


def explained(scorer: Scorer, query: str, name: str, where: str | None) -> Explanation:
    """A scorer's explanation for a document or passage named by a string."""
    id, unit = find_id(scorer.snapshot, name)
    selection = scorer.snapshot.select(where) if where else None
    return scorer.explain_id(query, id, selection, unit)


class QueryCache:
    """Query vectors by text, the least recently used forgotten; rows of what an encoder gave."""

    def __init__(self, encoder: Encoder, size: int = 4 * QUERIES_AT_ONCE) -> None:
        self.encoder = encoder
        self.size = size
        self._rows: OrderedDict[str, TermVectors | Floats] = OrderedDict()

    def encode(self, queries: Sequence[str]) -> TermVectors | Floats:
        """One row a query; only unseen texts are encoded."""
        if len(queries) == 1 and (known := self._rows.get(queries[0])) is not None:
            self._rows.move_to_end(queries[0])
            return known
        missing = list(dict.fromkeys(q for q in queries if q not in self._rows))
        if missing:
            vectors = self.encoder.encode_query(missing)
            for i, query in enumerate(missing):
                row = (
                    vectors[i : i + 1]
                    if isinstance(vectors, np.ndarray)
                    else vectors.select(i, i + 1)
                )
                self._rows[query] = row
        rows = []
        for query in queries:
            self._rows.move_to_end(query)
            rows.append(self._rows[query])
        while len(self._rows) > max(self.size, len(queries)):
            self._rows.popitem(last=False)
        return _stack(rows)


def _stack(rows: list[TermVectors | Floats]) -> TermVectors | Floats:
    if len(rows) == 1:
        return rows[0]
    dense = [row for row in rows if isinstance(row, np.ndarray)]
    if dense:
        return np.concatenate(dense)
    sparse = [row for row in rows if isinstance(row, TermVectors)]
    if all(row.terms is sparse[0].terms for row in sparse):
        indptr = np.cumsum([0, *(len(row.indices) for row in sparse)], dtype=np.int64)
        indices = np.concatenate([row.indices for row in sparse])
        return TermVectors(
            sparse[0].terms, indptr, indices, np.concatenate([row.values for row in sparse])
        )
    return TermVectors.of([row.row(0) for row in sparse])


def best_passages(scorer: Scorer, query: str, documents: Ids, where: Selection | None) -> Ids:
    """The passage of each document that the scorer ranks first (of equals the earlier), (m,)."""
    firsts, counts = scorer.snapshot.passages_of_each(documents)
    if (counts == 1).all():
        return firsts
    starts = np.cumsum(counts) - counts
    passages = np.arange(counts.sum()) + np.repeat(firsts - starts, counts)
    scores = scorer.passage_scores(query, passages, where)
    best = [
        int(np.argmax(scores[start : start + count]))
        for start, count in zip(starts.tolist(), counts.tolist(), strict=True)
    ]
    return firsts + np.array(best, np.int64)


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

    def explain_id(self, query: str, id: int, where: Selection | None, unit: Unit) -> Explanation:
        """The score's parts; a document in a passage field is explained by its best passage."""
        spec = self.snapshot.fields[self.fields[unit]]
        if unit == "document" and spec.unit == "passage":
            first, count = self.snapshot.passages_of(id)
            passages = np.arange(first, first + count, dtype=np.int64)
            scores = self.scores(query, passages, where, "passage")
            best = int(np.argmax(scores))
            parts = tuple(
                self._explain_row(query, int(passages[i]), "passage")
                if i == best
                else Explanation(float(scores[i]), f"passage #{i}")
                for i in range(count)
            )
            if count == 1:
                return parts[0]
            return Explanation(
                parts[best].value, f"{self.name}: best of {count} passages", "max", parts
            )
        return self._explain_row(query, id, unit)

    def _explain_row(self, query: str, id: int, unit: Unit) -> Explanation:
        field_name = self.fields[unit]
        spec = self.snapshot.fields[field_name]
        row = (
            f"passage #{self.snapshot.passage_number(np.array([id]))[0]}"
            if unit == "passage"
            else "document"
        )
        shares = self.shares(query) if self.shares is not None else ()
        if isinstance(spec, VectorField):
            return self._explain_vector(query, id, unit, row, shares)
        vector = self.queries.encode([query])
        assert isinstance(vector, TermVectors)
        parts = self.snapshot.explain(field_name, vector, id, similarity=self.similarity)
        own = getattr(self.queries.encoder, "own_terms", None)
        words = own(query) if own is not None else frozenset()
        sources = self.sources(id) if self.sources is not None and parts else {}
        nodes = tuple(
            _term_node(part, spec, words, sources.get(part.term, ""), shares)
            for part in sorted(parts, key=lambda p: -p.contribution)
        )
        total = sum(node.value for node in nodes)
        return Explanation(total, f"{self.name}: terms shared by query and {row}", "sum", nodes)

    def _explain_vector(
        self, query: str, id: int, unit: Unit, row: str, shares: Sequence[Share]
    ) -> Explanation:
        ids = np.array([id], np.int64)
        field_name = self.fields[unit]
        name = f"{self.name}: similarity of query and {row}"
        spec = self.snapshot.fields[field_name]
        assert isinstance(spec, VectorField)
        note = f"dot product of two vectors of {spec.dim} dimensions"
        if not shares:
            return Explanation(float(self.scores(query, ids, None, unit)[0]), name, note=note)
        nodes = []
        for whose, vector in shares:
            assert isinstance(vector, np.ndarray)
            score = self.snapshot.scores(field_name, vector, ids, unit)
            nodes.append(Explanation(float(score[0]), whose))
        return Explanation(sum(node.value for node in nodes), name, "sum", tuple(nodes), note)


def _term_node(
    part: TermPart, spec: TermField, words: frozenset[str], source: str, shares: Sequence[Share]
) -> Explanation:
    weighed = tuple(
        Explanation(row[part.term], whose)
        for whose, row in shares
        if not isinstance(row, np.ndarray) and row.get(part.term)
    )
    kind = ""
    if weighed and weighed[0].name != shares[0][0]:  # nothing of it is the query's own
        kind = " (feedback)"
    elif words:
        kind = " (query word)" if part.term in words else " (expansion)"
    weight_name = "count" if spec.kind == "count" else "weight"
    origin = f", from “{source}”" if source and source.lower() != part.term else ""
    leaves = (
        Explanation(part.query_weight, "query weight", "sum" if weighed else "leaf", weighed),
        Explanation(
            part.impact,
            "impact",
            note=f"{weight_name} {part.weight:.4g}{origin}, in {part.document_frequency} rows",
        ),
    )
    return Explanation(part.contribution, f"{part.term}{kind}", "product", leaves)


def check_fingerprint(field_name: str, recorded: str, encoder: Encoder, model: str) -> None:
    """Refuse to search a field with another encoder than the one that made it.

    Raises:
        ModelMismatch: the fingerprints differ.
    """
    if recorded != encoder.fingerprint:
        raise ModelMismatch(
            f"field {field_name!r} was built with another model or other settings than "
            f"{model!r} gives now (fingerprint {recorded[:12]}, now {encoder.fingerprint[:12]}): "
            "bring back the model it was built with, or encode again: `searchlib reencode`"
        )
