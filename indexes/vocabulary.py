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
        frequency = np.zeros(len(terms), np.int64)
        for segment in self.segments:
            postings = segment.postings[self.field.name]
            alive = segment.alive_rows(self.field.unit)
            frequency += postings.document_frequency(postings.term_ids(terms), alive)
        return frequency

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
