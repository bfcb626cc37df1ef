"""What a commit holds, without any searching: documents, passages, ids, texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from .numbering import Ids, Numbering
from .segment import Segment
from .types import Excerpt, Record, Unit

Read = TypeVar("Read")


class Contents:
    """The half of `Snapshot` that looks things up; numbers go through all segments."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._segments = segments
        self._numbers = Numbering([segment.first for segment in segments])

    def lookup(self, ids: Sequence[str]) -> Ids:
        """The number of each document, int64 (m,); -1 where no live document has that id."""
        found: dict[str, int] = {}
        for number, segment in enumerate(self._segments):
            base = self._numbers.base("document", number)
            found.update(
                (id, base + ordinal)
                for id, (ordinal, _) in segment.store.find(ids).items()
                if segment.alive[ordinal]
            )
        return np.fromiter((found.get(id, -1) for id in ids), np.int64, len(ids))

    def hashes(self, ids: Sequence[str]) -> dict[str, bytes]:
        """{id: content hash} of those ids that live documents have."""
        return {
            id: hash
            for segment in self._segments
            for id, (ordinal, hash) in segment.documents.find(ids).items()
            if segment.alive[ordinal]
        }

    def ids(self, documents: Ids) -> list[str]:
        """The documents' ids, in the order asked for."""
        return self._each(documents, "document", lambda segment, part: segment.store.ids(part))

    def records(self, documents: Ids) -> list[Record]:
        """The documents as they were added, in the order asked for."""

        def read(segment: Segment, part: Ids) -> list[Record]:
            return segment.documents.records(part, segment.first)

        return self._each(documents, "document", read)

    def excerpts(self, passages: Ids, longest: int) -> list[Excerpt]:
        """Of each passage, its document and its first `longest` characters of text."""

        def read(segment: Segment, part: Ids) -> list[Excerpt]:
            return segment.documents.excerpts(part, segment.first, longest)

        return self._each(passages, "passage", read)

    def all_ids(self) -> Iterator[str]:
        """Every live document's id, in order of their numbers."""
        for segment in self._segments:
            for id, alive in zip(segment.store.all_ids(), segment.alive.tolist(), strict=True):
                if alive:
                    yield id

    def passages_of(self, document: int) -> tuple[int, int]:
        """A document's first passage, and how many it has; they follow each other."""
        [first], [count] = self.passages_of_each(np.array([document], np.int64))
        return int(first), int(count)

    def passages_of_each(self, documents: Ids) -> tuple[Ids, Ids]:
        """`passages_of` many documents: the first, and how many, int64 (m,) each."""
        return self._numbers.passages_of(documents)

    def documents_of(self, passages: Ids) -> Ids:
        """The document of each passage, int64 (m,)."""
        return self._numbers.owners(passages)[0]

    def passage_number(self, passages: Ids) -> Ids:
        """The place of each passage within its document, from 0, int64 (m,)."""
        return self._numbers.owners(passages)[1]

    def _each(
        self, numbers: Ids, unit: Unit, read: Callable[[Segment, Ids], Sequence[Read]]
    ) -> list[Read]:
        """What `read` finds of documents or passages in each segment, in the order asked for."""
        result: dict[int, Read] = {}
        for number, places, local in self._numbers.split(numbers, unit):
            found = read(self._segments[number], local)
            result.update(zip(places.tolist(), found, strict=True))
        return [result[place] for place in range(len(numbers))]
