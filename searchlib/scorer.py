"""The port `Scorer`: a retriever that speaks of a snapshot's integer ids.

Inside, everything is numbers. `Retriever`, the port that users and evaluation see, speaks of
strings: every scorer is both, by `ranked_ids` and `explained`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from indexes.snapshot import Selection, Snapshot
from indexes.types import TopK, Unit

from .errors import check_k, check_where
from .naming import find_id, name_ids
from .types import Explanation, Ranking

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
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

    def full_score(self, query: str, where: Selection | None, unit: Unit) -> float | None:
        """The score of what has all that the query asks for; None where no score says so."""
        ...

    def explain_id(self, query: str, id: int, where: Selection | None, unit: Unit) -> Explanation:
        """Why `id` has its score."""
        ...


def selected(snapshot: Snapshot, where: str | None) -> Selection | None:
    """What a filter selects; None without one. Raises BadFilter, for an empty one too."""
    if where is None:
        return None
    check_where(where)
    return snapshot.select(where)


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
    selection = selected(snapshot, where)
    rankings = []
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        for top in scorer.top(queries[start : start + QUERIES_AT_ONCE], k, selection, unit):
            names = name_ids(snapshot, top.ids, unit)
            rankings.append(Ranking(tuple(names), tuple(top.scores.tolist())))
    return rankings


def explained(
    scorer: Scorer, query: str, name: str, where: str | None, unit: Unit = "document"
) -> Explanation:
    """A scorer's explanation for a document or passage named by a string, as by `find_id`."""
    id, unit = find_id(scorer.snapshot, name, unit)
    selection = selected(scorer.snapshot, where)
    return scorer.explain_id(query, id, selection, unit)


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
