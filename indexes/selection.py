"""Which documents a filter lets through, remembered for the filters asked for last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .numbering import Ids
from .segment import Segment

if TYPE_CHECKING:
    from .columns import Column, Field, Scalar

REMEMBERED = 64  # filters


@dataclass(frozen=True, eq=False)
class Selection:
    """The live documents that a filter lets through: one bool (n_documents,) a segment."""

    documents: tuple[NDArray[np.bool_], ...]

    def __len__(self) -> int:
        """How many documents are selected."""
        return sum(int(np.count_nonzero(part)) for part in self.documents)


class Selections:
    """The selections of one snapshot, whose segments never change."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._segments = segments
        self._known: OrderedDict[str, Selection] = OrderedDict()

    def of(self, filter: str) -> Selection:
        """The documents that a filter expression lets through. Raises BadFilter."""
        selection = self._known.get(filter)
        if selection is None:
            from .filters import parse_filter

            tree = parse_filter(filter)
            selection = Selection(
                tuple(segment.documents.select(tree) & segment.alive for segment in self._segments)
            )
            self._known[filter] = selection
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return selection

    def facets(self, field: Field, where: Selection | None, top: int) -> list[tuple[Scalar, int]]:
        """The most frequent values among the selected (or all live) documents, and their counts."""
        from .ordering import facet_counts

        return facet_counts(self._columns(field), self._chosen(where), top)

    def first(
        self,
        field: Field,
        k: int,
        where: Selection | None,
        names: Callable[[Ids], Sequence[str]],
        *,
        descending: bool,
    ) -> Ids:
        """The first k selected (or all live) documents by their values; see `ordering`."""
        from .ordering import Part, first_by_id, first_of

        parts = [
            Part(chosen, segment.documents.first_by_id)
            for chosen, segment in zip(self._chosen(where), self._segments, strict=True)
        ]
        if field == ("id",):
            return first_by_id(parts, k, names, descending=descending)
        return first_of(self._columns(field), parts, k, names, descending=descending)

    def _columns(self, field: Field) -> list[Column]:
        return [segment.documents.columns.of(field) for segment in self._segments]

    def _chosen(self, where: Selection | None) -> Sequence[NDArray[np.bool_]]:
        return [s.alive for s in self._segments] if where is None else where.documents
