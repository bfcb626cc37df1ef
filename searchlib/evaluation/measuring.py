"""What an index's retrievers are worth by queries and judgements: rank, then judge."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from indexes.snapshot import Snapshot
from indexes.types import Unit

from ..errors import BadInput
from ..protocols import Progress
from ..types import Ranking
from .collection import Collection
from .runs import run_of
from .topics import read_topics
from .trec import Qrels, read_qrels

DEPTH = 1000  # results a query: always as many, so that no figure hangs on what else is measured
QUERIES_AT_ONCE = 64


class Index(Protocol):
    """The part of an open index that measuring needs."""

    path: Path
    folder: Path  # the same, absolute

    @property
    def snapshot(self) -> Snapshot: ...

    def rank(
        self,
        queries: Sequence[str],
        k: int,
        *,
        retriever: str,
        where: str | None,
        unit: Unit,
    ) -> list[Ranking]: ...


class Asked(NamedTuple):
    """Queries and judgements of the same ids."""

    topics: dict[str, str]  # id -> text
    qrels: Qrels
    without_text: int  # judged queries that are left out


@dataclass(frozen=True)
class Source:
    """Where queries and judgements are: in a BEIR folder, or in two files."""

    collection: str | None = None
    split: str | None = None  # of the folder; None: test, else dev
    queries: str | None = None
    qrels: str | None = None

    def read(self) -> Asked:
        """What is asked and judged. Raises BadInput, NotFound.

        Of two files, queries that only one of them has are left out. Ids that are numbers agree
        whatever zeros they begin with, where no id agrees as it stands.
        """
        if self.collection is not None:
            beir = Collection(Path(self.collection))
            return Asked(beir.topics(self.split), beir.qrels(self.split), 0)
        if self.queries is None or self.qrels is None:
            raise BadInput("no queries and judgements: give a BEIR folder, or a file of each")
        judged = read_qrels(Path(self.qrels))
        topics = _judged_topics(read_topics(Path(self.queries)), judged)
        if not topics:
            raise BadInput(f"no query of {self.queries} is judged in {self.qrels}: do ids agree?")
        return Asked(topics, {id: judged[id] for id in topics}, len(judged) - len(topics))

    def absolute(self) -> Source:
        """The same, to be found from any folder."""
        paths = {
            name: str(Path(value).resolve()) if value is not None and name != "split" else value
            for name, value in self.to_json().items()
        }
        return Source(**paths)

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


def ranked(
    index: Index,
    topics: Mapping[str, str],
    *,
    k: int,
    retriever: str,
    where: str | None,
    unit: Unit = "document",
    themselves: frozenset[str] = frozenset(),
    on_progress: Progress,
) -> dict[str, dict[str, float]]:
    """The run over the topics (id -> text), up to k documents a query.

    A few queries at a time, so that progress shows. `themselves`: see `run_of`.
    """
    ids = list(topics)
    answers: dict[str, dict[str, float]] = {}
    for start in range(0, len(ids), QUERIES_AT_ONCE):
        some = ids[start : start + QUERIES_AT_ONCE]
        rankings = index.rank(
            [topics[id] for id in some],
            k + 1 if k > 0 else k,  # one more: the query itself is dropped
            retriever=retriever,
            where=where,
            unit=unit,
        )
        answers |= run_of(some, rankings, k=k, themselves=themselves)
        on_progress(len(answers), len(ids), retriever)
    return answers


def depth(measures: Sequence[str]) -> int:
    """How many results a query to measure by: 1000, or the largest cutoff if that is more.

    >>> depth(["nDCG@10", "R@100"]), depth(["AP", "R@2000"])
    (1000, 2000)
    """
    cutoffs = [re.search(r"@(\d+)$", name) for name in measures]
    return max([DEPTH, *(int(found[1]) for found in cutoffs if found)])


def _judged_topics(topics: Mapping[str, str], judged: Qrels) -> dict[str, str]:
    """The topics that are judged, by the id that they are judged by."""
    found = {id: text for id, text in topics.items() if id in judged}
    numbers = {_plain(id): id for id in judged if id not in found}
    for id, text in topics.items():
        same = numbers.get(_plain(id))
        if id not in judged and same is not None:
            found.setdefault(same, text)
    return found


def _plain(id: str) -> str:
    return id.lstrip("0") if re.fullmatch("[0-9]+", id) else id
