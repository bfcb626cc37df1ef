"""Scores and rankings of one commit: each segment's, brought together by numbers and statistics.

Statistics are those of the live rows of all segments, so a score depends neither on the segments
nor on what was deleted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .manifest import FieldSpec, TermField, VectorField
from .numbering import Ids, Numbering
from .segment import Segment
from .selection import Selection
from .similarity import Dot, Similarity, Statistics
from .traversal import compact, explain_row, score_rows
from .traversal import search as search_postings
from .types import TermPart, TermVectors, TopK, Unit
from .vectors import VectorKind

Bools = NDArray[np.bool_]
Float32s = NDArray[np.float32]
Queries = TermVectors | Float32s


@dataclass(frozen=True)
class _TermQueries:
    """Queries of a term field, with all that a segment must be told to score them."""

    field: str
    terms: TermVectors
    similarity: Similarity
    statistics: Statistics

    def search(
        self, segment: Segment, k: int, eligible: Bools | None, groups: Ids | None
    ) -> list[TopK]:
        """The k best rows, or groups of rows, of a segment for each query."""
        return search_postings(
            segment.postings[self.field],
            self.terms,
            k,
            self.similarity,
            self.statistics,
            eligible=eligible,
            groups=groups,
        )

    def scores(self, segment: Segment, rows: Ids) -> Float32s:
        """The scores of rows (m,) of a segment for the one query."""
        postings = segment.postings[self.field]
        return score_rows(postings, self.terms, self.similarity, self.statistics, rows)


@dataclass(frozen=True)
class _VectorQueries:
    """Queries of a vector field (q, dim), and which structure to search."""

    field: str
    vectors: Float32s
    kind: VectorKind

    def search(
        self, segment: Segment, k: int, eligible: Bools | None, groups: Ids | None
    ) -> list[TopK]:
        """The k best rows, or groups of rows, of a segment for each query."""
        vectors = segment.vectors[self.field]
        return vectors.search(self.vectors, k, eligible=eligible, groups=groups, kind=self.kind)

    def scores(self, segment: Segment, rows: Ids) -> Float32s:
        """The scores of rows (m,) of a segment for the one query."""
        return segment.vectors[self.field].scores(self.vectors[0], rows)


class Scoring:
    """The scores of all segments' rows; the arguments are those of `Snapshot`."""

    def __init__(
        self, fields: Mapping[str, FieldSpec], segments: Sequence[Segment], numbers: Numbering
    ) -> None:
        self._fields = fields
        self._segments = segments
        self._numbers = numbers
        self._totals: dict[str, tuple[int, float]] = {}

    def search(
        self,
        field: str,
        queries: Queries,
        k: int,
        unit: Unit,
        where: Selection | None,
        *,
        similarity: Similarity | None,
        exact: bool,
    ) -> list[TopK]:
        """The k best live documents or passages of each query, ties by ascending number."""
        spec = self._field(field)
        if k < 1:
            raise ValueError(f"illegal k: {k}, must be at least 1")
        _check_unit(spec, unit)
        if where is not None and [len(part) for part in where.documents] != [
            segment.n_documents for segment in self._segments
        ]:
            raise ValueError("the selection was made by another snapshot")
        prepared = self._prepared(spec, queries, similarity, exact)
        found: list[list[TopK]] = [[] for _ in range(len(queries))]
        for number, segment in enumerate(self._segments):
            eligible = self._eligible(number, unit, where)
            if eligible is not None and not eligible.any():
                continue
            groups = segment.first[:-1] if spec.unit != unit else None
            base = self._numbers.base(unit, number)
            for query, result in enumerate(prepared.search(segment, k, eligible, groups)):
                found[query].append(TopK(result.ids + base, result.scores))
        return [_best(parts, k) for parts in found]

    def scores(
        self, field: str, query: Queries, ids: Ids, unit: Unit, similarity: Similarity | None
    ) -> tuple[Float32s, Ids]:
        """The scores of documents or passages (m,) for one query, and their best passages."""
        spec = self._field(field)
        ids = np.asarray(ids, np.int64)
        _check_unit(spec, unit)
        if spec.unit == unit:
            best = ids if unit == "passage" else np.full(len(ids), -1, np.int64)
            return self._row_scores(spec, query, ids, similarity), best
        first, counts = self._numbers.passages_of(ids)
        starts = np.cumsum(counts) - counts
        owner = np.repeat(np.arange(len(ids)), counts)
        rows = np.arange(counts.sum()) - np.repeat(starts - first, counts)
        scores = self._row_scores(spec, query, rows, similarity)
        if not len(ids):
            return scores, ids
        highest = np.maximum.reduceat(scores, starts)
        places = np.flatnonzero(scores == highest[owner])
        _, earliest = np.unique(owner[places], return_index=True)
        return highest, rows[places[earliest]]

    def explain(
        self, field: str, query: TermVectors, id: int, similarity: Similarity | None
    ) -> list[TermPart]:
        """The parts of one row's score in a term field, which add up to it."""
        spec = self._field(field)
        if not isinstance(spec, TermField):
            raise ValueError(f"field {field} holds vectors; an inner product has no named parts")
        terms = compact(_term_vectors(spec, query))
        statistics = self._statistics(spec, None, terms.terms)
        [(number, _, local)] = self._numbers.split(np.array([id], np.int64), spec.unit)
        postings = self._segments[number].postings[field]
        return explain_row(
            postings, terms, similarity or spec.similarity, statistics, int(local[0])
        )

    # --- inside

    def _field(self, name: str) -> FieldSpec:
        if name not in self._fields:
            raise ValueError(f"no field {name!r}, the index has {', '.join(self._fields)}")
        return self._fields[name]

    def _prepared(
        self, spec: FieldSpec, queries: Queries, similarity: Similarity | None, exact: bool
    ) -> _TermQueries | _VectorQueries:
        if isinstance(spec, VectorField):
            kind = "exact" if exact else spec.kind
            return _VectorQueries(spec.name, _vectors(spec, queries), kind)
        terms = compact(_term_vectors(spec, queries))
        similarity = similarity or spec.similarity
        statistics = self._statistics(spec, similarity, terms.terms)
        return _TermQueries(spec.name, terms, similarity, statistics)

    def _row_scores(
        self, spec: FieldSpec, query: Queries, rows: Ids, similarity: Similarity | None
    ) -> Float32s:
        """The scores of rows (m,), numbered through all segments, for one query."""
        if isinstance(spec, VectorField):
            query = np.reshape(query, (1, -1))  # type: ignore[arg-type]
        prepared = self._prepared(spec, query, similarity, exact=True)
        scores = np.zeros(len(rows), np.float32)
        for number, places, local in self._numbers.split(rows, spec.unit):
            scores[places] = prepared.scores(self._segments[number], local)
        return scores

    def _eligible(self, number: int, unit: Unit, where: Selection | None) -> Bools | None:
        """Which rows of a segment may be returned; None if all may."""
        segment = self._segments[number]
        if where is None:
            return segment.alive_rows(unit)
        chosen = where.documents[number]
        return chosen if unit == "document" else segment.to_passages(chosen)

    def _statistics(
        self, spec: TermField, similarity: Similarity | None, terms: Sequence[str]
    ) -> Statistics:
        """Of the live rows of all segments; Dot needs none, so document frequencies stay 0."""
        frequency = np.zeros(len(terms), np.int64)
        if not isinstance(similarity, Dot):
            for segment in self._segments:
                postings = segment.postings[spec.name]
                numbers = postings.term_ids(terms)
                frequency += postings.document_frequency(numbers, segment.alive_rows(spec.unit))
        return Statistics(frequency, *self._total(spec))

    def _total(self, spec: TermField) -> tuple[int, float]:
        """How many live rows the field has, and their average length."""
        if spec.name not in self._totals:
            count, total = 0, 0.0
            for segment in self._segments:
                lengths = segment.postings[spec.name].lengths
                alive = segment.alive_rows(spec.unit)
                kept = lengths if alive is None else lengths[alive]
                count += len(kept)
                total += float(kept.sum(dtype=np.float64))
            self._totals[spec.name] = count, total / count if count else 0.0
        return self._totals[spec.name]


def _check_unit(spec: FieldSpec, unit: Unit) -> None:
    if spec.unit == "document" and unit == "passage":
        raise ValueError(f"field {spec.name} ranks documents, not passages")


def _term_vectors(spec: TermField, queries: Queries) -> TermVectors:
    if not isinstance(queries, TermVectors):
        raise ValueError(f"field {spec.name} takes TermVectors, not {type(queries).__name__}")
    return queries


def _vectors(spec: VectorField, queries: Queries) -> Float32s:
    if not isinstance(queries, np.ndarray) or queries.shape[1:] != (spec.dim,):
        raise ValueError(f"field {spec.name} takes vectors of shape (n, {spec.dim})")
    return np.ascontiguousarray(queries, np.float32)


def _best(parts: Sequence[TopK], k: int) -> TopK:
    """The k best of all segments: highest scores first, ties by ascending number."""
    if len(parts) == 1:
        return parts[0]
    ids = np.concatenate([np.empty(0, np.int64), *(part.ids for part in parts)])
    scores = np.concatenate([np.empty(0, np.float32), *(part.scores for part in parts)])
    order = np.lexsort((ids, -scores))[:k]
    return TopK(ids[order], scores[order])
