"""Scores and rankings of one commit: each segment's, brought together by numbers and statistics.

Statistics are those of the live rows of all segments, so a score depends neither on the segments
nor on what was deleted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .dictionary import KNOWN_TERMS
from .manifest import FieldSpec, TermField, VectorField
from .numbering import Ids, Numbering
from .queries import compact
from .segment import Segment
from .selection import Selection
from .similarity import Dot, Similarity, Statistics
from .traversal import explain_row, score_rows
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
        self,
        segment: Segment,
        k: int,
        eligible: Bools | None,
        grouped: bool,
        floors: Float32s | None,
    ) -> list[TopK]:
        """The k best rows, or documents, of a segment for each query."""
        if grouped and eligible is not None:
            eligible = segment.to_passages(eligible)
        return search_postings(
            segment.postings[self.field],
            self.terms,
            k,
            self.similarity,
            self.statistics,
            eligible=eligible,
            owners=segment.owners if grouped else None,
            floors=floors,
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
        self,
        segment: Segment,
        k: int,
        eligible: Bools | None,
        grouped: bool,
        floors: Float32s | None,
    ) -> list[TopK]:
        """The k best rows, or documents, of a segment for each query."""
        vectors = segment.vectors[self.field]
        groups = segment.first[:-1] if grouped else None
        return vectors.search(self.vectors, k, eligible=eligible, groups=groups, kind=self.kind)

    def scores(self, segment: Segment, rows: Ids) -> Float32s:
        """The scores of rows (m,) of a segment for the one query."""
        return segment.vectors[self.field].scores(self.vectors[0], rows)


_Prepared = _TermQueries | _VectorQueries

NO_STATISTICS = Statistics(np.empty(0, np.int64), 0, 0.0)  # Dot needs none


class Scoring:
    """The scores of all segments' rows; the arguments are those of `Snapshot`."""

    def __init__(
        self, fields: Mapping[str, FieldSpec], segments: Sequence[Segment], numbers: Numbering
    ) -> None:
        self._fields = fields
        self._segments = segments
        self._numbers = numbers
        self._totals: dict[str, tuple[int, float]] = {}
        self._frequencies: dict[str, dict[str, int]] = {}  # by field and term

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
        best: list[TopK] = []
        for number, segment in enumerate(self._segments):
            eligible = self._eligible(number, unit, where)
            if eligible is not None and not eligible.any():
                continue
            floors = _floors(best, k)
            grouped = spec.unit != unit and segment.n_passages > segment.n_documents
            found = prepared.search(segment, k, eligible, grouped, floors)
            base = self._numbers.base(unit, number)
            if base:
                found = [TopK(part.ids + base, part.scores) for part in found]
            best = [_best(pair, k) for pair in zip(best, found, strict=True)] if best else found
        return best or [TopK(np.empty(0, np.int64), np.empty(0, np.float32))] * len(queries)

    def scores(
        self, field: str, query: Queries, ids: Ids, unit: Unit, similarity: Similarity | None
    ) -> Float32s:
        """The scores of documents or passages (m,) for one query."""
        spec = self._field(field)
        ids = np.asarray(ids, np.int64)
        _check_unit(spec, unit)
        if spec.unit == unit:
            return self._row_scores(spec, query, ids, similarity)
        first, counts = self._numbers.passages_of(ids)
        if not len(ids) or counts.max() == 1:
            return self._row_scores(spec, query, first, similarity)
        starts = np.cumsum(counts) - counts
        rows = np.arange(counts.sum()) - np.repeat(starts - first, counts)
        best: Float32s = np.maximum.reduceat(
            self._row_scores(spec, query, rows, similarity), starts
        )
        return best

    def explain(
        self, field: str, query: TermVectors, id: int, similarity: Similarity | None
    ) -> list[TermPart]:
        """The parts of one row's score in a term field, which add up to it."""
        spec = self._field(field)
        if not isinstance(spec, TermField):
            raise ValueError(f"field {field} holds vectors; an inner product has no named parts")
        terms = compact(_term_vectors(spec, query))
        statistics = self._statistics(spec, terms.terms)
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
    ) -> _Prepared:
        """The queries, checked, with their statistics."""
        if isinstance(spec, VectorField):
            kind = "exact" if exact else spec.kind
            return _VectorQueries(spec.name, _vectors(spec, queries), kind)
        terms = _term_vectors(spec, queries)
        similarity = similarity or spec.similarity
        if isinstance(similarity, Dot):
            return _TermQueries(spec.name, terms, similarity, NO_STATISTICS)
        terms = compact(terms)
        statistics = self._statistics(spec, terms.terms)
        return _TermQueries(spec.name, terms, similarity, statistics)

    def _row_scores(
        self, spec: FieldSpec, query: Queries, rows: Ids, similarity: Similarity | None
    ) -> Float32s:
        """The scores of rows (m,), numbered through all segments, for one query."""
        if isinstance(spec, VectorField):
            query = np.reshape(query, (1, -1))  # type: ignore[arg-type]
        prepared = self._prepared(spec, query, similarity, exact=True)
        if len(self._segments) == 1:
            self._numbers.check(rows, spec.unit)
            return prepared.scores(self._segments[0], rows)
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

    def _statistics(self, spec: TermField, terms: Sequence[str]) -> Statistics:
        """Of the live rows of all segments; a term's frequency is counted once."""
        known = self._frequencies.setdefault(spec.name, {})
        try:
            frequency = np.array([known[term] for term in terms], np.int64)
        except KeyError:
            frequency = np.zeros(len(terms), np.int64)
            for segment in self._segments:
                postings = segment.postings[spec.name]
                numbers = postings.term_ids(terms)
                frequency += postings.document_frequency(numbers, segment.alive_rows(spec.unit))
            if len(known) > KNOWN_TERMS:
                known.clear()
            known.update(zip(terms, frequency.tolist(), strict=True))
        return Statistics(frequency, *self._total(spec))

    def _total(self, spec: TermField) -> tuple[int, float]:
        """How many live rows the field has, and their average length (of counts)."""
        if spec.name not in self._totals:
            count, total = 0, 0.0
            for segment in self._segments:
                alive = segment.alive_rows(spec.unit)
                n_rows = segment.n_rows(spec.unit)
                count += n_rows if alive is None else int(np.count_nonzero(alive))
                if spec.kind == "count":
                    lengths = segment.postings[spec.name].lengths
                    kept = lengths if alive is None else lengths[alive]
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


def _floors(best: Sequence[TopK], k: int) -> Float32s | None:
    """What a score must exceed to be among the k best: rows to come lose where scores are equal."""
    if not any(len(part.scores) == k for part in best):
        return None
    lowest = (part.scores[-1] if len(part.scores) == k else 0 for part in best)
    return np.fromiter(lowest, np.float32, len(best))


def _best(parts: tuple[TopK, TopK], k: int) -> TopK:
    """The k best of some segments and the next one: ties by ascending number."""
    ids = np.concatenate([part.ids for part in parts])
    scores = np.concatenate([part.scores for part in parts])
    order = np.argsort(-scores, kind="stable")[:k]  # equal scores: the earlier segment's first
    return TopK(ids[order], scores[order])
