"""Score completion: candidates of any part of a fusion get their true scores from all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from indexes.snapshot import Selection
from indexes.types import TopK, Unit

from .fusing import Given, united
from .scorer import Floats, Ids, Scorer


class Candidates(NamedTuple):
    """What any part found: `ids` (m,) ascending, each part's scores of them (parts, m)."""

    ids: Ids
    scores: Floats
    tops: Sequence[Ids]  # each part's own, best first

    def within(self, depth: int) -> Candidates:
        """Every part's best `depth`."""
        if all(len(ids) <= depth for ids in self.tops):
            return self
        tops = [ids[:depth] for ids in self.tops]
        kept = np.isin(self.ids, np.concatenate(tops))
        return Candidates(self.ids[kept], np.compress(kept, self.scores, axis=1), tops)


class Completion(NamedTuple):
    """One query, asked of all parts of a fusion."""

    parts: Sequence[Scorer]
    query: str
    where: Selection | None
    unit: Unit

    def candidates(self, depth: int) -> Candidates:
        """Every part's best `depth`, completely scored.

        One part is asked after the other, those first whose scores are at hand anyway; each is
        told what was found before, and scores it in passing.
        """
        tops: list[Given] = []
        passing: list[Given] = []
        for i in sorted(range(len(self.parts)), key=lambda i: not self.parts[i].direct):
            part = self.parts[i]
            if tops and not part.direct:
                found = np.concatenate([top.ids for top in tops])
                top, scores = part.top_and_scores(self.query, depth, found, self.where, self.unit)
                passing.append(Given(i, found, scores))
            else:
                [top] = part.top([self.query], depth, self.where, self.unit)
            tops.append(Given(i, *top))
        return self._completed(tops, passing)

    def completed(self, tops: Sequence[TopK]) -> Candidates:
        """What each part has found already, completely scored."""
        return self._completed([Given(i, *top) for i, top in enumerate(tops)], [])

    def scores(self, ids: Ids) -> Floats:
        """Every part's true scores of `ids`, (parts, m)."""
        return np.stack(
            [part.scores(self.query, ids, self.where, self.unit) for part in self.parts]
        )

    def _completed(self, tops: list[Given], passing: list[Given]) -> Candidates:
        ids, scores, missing = united([*tops, *passing], len(self.parts))
        for row, places, part in zip(scores, missing, self.parts, strict=True):
            if len(places):
                row[places] = part.scores(self.query, ids[places], self.where, self.unit)
        return Candidates(ids, scores, [top.ids for top in tops])
