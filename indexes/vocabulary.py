"""The terms of a field through all segments: which there are, and how many rows have each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .manifest import TermField
from .postings import damage_named
from .segment import Segment


@dataclass(frozen=True)
class Vocabulary:
    """The terms of one field.

    >>> snapshot.vocabulary("bm25").beginning("bl", 4, 5)  # doctest: +SKIP
    ['black', 'blues']
    """

    segments: Sequence[Segment]
    field: TermField

    def frequency(self, terms: Sequence[str]) -> NDArray[np.int64]:
        """How many live rows hold each term, int64 (m,). Raises Damaged."""
        numbers = [segment.postings[self.field.name].term_ids(terms) for segment in self.segments]
        return live_frequency(self.segments, self.field, numbers, len(terms))

    def beginning(self, start: str, shortest: int, longest: int) -> list[str]:
        """The terms that begin so, of `shortest` to `longest` bytes in UTF-8, ascending.

        Those of deleted rows may be among them. Raises Damaged.
        """
        found: set[str] = set()
        for segment in self.segments:
            postings = segment.postings[self.field.name]
            with damage_named(postings.name):
                found.update(postings.dictionary.beginning(start, shortest, longest))
        return sorted(found)


def live_frequency(
    segments: Sequence[Segment],
    field: TermField,
    numbers: Sequence[NDArray[np.int32]],
    count: int,
) -> NDArray[np.int64]:
    """How many live rows hold each of `count` terms, int64; `numbers`: theirs in each segment."""
    frequency = np.zeros(count, np.int64)
    for segment, found in zip(segments, numbers, strict=True):
        alive = segment.alive_rows(field.unit)
        frequency += segment.postings[field.name].document_frequency(found, alive)
    return frequency
