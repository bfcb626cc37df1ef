"""From a retriever's rankings to a run that can be judged."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np

from indexes.snapshot import Snapshot

from ..errors import check_k
from ..types import Ranking
from .trec import Qrels

_WORD = re.compile(r"\w+")
_SHARED = 0.6  # of the different words of two texts that are as good as one
_AT_ONCE = 1000  # documents in memory


class Ranker(Protocol):
    """The part of a Retriever that evaluation needs."""

    def search(self, queries: Sequence[str], k: int) -> list[Ranking]: ...


def run_of(
    queries: Sequence[str],
    rankings: Sequence[Ranking],
    *,
    k: int,
    themselves: Collection[str] = (),
) -> dict[str, dict[str, float]]:
    """The run of these query ids and their rankings: query id -> document id -> score.

    `themselves`: queries that are documents of the collection, as `themselves` finds them. The
    document of their id is no result of theirs. Ask for k + 1 results to keep k after the drop.

    >>> run_of(["d1"], [Ranking(("d1", "d2"), (3.0, 1.0))], k=10, themselves={"d1"})
    {'d1': {'d2': 1.0}}
    """
    run: dict[str, dict[str, float]] = {}
    for query, ranking in zip(queries, rankings, strict=True):
        own = query if query in themselves else None
        run[query] = dict([(id, score) for id, score in ranking if id != own][:k])
    return run


def run_queries(
    retriever: Ranker,
    topics: Mapping[str, str],
    *,
    k: int = 1000,
    themselves: Collection[str] = (),
) -> dict[str, dict[str, float]]:
    """The retriever's run over the topics (id -> text): up to k documents a query, best first.

    See `run_of` for `themselves`. Raises BadQuery if k is below 1.
    """
    check_k(k)
    rankings = retriever.search(list(topics.values()), k + 1 if themselves else k)
    return run_of(list(topics), rankings, k=k, themselves=themselves)


def answers_in(
    snapshot: Snapshot, topics: Iterable[str], qrels: Mapping[str, Mapping[str, int]]
) -> dict[str, list[str]]:
    """Query id -> ids of its relevant documents that an index holds; only queries that have any."""
    wanted = {
        id: [d for d, grade in qrels[id].items() if grade > 0] for id in topics if id in qrels
    }
    every = list(dict.fromkeys(d for documents in wanted.values() for d in documents))
    there = {d for d, n in zip(every, snapshot.lookup(every), strict=True) if n >= 0}
    found = {id: [d for d in documents if d in there] for id, documents in wanted.items()}
    return {id: documents for id, documents in found.items() if documents}


def themselves(
    snapshot: Snapshot, topics: Mapping[str, str], qrels: Qrels | None = None
) -> frozenset[str]:
    """The queries (id -> text) that are documents of an index: of the same id and like text.

    Not those whose own document `qrels` have as relevant: there it is what is to be found.

    Where queries are taken from the collection (ArguAna, Quora), a system would be paid or fined
    for finding the query itself; BEIR's evaluation leaves out whatever has a query's id. But ids
    that are numbers mean nothing: query 7 and document 7 mostly have nothing in common.
    """
    judged = qrels or {}
    ids = [id for id in topics if judged.get(id, {}).get(id, 0) <= 0]
    documents = snapshot.lookup(ids)
    there = np.flatnonzero(documents >= 0)
    found = []
    for start in range(0, len(there), _AT_ONCE):
        some = there[start : start + _AT_ONCE]
        for place, record in zip(some.tolist(), snapshot.records(documents[some]), strict=True):
            if _alike(topics[ids[place]], record.title, record.text):
                found.append(ids[place])
    return frozenset(found)


def _alike(query: str, title: str, text: str) -> bool:
    """Whether a query is a document's title, or its text, but for a few words."""
    asked = set(_WORD.findall(query.lower()))
    held = [set(_WORD.findall(part.lower())) for part in (title, text, f"{title} {text}")]
    return any(len(asked & some) > _SHARED * max(len(asked), len(some), 1) for some in held)
