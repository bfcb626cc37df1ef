"""What was added and is in no segment yet: records and rows in memory, checked, then written."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, compress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import column_file
from .builder import PostingsBuilder, merge_postings
from .column_building import Chunk, build_columns
from .manifest import FieldSpec, SegmentEntry, TermField, VectorField
from .metadata import metadata_json, storable
from .postings import Postings
from .segment import STORE, SegmentFiles, write_columns, write_vectors
from .store_writing import write_tables
from .types import Record, TermVectors

RECORD_BYTES = 300  # a document's Python objects, besides its strings
PASSAGE_BYTES = 120
METADATA_AT_ONCE = 10_000  # documents

Rows = TermVectors | NDArray[np.float32]


class Buffer:
    """Documents and rows that are in no segment yet."""

    def __init__(self, fields: Mapping[str, FieldSpec]) -> None:
        self._fields = fields
        # subtle: plain strings and tuples, as Python's garbage collector, which passes over them,
        # would walk through a million records again and again
        self._documents: list[tuple[str, str, str, bytes]] = []  # id, title, metadata, hash
        self._texts: list[str] = []
        self._passages: list[tuple[tuple[int, int], ...]] = []
        self._place: dict[str, int] = {}  # id -> the place of its latest document
        self._terms: dict[str, PostingsBuilder] = {}
        self._twins: dict[str, str] = {}  # field -> the one whose rows have always been its own
        for name, spec in fields.items():
            if isinstance(spec, TermField):
                twin = next((n for n in self._terms if _kind(fields[n]) == spec.kind), None)
                if twin is None:
                    self._terms[name] = PostingsBuilder(spec.kind)
                else:
                    self._twins[name] = twin
        self._vectors: dict[str, list[NDArray[np.float32]]] = {
            name: [] for name, spec in fields.items() if isinstance(spec, VectorField)
        }
        self._bytes = 0  # of records and vectors
        self._terms_bytes = 0  # when it was last counted
        self._calls = self._next_count = 0

    def __len__(self) -> int:
        return len(self._documents)

    @property
    def nbytes(self) -> int:
        """Bytes held, about, replaced and deleted documents included."""
        # subtle: a builder counts in linear time, so it is asked after ever more calls only
        if self._calls >= self._next_count:
            self._terms_bytes = sum(builder.nbytes for builder in self._terms.values())
            self._next_count = self._calls + self._calls // 16 + 1
        return self._bytes + self._terms_bytes

    def ids(self) -> list[str]:
        """The ids of the documents that were not replaced or deleted."""
        return list(self._place)

    def add(self, records: Sequence[Record], rows: Mapping[str, Rows]) -> None:
        """Take in what was checked; one object as the rows of two fields is taken in once."""
        for name, twin in list(self._twins.items()):
            if rows[name] is not rows[twin]:
                self._terms[name] = copy.deepcopy(self._terms[twin])
                del self._twins[name]
        for name, builder in self._terms.items():
            part = rows[name]
            assert isinstance(part, TermVectors)
            builder.add(part)
        for name, vectors in self._vectors.items():
            part = rows[name]
            assert isinstance(part, np.ndarray)
            vectors.append(np.array(part, np.float32))  # a copy: the caller may reuse its array
            self._bytes += part.size * 4
        documents = [(r.id, storable(r.title), metadata_json(r.metadata), r.hash) for r in records]
        texts = [storable(record.text) for record in records]
        passages = [record.passages for record in records]
        first = len(self._documents)
        self._place.update((r.id, place) for place, r in enumerate(records, first))
        self._documents += documents
        self._texts += texts
        self._passages += passages
        self._bytes += RECORD_BYTES * len(records) + PASSAGE_BYTES * sum(map(len, passages))
        self._bytes += sum(map(sys.getsizeof, chain(texts, *documents)))
        self._calls += 1

    def update(self, id: str, metadata: str, hash: bytes) -> bool:
        """Whether there was such a document; it has these metadata (JSON) and this hash now."""
        place = self._place.get(id)
        if place is None:
            return False
        _, title, old, _ = self._documents[place]
        self._documents[place] = id, title, metadata, hash
        self._bytes += sys.getsizeof(metadata) - sys.getsizeof(old)
        return True

    def delete(self, id: str) -> bool:
        """Whether there was such a document; its rows are left out when the buffer is written."""
        return self._place.pop(id, None) is not None

    def write(self, files: SegmentFiles) -> SegmentEntry:
        """Write the segment, letting go of what is written. The buffer is of no use afterwards."""
        kept = sorted(self._place.values())
        counts = np.array([len(passages) for passages in self._passages], np.int64)
        documents = np.zeros(len(self._documents), np.bool_)
        documents[kept] = True
        passages = np.repeat(documents, counts)
        files.built(STORE, lambda path: self._write_store(path, kept))
        if len(kept) >= column_file.WRITTEN_FROM:
            write_columns(files, build_columns(len(kept), self._metadata(kept)))
        self._documents, self._texts, self._passages = [], [], []
        for name, spec in self._fields.items():
            keep = documents if spec.unit == "document" else passages
            if name in self._twins:  # subtle: each document has one passage then
                files.parts[name] = files.parts[self._twins[name]]
            elif isinstance(spec, TermField):
                arrays = self._terms.pop(name).build()
                if not keep.all():
                    arrays = merge_postings([Postings(arrays)], [keep])
                files.arrays(name, arrays)
            else:
                vectors = np.concatenate(self._vectors.pop(name))
                write_vectors(files, spec, vectors if keep.all() else vectors[keep])
        return files.passages(counts[kept])

    def _metadata(self, kept: Sequence[int]) -> Iterator[Chunk]:
        for start in range(0, len(kept), METADATA_AT_ONCE):
            some = [self._documents[place][2] for place in kept[start : start + METADATA_AT_ONCE]]
            marks = np.fromiter((text != "{}" for text in some), np.bool_, len(some))
            if marks.any():
                yield start + np.flatnonzero(marks), list(compress(some, marks))

    def _write_store(self, path: Path, kept: Sequence[int]) -> None:
        write_tables(
            path,
            (self._documents[place] for place in kept),
            (self._texts[place] for place in kept),
            (
                (document, start, end)
                for document, place in enumerate(kept)
                for start, end in self._passages[place]
            ),
        )


def _kind(spec: FieldSpec) -> str | None:
    return spec.kind if isinstance(spec, TermField) else None
