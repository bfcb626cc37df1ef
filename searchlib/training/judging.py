"""Is the new model better? The same queries over the whole corpus with both, and a paired test."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from indexes.types import TermVectors

from ..errors import BadInput
from ..evaluation import Qrels, compare, evaluate, run_of, themselves
from ..protocols import Vectors
from ..retrievers import FieldRetriever
from ..searching import Searching
from .card import Judgement
from .mining import own_passages
from .pairs import PseudoQuery, hash_of
from .texts import PassageTexts

MEASURE = "nDCG@10"
K = 10
DEPTH = 1000
PerQuery = dict[str, float]


@dataclass(frozen=True)
class Judged:
    """Queries with judgements, used to measure and for nothing else.

    `parts`: ids of some of the queries that are also compared for themselves, by a name.
    """

    name: str
    topics: Mapping[str, str]  # id -> text
    qrels: Qrels
    parts: Mapping[str, Collection[str]] = field(default_factory=dict)

    @property
    def asked(self) -> int:
        """64 bits that depend on nothing but the queries' ids and texts."""
        return hash_of(0, *map(str, sorted(self.topics.items())))


def hash_of_judgements(qrels: Qrels) -> int:
    """64 bits that depend on nothing but the judgements."""
    return hash_of(0, *(f"{id} {sorted(qrels[id].items())}" for id in sorted(qrels)))


def on_own_passages(engine: Searching, retriever: str, queries: Sequence[PseudoQuery]) -> PerQuery:
    """nDCG@10 of each query, where its own passage is the one answer.

    The passage competes, without what became the query, with all other documents of the index:
    so a model is not paid for finding words that it was given. Queries without a document are
    left out; keys are their numbers.
    """
    asked = [query for query in queries if query.document]
    if not asked:
        return {}
    scorer = engine.retriever(retriever)
    assert isinstance(scorer, FieldRetriever)
    encoder = scorer.queries.encoder
    snapshot = engine.snapshot
    own = own_passages(engine, asked)
    texts = PassageTexts(snapshot)
    cut = [texts.without(query, own[i : i + 1])[0] for i, query in enumerate(asked)]
    vectors = encoder.encode_query([query.text for query in asked])
    if isinstance(vectors, TermVectors):
        vectors = replace(vectors, values=snapshot.query_weights(scorer.fields["passage"], vectors))
    scores = products(vectors, encoder.encode_document(cut))
    tops = scorer.top([query.text for query in asked], K + 1, None, "document")
    documents = snapshot.documents_of(own)
    values = {}
    for number, (top, score, document) in enumerate(zip(tops, scores, documents, strict=True)):
        others = top.scores[top.ids != document]
        rank = 1 + int(np.count_nonzero(others >= score))
        values[str(number)] = 1 / math.log2(rank + 1) if rank <= K and score > 0 else 0.0
    return values


def on_judgements(engine: Searching, retriever: str, judged: Judged) -> PerQuery:
    """nDCG@10 of each judged query. Raises BadInput if no judged document is in the index."""
    documents = list({id for of_one in judged.qrels.values() for id in of_one})
    if not (engine.snapshot.lookup(documents) >= 0).any():
        raise BadInput(f"{engine.path} holds none of the documents that {judged.name} judges")
    rankings = engine.rank(list(judged.topics.values()), DEPTH + 1, retriever=retriever)
    own = themselves(engine.snapshot, judged.topics, judged.qrels)
    run = run_of(list(judged.topics), rankings, k=DEPTH, themselves=own)
    return evaluate(judged.qrels, run, MEASURE).per_query[MEASURE]


def judge(
    before: Searching,
    after: Searching,
    field: str,
    queries: Sequence[PseudoQuery],
    *,
    judged: Judged | None = None,
    seed: int = 0,
) -> list[Judgement]:
    """After against before by all that there is to measure with.

    The field's retriever on held-out pseudo-queries; with judgements, on these too, and the
    hybrid on them.
    """
    found = []
    own_after, own_before = (on_own_passages(e, field, queries) for e in (after, before))
    if own_after:
        name = f"held-out pseudo-queries, {field}"
        found.append(Judgement(name, MEASURE, compare(own_after, own_before, seed=seed)))
    if judged is not None:
        for retriever in (field, "hybrid"):
            a, b = (on_judgements(engine, retriever, judged) for engine in (after, before))
            for name, ids in {judged.name: a.keys(), **judged.parts}.items():
                some, same = ({id: of[id] for id in ids if id in a} for of in (a, b))
                compared = compare(some, same, seed=seed)
                found.append(Judgement(f"{name}, {retriever}", MEASURE, compared))
    return found


def is_better(judgements: Sequence[Judgement]) -> bool:
    """Whether a new model is to be kept: a gain that is not luck somewhere, such a loss nowhere."""
    return any(j.better for j in judgements) and not any(j.worse for j in judgements)


def products(queries: Vectors, documents: Vectors) -> list[float]:
    """The dot product of each query with the document of the same row.

    >>> products(TermVectors.of([{"a": 2.0, "b": 1.0}]), TermVectors.of([{"c": 1.0, "a": 3.0}]))
    [6.0]
    """
    if isinstance(queries, TermVectors) and isinstance(documents, TermVectors):
        rows = ((queries.row(i), documents.row(i)) for i in range(len(queries)))
        return [float(sum(w * d[term] for term, w in q.items() if term in d)) for q, d in rows]
    assert isinstance(queries, np.ndarray)
    assert isinstance(documents, np.ndarray)
    values: list[float] = np.einsum("nd,nd->n", queries, documents).tolist()
    return values
