"""How a snapshot numbers documents and passages: through all segments, dead ones included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .types import Unit

Ids = NDArray[np.int64]


class Numbering:
    """Made from each segment's `first` (n_documents + 1,): the first passage of each document."""

    def __init__(self, firsts: Sequence[Ids]) -> None:
        self._firsts = firsts
        self.one_each = all(len(first) - 1 == int(first[-1]) for first in firsts)
        """Whether every document has one passage: then both have the same numbers."""
        self._bases: dict[Unit, Ids] = {
            "document": _ends([len(first) - 1 for first in firsts]),
            "passage": _ends([int(first[-1]) for first in firsts]),
        }

    def base(self, unit: Unit, segment: int) -> int:
        """The number of a segment's first document or passage."""
        return int(self._bases[unit][segment])

    def split(self, ids: Ids, unit: Unit) -> Iterator[tuple[int, Ids, Ids]]:
        """By segment: its number, the places in `ids` of what lies in it, their local numbers.

        Raises ValueError for a number that there is not.
        """
        ids = np.asarray(ids, np.int64)
        bases = self._bases[unit]
        if len(ids) and (ids[1:] >= ids[:-1]).all():  # as most are: segments are runs of them
            ends = ids.searchsorted(bases).tolist()
            if ends[0] == 0 and ends[-1] == len(ids):
                for segment, (start, end) in enumerate(pairwise(ends)):
                    if start < end:
                        yield segment, np.arange(start, end), ids[start:end] - bases[segment]
                return
        self.check(ids, unit)
        owner = np.searchsorted(bases, ids, side="right") - 1
        for segment in np.flatnonzero(np.bincount(owner)).tolist():
            places = np.flatnonzero(owner == segment)
            yield segment, places, ids[places] - bases[segment]

    def check(self, ids: Ids, unit: Unit) -> None:
        """Raise ValueError for a number that there is not."""
        last = self._bases[unit][-1] - 1
        if len(ids) and not (ids.min() >= 0 and ids.max() <= last):
            raise ValueError(f"illegal {unit} number, must be between 0 and {last}")

    def passages_of(self, documents: Ids) -> tuple[Ids, Ids]:
        """The first passage of each document, and how many it has: int64 (m,) each."""
        if len(self._firsts) == 1:
            self.check(documents, "document")
            first = self._firsts[0]
            starts = first[documents]
            return starts, first[documents + 1] - starts
        starts = np.zeros(len(documents), np.int64)
        counts = np.zeros(len(documents), np.int64)
        for segment, places, local in self.split(documents, "document"):
            first = self._firsts[segment]
            starts[places] = first[local] + self.base("passage", segment)
            counts[places] = first[local + 1] - first[local]
        return starts, counts

    def owners(self, passages: Ids) -> tuple[Ids, Ids]:
        """The document of each passage, and the passage's place in it: int64 (m,) each."""
        documents = np.zeros(len(passages), np.int64)
        places_within = np.zeros(len(passages), np.int64)
        for segment, places, local in self.split(passages, "passage"):
            first = self._firsts[segment]
            owner = np.searchsorted(first, local, side="right") - 1
            documents[places] = owner + self.base("document", segment)
            places_within[places] = local - first[owner]
        return documents, places_within


def _ends(counts: Sequence[int]) -> Ids:
    return np.cumsum([0, *counts], dtype=np.int64)
