"""Queries of a field, with all that a segment must be told to answer them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .factors import Factors, Weighed
from .norms import Norms, norms_of
from .numbering import Ids
from .postings import Postings
from .segment import Segment
from .similarity import Similarity
from .traversal import best_rows, best_rows_and_scores, scores_of
from .types import TopK

if TYPE_CHECKING:
    from .vectors import VectorKind

Bools = NDArray[np.bool_]
Float32s = NDArray[np.float32]


class TermQueries(NamedTuple):
    """Queries of a term field, with all that a segment must be told to score them."""

    field: str
    weighed: Weighed
    similarity: Similarity
    average_length: float

    def search(
        self,
        segment: Segment,
        number: int,
        k: int,
        *,
        eligible: Bools | None,
        grouped: bool,
        floors: Float32s | None,
    ) -> list[TopK]:
        """The k best rows, or documents, of a segment for each query."""
        if grouped and eligible is not None:
            eligible = segment.to_passages(eligible)
        return best_rows(
            *self._in(segment, number),
            k,
            eligible=eligible,
            owners=segment.owners if grouped else None,
            floors=floors,
        )

    def search_and_score(
        self,
        segment: Segment,
        number: int,
        k: int,
        rows: Ids,
        *,
        eligible: Bools | None,
    ) -> tuple[TopK, Float32s]:
        """The k best rows of a segment for the one query, and the scores of `rows`."""
        return best_rows_and_scores(*self._in(segment, number), k, rows, eligible=eligible)

    def scores(self, segment: Segment, number: int, rows: Ids) -> Float32s:
        """The scores of rows (m,) of a segment for the one query."""
        return scores_of(*self._in(segment, number), rows)

    def _in(self, segment: Segment, number: int) -> tuple[Postings, Factors, Norms | None]:
        """A segment's lists, and the queries and rows as these weigh them."""
        postings = segment.postings[self.field]
        norms = norms_of(postings, self.similarity, self.average_length)
        return postings, self.weighed.in_segment(number), norms


class VectorQueries(NamedTuple):
    """Queries of a vector field (q, dim), and which structure to search."""

    field: str
    vectors: Float32s
    kind: VectorKind

    def search(
        self,
        segment: Segment,
        number: int,
        k: int,
        *,
        eligible: Bools | None,
        grouped: bool,
        floors: Float32s | None,
    ) -> list[TopK]:
        """The k best rows, or documents, of a segment for each query."""
        vectors = segment.vectors[self.field]
        groups = segment.first[:-1] if grouped else None
        return vectors.search(self.vectors, k, eligible=eligible, groups=groups, kind=self.kind)

    def search_and_score(
        self,
        segment: Segment,
        number: int,
        k: int,
        rows: Ids,
        *,
        eligible: Bools | None,
    ) -> tuple[TopK, Float32s]:
        """The k best rows of a segment for the one query, and the scores of `rows`."""
        [top] = self.search(segment, number, k, eligible=eligible, grouped=False, floors=None)
        return top, self.scores(segment, number, rows)

    def scores(self, segment: Segment, number: int, rows: Ids) -> Float32s:
        """The scores of rows (m,) of a segment for the one query."""
        return segment.vectors[self.field].scores(self.vectors[0], rows)


Asked = TermQueries | VectorQueries
