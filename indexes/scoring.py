"""Scores and rankings of one commit: each segment's, brought together by numbers and statistics.

Statistics are those of the live rows of all segments, so a score depends neither on the segments
nor on what was deleted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .asked import Asked, TermQueries, VectorQueries
from .factors import KnownTerms
from .manifest import FieldSpec, TermField, VectorField
from .numbering import Ids, Numbering
from .segment import Segment
from .selection import Selection
from .similarity import BM25, Similarity, Statistics
from .traversal import explain_row
from .types import TermPart, TermVectors, TopK, Unit
from .vocabulary import live_frequency

Bools = NDArray[np.bool_]
Float32s = NDArray[np.float32]
Queries = TermVectors | Float32s


class Scoring:
    """The scores of all segments' rows; the arguments are those of `Snapshot`."""

    def __init__(
        self, fields: Mapping[str, FieldSpec], segments: Sequence[Segment], numbers: Numbering
    ) -> None:
        self._fields = fields
        self._segments = segments
        self._numbers = numbers
        self._totals: dict[str, tuple[int, float]] = {}
        self._terms: dict[tuple[str, float], KnownTerms] = {}  # by field, and whether idf counts

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
        self._check(spec, k, unit, where)
        asked = self._asked(spec, queries, similarity, exact)
        parts: list[list[TopK]] = []
        floors: Float32s | None = None
        for number, segment in enumerate(self._segments):
            eligible = self._eligible(number, unit, where)
            if eligible is not None and not eligible.any():
                continue
            grouped = spec.unit != unit and segment.n_passages > segment.n_documents
            found = asked.search(
                segment, number, k, eligible=eligible, grouped=grouped, floors=floors
            )
            if number < len(self._segments) - 1:
                floors = _raised(floors, found, k)
            if number:
                base = self._numbers.base(unit, number)
                found = [TopK(part.ids + base, part.scores) for part in found]
            parts.append(found)
        if len(parts) == 1:
            return parts[0]
        return [_best([found[i] for found in parts], k) for i in range(len(queries))]

    def search_and_score(
        self,
        field: str,
        query: Queries,
        k: int,
        ids: Ids,
        *,
        unit: Unit,
        where: Selection | None,
        similarity: Similarity | None,
    ) -> tuple[TopK, Float32s]:
        """`search` and `scores` for one query."""
        spec = self._field(field)
        self._check(spec, k, unit, where)
        if len(self._segments) == 1 and len(ids):
            segment = self._segments[0]
            eligible = self._eligible(0, unit, where)
            one_each = spec.unit == unit or self._numbers.one_each
            if one_each and (eligible is None or eligible.any()):
                self._numbers.check(ids, unit)
                asked = self._asked(spec, query, similarity, exact=False)
                return asked.search_and_score(segment, 0, k, ids, eligible=eligible)
        [top] = self.search(field, query, k, unit, where, similarity=similarity, exact=False)
        if isinstance(query, np.ndarray):
            query = query[0]
        return top, self.scores(field, query, ids, unit, similarity)

    def scores(
        self, field: str, query: Queries, ids: Ids, unit: Unit, similarity: Similarity | None
    ) -> Float32s:
        """The scores of documents or passages (m,) for one query."""
        spec = self._field(field)
        ids = np.asarray(ids, np.int64)
        _check_unit(spec, unit)
        if spec.unit == unit or self._numbers.one_each:
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
        terms = TermVectors.of([_term_vectors(spec, query).row(0)])
        numbers = [segment.postings[field].term_ids(terms.terms) for segment in self._segments]
        statistics = _statistics(self._segments, spec, numbers, self._total(spec))
        [(number, _, local)] = self._numbers.split(np.array([id], np.int64), spec.unit)
        postings = self._segments[number].postings[field]
        return explain_row(
            postings, terms, similarity or spec.similarity, statistics, int(local[0])
        )

    def query_weights(
        self, field: str, queries: TermVectors, similarity: Similarity | None
    ) -> Float32s:
        """What the queries' values (nnz,) weigh in the field, idf included where it counts."""
        spec = self._field(field)
        if not isinstance(spec, TermField):
            raise ValueError(f"field {field} holds vectors, which have no terms")
        return self._known(spec, similarity or spec.similarity).weighed(queries).factors

    # --- inside

    def _field(self, name: str) -> FieldSpec:
        if name not in self._fields:
            raise ValueError(f"no field {name!r}, the index has {', '.join(self._fields)}")
        return self._fields[name]

    def _check(self, spec: FieldSpec, k: int, unit: Unit, where: Selection | None) -> None:
        """Raise ValueError for what cannot be searched so."""
        if k < 1:
            raise ValueError(f"illegal k: {k}, must be at least 1")
        _check_unit(spec, unit)
        if where is not None and [len(part) for part in where.documents] != [
            segment.n_documents for segment in self._segments
        ]:
            raise ValueError("the selection was made by another snapshot")

    def _asked(
        self, spec: FieldSpec, queries: Queries, similarity: Similarity | None, exact: bool
    ) -> Asked:
        """The queries, checked, with their statistics."""
        if isinstance(spec, VectorField):
            n_rows = sum(segment.n_rows(spec.unit) for segment in self._segments)
            from .vectors import uses_codes

            kind = "exact" if exact or not uses_codes(spec.kind, n_rows) else spec.kind
            return VectorQueries(spec.name, _vectors(spec, queries), kind)
        terms = _term_vectors(spec, queries)
        similarity = similarity or spec.similarity
        known = self._known(spec, similarity)
        average_length = self._total(spec)[1] if isinstance(similarity, BM25) else 0.0
        return TermQueries(spec.name, known.weighed(terms), similarity, average_length)

    def _known(self, spec: TermField, similarity: Similarity) -> KnownTerms:
        """What is known of the terms that queries named to a field."""
        power = 1.0 if isinstance(similarity, BM25) else similarity.idf  # of idf
        known = self._terms.get((spec.name, power))
        if known is None:
            segments, total = self._segments, self._total(spec)
            postings = [segment.postings[spec.name] for segment in segments]

            # subtle: it must not hold `self`, which holds it: all files of the commit would stay
            # open until Python looks for such cycles
            def multipliers(numbers: Sequence[NDArray[np.int32]]) -> NDArray[np.float64]:
                weights = similarity.term_weights(_statistics(segments, spec, numbers, total))
                assert weights is not None
                return weights

            known = KnownTerms(postings, multipliers if power else None)
            self._terms[spec.name, power] = known
        return known

    def _row_scores(
        self, spec: FieldSpec, query: Queries, rows: Ids, similarity: Similarity | None
    ) -> Float32s:
        """The scores of rows (m,), numbered through all segments, for one query."""
        if isinstance(spec, VectorField):
            query = np.reshape(query, (1, -1))  # type: ignore[arg-type]
        asked = self._asked(spec, query, similarity, exact=True)
        if len(self._segments) == 1:
            self._numbers.check(rows, spec.unit)
            return asked.scores(self._segments[0], 0, rows)
        scores = np.zeros(len(rows), np.float32)
        for number, places, local in self._numbers.split(rows, spec.unit):
            scores[places] = asked.scores(self._segments[number], number, local)
        return scores

    def _eligible(self, number: int, unit: Unit, where: Selection | None) -> Bools | None:
        """Which rows of a segment may be returned; None if all may."""
        segment = self._segments[number]
        if where is None:
            return segment.alive_rows(unit)
        chosen = where.documents[number]
        return chosen if unit == "document" else segment.to_passages(chosen)

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


def _statistics(
    segments: Sequence[Segment],
    spec: TermField,
    numbers: Sequence[NDArray[np.int32]],
    total: tuple[int, float],
) -> Statistics:
    """Of the live rows of all segments; `numbers`: of the terms (m,), in each segment."""
    count = len(numbers[0]) if numbers else 0
    return Statistics(live_frequency(segments, spec, numbers, count), *total)


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


def _raised(floors: Float32s | None, found: Sequence[TopK], k: int) -> Float32s | None:
    """What a score in the segments to come must exceed: rows to come lose where it is equal."""
    lowest = [float(top.scores[-1]) if len(top.scores) == k else 0.0 for top in found]
    if floors is None:
        return np.array(lowest, np.float32) if any(lowest) else None
    return np.maximum(floors, np.array(lowest, np.float32))


def _best(parts: Sequence[TopK], k: int) -> TopK:
    """The k best of all segments: ties by ascending number."""
    if not parts:
        return TopK(np.empty(0, np.int64), np.empty(0, np.float32))
    ids = np.concatenate([part.ids for part in parts])
    scores = np.concatenate([part.scores for part in parts])
    order = np.argsort(-scores, kind="stable")[:k]  # equal scores: the earlier segment's first
    return TopK(ids[order], scores[order])
