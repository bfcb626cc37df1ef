"""From a retriever's rankings to a run that can be judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ..errors import check_k
from ..types import Ranking


class Ranker(Protocol):
    """The part of a Retriever that evaluation needs."""

    def search(self, queries: Sequence[str], k: int) -> list[Ranking]: ...


def run_of(
    queries: Sequence[str], rankings: Sequence[Ranking], *, k: int, drop_self: bool = True
) -> dict[str, dict[str, float]]:
    """The run of these query ids and their rankings: query id -> document id -> score.

    A query's own id is never a result (`drop_self`): where queries are documents of the
    collection (ArguAna, Quora), a system would otherwise be paid or fined for finding the query
    itself. BEIR's evaluation does the same. Ask for k + 1 results to keep k after the drop.

    >>> run_of(["d1"], [Ranking(("d1", "d2"), (3.0, 1.0))], k=10)
    {'d1': {'d2': 1.0}}
    """
    run: dict[str, dict[str, float]] = {}
    for query, ranking in zip(queries, rankings, strict=True):
        kept = [(id, score) for id, score in ranking if not (drop_self and id == query)]
        run[query] = dict(kept[:k])
    return run


def run_queries(
    retriever: Ranker, topics: Mapping[str, str], *, k: int = 1000, drop_self: bool = True
) -> dict[str, dict[str, float]]:
    """The retriever's run over the topics (id -> text): up to k documents a query, best first.

    See `run_of` for `drop_self`. Raises BadQuery if k is below 1.
    """
    check_k(k)
    rankings = retriever.search(list(topics.values()), k + 1 if drop_self else k)
    return run_of(list(topics), rankings, k=k, drop_self=drop_self)
