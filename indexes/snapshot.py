"""Reads an index as of one commit: search, scores, explanations, records.

A snapshot never changes and needs no lock: it holds its files open, so a writer may replace and
unlink them meanwhile. Documents and passages are numbered through all segments, dead documents
included (they are never returned). Statistics are those of the live rows of all segments, so a
score depends neither on the segments nor on what was deleted.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .directory import Directory, FileDirectory
from .errors import Damaged
from .filters import parse_filter, to_sql
from .manifest import (
    FieldSpec,
    Manifest,
    TermField,
    VectorField,
    check_files,
    file_checksum,
    read_manifest,
)
from .numbering import Ids, Numbering
from .segment import Segment
from .similarity import Dot, Similarity, Statistics
from .traversal import compact, explain_row, score_rows
from .traversal import search as search_postings
from .types import Record, TermPart, TermVectors, TopK, Unit

ATTEMPTS = 10  # to open a commit while writers replace it
SELECTIONS = 64  # filters whose documents are remembered

Queries = TermVectors | NDArray[np.float32]


@dataclass(frozen=True)
class Selection:
    """The live documents that a filter lets through: one bool (n_documents,) a segment."""

    documents: tuple[NDArray[np.bool_], ...]

    def __len__(self) -> int:
        """How many documents are selected."""
        return sum(int(np.count_nonzero(part)) for part in self.documents)


class Snapshot:
    """One commit of an index, open for reading; several threads may use it.

    >>> with Snapshot.open("my.index") as snapshot:  # doctest: +SKIP
    ...     [best] = snapshot.search("bm25", TermVectors.of([{"blues": 1.0}]), k=10)
    ...     snapshot.ids(best.ids)
    """

    def __init__(self, directory: Directory, manifest: Manifest) -> None:
        self._directory = directory
        self._manifest = manifest
        check_files(directory, manifest)
        self._segments: list[Segment] = []
        try:
            for entry in manifest.segments:
                self._segments.append(Segment(directory, entry, manifest.fields))
        except BaseException:
            self.close()
            raise
        self._numbers = Numbering([segment.first for segment in self._segments])
        self._selections: OrderedDict[str, Selection] = OrderedDict()
        self._totals: dict[str, tuple[int, float]] = {}

    @staticmethod
    def open(path: str | Path | Directory) -> Snapshot:
        """The last commit of the index in the folder `path`.

        Checks the manifest, and every file's presence and size; contents are checked by
        `verify`. Raises NoIndex, Damaged, UnsupportedFormat, StorageFailed.
        """
        directory = FileDirectory(path) if isinstance(path, str | Path) else path
        manifest = read_manifest(directory)
        for _ in range(ATTEMPTS):
            try:
                return Snapshot(directory, manifest)
            except Damaged:
                # A writer may have committed and unlinked files since the manifest was read.
                newer = read_manifest(directory)
                if newer.generation == manifest.generation:
                    raise
                manifest = newer
        return Snapshot(directory, manifest)

    def close(self) -> None:
        """Close the files. The snapshot cannot be used afterwards."""
        for segment in self._segments:
            segment.close()

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- what there is

    @property
    def generation(self) -> int:
        """The number of the commit."""
        return self._manifest.generation

    @property
    def created(self) -> str:
        """When it was committed: ISO 8601, UTC."""
        return self._manifest.created

    @property
    def fields(self) -> Mapping[str, FieldSpec]:
        """The fields, by name."""
        return self._manifest.fields

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the commit kept for the layer above."""
        return self._manifest.settings

    @property
    def n_segments(self) -> int:
        """How many segments the commit has."""
        return len(self._segments)

    @property
    def n_documents(self) -> int:
        """How many live documents there are."""
        return sum(segment.n_alive for segment in self._segments)

    @property
    def n_passages(self) -> int:
        """How many passages the live documents have."""
        return sum(segment.n_alive_passages for segment in self._segments)

    @property
    def nbytes(self) -> int:
        """Bytes on disk of all files but the manifest."""
        return sum(entry.bytes for entry in self._manifest.files.values())

    def field_bytes(self) -> dict[str, int]:
        """Bytes on disk by component: each field, "store", "passages"; a shared file once."""
        sizes: dict[str, int] = {}
        for entry in self._manifest.segments:
            seen: set[str] = set()
            for component, name in entry.parts.items():
                owner = component.partition(".")[0]
                size = 0 if name in seen else self._manifest.files[name].bytes
                sizes[owner] = sizes.get(owner, 0) + size
                seen.add(name)
        return sizes

    # --- searching

    def search(
        self,
        field: str,
        queries: Queries,
        k: int,
        unit: Unit = "document",
        where: Selection | None = None,
        *,
        similarity: Similarity | None = None,
        exact: bool = False,
    ) -> list[TopK]:
        """The k best live documents or passages of each query, ties by ascending number.

        `queries` are n rows of `TermVectors`, or float32 (n, dim). A term field returns only
        what shares a term with the query. A document's score in a passage field is its best
        passage's. `similarity` (default: the field's) is for term fields, `exact` (no HNSW) for
        vector fields. Raises ValueError for a field, unit, k or dimension that does not fit.
        """
        spec = self._field(field)
        if k < 1:
            raise ValueError(f"illegal k: {k}, must be at least 1")
        if spec.unit == "document" and unit == "passage":
            raise ValueError(f"field {field} ranks documents, not passages")
        if where is not None and [len(part) for part in where.documents] != [
            segment.n_documents for segment in self._segments
        ]:
            raise ValueError("the selection was made by another snapshot")
        found: list[list[TopK]] = [[] for _ in range(len(queries))]
        grouped = spec.unit != unit
        if isinstance(spec, TermField):
            terms = compact(_term_vectors(spec, queries))
            similarity = similarity or spec.similarity
            statistics = self._statistics(spec, similarity, terms.terms)
        for number, segment in enumerate(self._segments):
            eligible = self._eligible(number, unit, where)
            groups = segment.first[:-1] if grouped else None
            if eligible is not None and not eligible.any():
                continue
            if isinstance(spec, TermField):
                assert similarity is not None
                results = search_postings(
                    segment.postings[field],
                    terms,
                    k,
                    similarity,
                    statistics,
                    eligible=eligible,
                    groups=groups,
                )
            else:
                results = segment.vectors[field].search(
                    _vectors(spec, queries),
                    k,
                    eligible=eligible,
                    groups=groups,
                    kind="exact" if exact else spec.kind,
                )
            base = self._numbers.base(unit, number)
            for query, result in enumerate(results):
                found[query].append(TopK(result.ids + base, result.scores))
        return [_best(parts, k) for parts in found]

    def scores(
        self,
        field: str,
        query: Queries,
        ids: Ids,
        unit: Unit = "document",
        similarity: Similarity | None = None,
    ) -> tuple[NDArray[np.float32], Ids]:
        """The exact scores of given documents or passages for one query, as `search` has them.

        `query` is one row of `TermVectors`, or float32 (dim,). Returns scores (m,) and the
        passage that each comes from (m,): -1 in a field of whole documents.
        """
        spec = self._field(field)
        ids = np.asarray(ids, np.int64)
        if spec.unit == unit:
            best = ids if unit == "passage" else np.full(len(ids), -1, np.int64)
            return self._row_scores(spec, query, ids, similarity), best
        if unit == "passage":
            raise ValueError(f"field {field} ranks documents, not passages")
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
        self, field: str, query: TermVectors, id: int, similarity: Similarity | None = None
    ) -> list[TermPart]:
        """The parts of one score in a term field, which add up to it.

        `id` is a document or a passage, whichever the field has rows of.
        """
        spec = self._field(field)
        if not isinstance(spec, TermField):
            raise ValueError(f"field {field} holds vectors; an inner product has no named parts")
        terms = compact(_term_vectors(spec, query))
        similarity = similarity or spec.similarity
        statistics = self._statistics(spec, None, terms.terms)
        [(number, _, local)] = self._numbers.split(np.array([id], np.int64), spec.unit)
        postings = self._segments[number].postings[field]
        return explain_row(postings, terms, similarity, statistics, int(local[0]))

    def select(self, filter: str) -> Selection:
        """The documents that a filter expression lets through (see `filters`).

        Raises BadFilter.
        """
        selection = self._selections.get(filter)
        if selection is None:
            condition, values = to_sql(parse_filter(filter))
            selection = Selection(
                tuple(
                    segment.store.filter(condition, values) & segment.alive
                    for segment in self._segments
                )
            )
            self._selections[filter] = selection
            if len(self._selections) > SELECTIONS:
                self._selections.popitem(last=False)
        return selection

    # --- documents and passages

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
            for id, (ordinal, hash) in segment.store.find(ids).items()
            if segment.alive[ordinal]
        }

    def ids(self, documents: Ids) -> list[str]:
        """The documents' ids, in the order asked for."""
        result = [""] * len(documents)
        for number, places, local in self._numbers.split(documents, "document"):
            found = self._segments[number].store.ids(local)
            for place, id in zip(places.tolist(), found, strict=True):
                result[place] = id
        return result

    def records(self, documents: Ids) -> list[Record]:
        """The documents as they were added, in the order asked for."""
        result: dict[int, Record] = {}
        for number, places, local in self._numbers.split(documents, "document"):
            segment = self._segments[number]
            found = segment.store.records(local, segment.first)
            result.update(zip(places.tolist(), found, strict=True))
        return [result[place] for place in range(len(documents))]

    def all_ids(self) -> Iterator[str]:
        """Every live document's id, in order of their numbers."""
        for segment in self._segments:
            for id, alive in zip(segment.store.all_ids(), segment.alive.tolist(), strict=True):
                if alive:
                    yield id

    def passages_of(self, document: int) -> tuple[int, int]:
        """A document's first passage, and how many it has; they follow each other."""
        [first], [count] = self._numbers.passages_of(np.array([document], np.int64))
        return int(first), int(count)

    def documents_of(self, passages: Ids) -> Ids:
        """The document of each passage, int64 (m,)."""
        return self._numbers.owners(passages)[0]

    def passage_number(self, passages: Ids) -> Ids:
        """The place of each passage within its document, from 0, int64 (m,)."""
        return self._numbers.owners(passages)[1]

    def verify(self) -> list[str]:
        """Read everything; what is wrong, one line each (none: all is well)."""
        problems = {}
        for name, entry in self._manifest.files.items():
            path = self._directory.path(name)
            try:
                if file_checksum(path) != entry.blake2b:
                    problems[name] = f"{path}: the checksum is wrong; the file was changed"
            except OSError as error:
                problems[name] = f"{path}: cannot be read: {error.strerror}"
        found = list(problems.values())
        for segment in self._segments:
            if not problems.keys() & set(segment.entry.parts.values()):
                found += segment.problems()
        if not found:
            ids = list(self.all_ids())
            if len(set(ids)) < len(ids):
                found.append(f"{self._directory.root}: two live documents have one id")
        return found

    # --- inside

    def _field(self, name: str) -> FieldSpec:
        if name not in self.fields:
            raise ValueError(f"no field {name!r}, the index has {', '.join(self.fields)}")
        return self.fields[name]

    def _eligible(
        self, number: int, unit: Unit, where: Selection | None
    ) -> NDArray[np.bool_] | None:
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

    def _row_scores(
        self, spec: FieldSpec, query: Queries, rows: Ids, similarity: Similarity | None
    ) -> NDArray[np.float32]:
        scores = np.zeros(len(rows), np.float32)
        if isinstance(spec, TermField):
            terms = compact(_term_vectors(spec, query))
            similarity = similarity or spec.similarity
            statistics = self._statistics(spec, similarity, terms.terms)
        else:
            vector = _vectors(spec, np.reshape(query, (1, -1)))[0]  # type: ignore[arg-type]
        for number, places, local in self._numbers.split(rows, spec.unit):
            segment = self._segments[number]
            if isinstance(spec, TermField):
                assert similarity is not None
                postings = segment.postings[spec.name]
                scores[places] = score_rows(postings, terms, similarity, statistics, local)
            else:
                scores[places] = segment.vectors[spec.name].scores(vector, local)
        return scores


def _term_vectors(spec: TermField, queries: Queries) -> TermVectors:
    if not isinstance(queries, TermVectors):
        raise ValueError(f"field {spec.name} takes TermVectors, not {type(queries).__name__}")
    return queries


def _vectors(spec: VectorField, queries: Queries) -> NDArray[np.float32]:
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
