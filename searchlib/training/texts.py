"""Texts of an index's documents and passages, by number: what queries and batches are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from indexes.snapshot import Snapshot

from ..passages import passage_text
from ..types import Document
from .pairs import PseudoQuery, without_query

AT_ONCE = 256
HELD = 50_000  # passages whose texts are held
_TITLE = 300  # characters of a title that go before each of several passages


def documents_of(snapshot: Snapshot) -> Iterator[Document]:
    """Every document of an index, in the order of their numbers."""
    for numbers in _live(snapshot):
        for record in snapshot.records(numbers):
            yield Document(record.id, record.text, record.title, record.metadata)


def live_passages(snapshot: Snapshot) -> NDArray[np.int64]:
    """The numbers of all passages, ascending; those of deleted documents are none."""
    parts = []
    for numbers in _live(snapshot):
        firsts, counts = snapshot.passages_of_each(numbers)
        starts = np.cumsum(counts) - counts
        parts.append(np.arange(counts.sum()) + np.repeat(firsts - starts, counts))
    return np.concatenate([np.empty(0, np.int64), *parts])


def _live(snapshot: Snapshot) -> Iterator[NDArray[np.int64]]:
    ids = snapshot.all_ids()
    while some := list(islice(ids, AT_ONCE)):
        yield snapshot.lookup(some)


@dataclass(frozen=True)
class _Place:
    document: str
    title: str
    text: str
    start: int


@dataclass
class PassageTexts:
    """The texts of passages as the encoders read them; those asked for are held."""

    snapshot: Snapshot
    _held: dict[int, _Place] = field(default_factory=dict)

    def __call__(self, passages: Sequence[int] | NDArray[np.int64]) -> list[str]:
        """One text a passage: title, a space, its piece."""
        return [passage_text(place.title, place.text) for place in self._places(passages)]

    def without(self, query: PseudoQuery, passages: NDArray[np.int64]) -> list[str]:
        """The same, but the query's own document lacks what became the query."""
        texts = []
        for place in self._places(passages):
            title, text = place.title, place.text
            if place.document == query.document:
                title, text = without_query(query, title, text, place.start)
            texts.append(passage_text(title, text))
        return texts

    def _places(self, passages: Sequence[int] | NDArray[np.int64]) -> list[_Place]:
        wanted = np.asarray(passages, np.int64)
        missing = np.array([p for p in np.unique(wanted).tolist() if p not in self._held], np.int64)
        if len(missing):
            if len(self._held) + len(missing) > HELD:
                self._held.clear()
                missing = np.unique(wanted)
            self._read(missing)
        return [self._held[passage] for passage in wanted.tolist()]

    def _read(self, passages: NDArray[np.int64]) -> None:
        documents = self.snapshot.documents_of(passages)
        distinct, places = np.unique(documents, return_inverse=True)
        records = self.snapshot.records(distinct)
        numbers = self.snapshot.passage_number(passages)
        for passage, place, number in zip(
            passages.tolist(), places.tolist(), numbers.tolist(), strict=True
        ):
            record = records[place]
            start, end = record.passages[number]
            title = record.title if len(record.passages) == 1 else record.title[:_TITLE]
            self._held[passage] = _Place(record.id, title, record.text[start:end], start)
