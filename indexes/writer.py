"""Changes an index: add, delete, commit, roll back, merge. One writer at a time.

Rows are buffered in memory up to a budget, then flushed as a segment that nobody can see yet.
`commit` makes all changes visible at once by replacing the manifest, after everything it names
is on the disk; only then are files of the old commit unlinked. Whatever happens in between, the
folder holds the old commit or the new one, and files that no manifest names, which the next
writer removes.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .directory import LOCK, TEMPORARY, Directory, FileDirectory, make_folder
from .errors import IndexesError, IndexExists
from .manifest import (
    MANIFEST,
    FieldSpec,
    FileEntry,
    Manifest,
    SegmentEntry,
    TermField,
    VectorField,
    check_files,
    read_manifest,
)
from .merge import Size, all_merges, choose_merges, merge_segments
from .postings import Postings, PostingsBuilder, merge_postings
from .segment import DEAD, STORE, Segment, SegmentFiles, dead_bits, write_vectors
from .store import metadata_json, storable, write_store
from .types import Record, TermVectors

MEMORY_BUDGET = 256 * 2**20  # bytes
RECORD_BYTES = 600  # a record's Python objects, besides its strings
PASSAGE_BYTES = 120

Rows = TermVectors | NDArray[np.float32]

_OURS = re.compile(r"s\d{6,}\..+|" + re.escape(MANIFEST + TEMPORARY))


@dataclass
class _Part:
    """A segment of the commit to come: its dead documents as they will be."""

    segment: Segment
    dead: NDArray[np.bool_]

    @property
    def changed(self) -> bool:
        return int(np.count_nonzero(self.dead)) != self.segment.entry.n_dead


class Writer:
    """The one writer of an index; holds its lock until it is closed. Not for several threads.

    `memory_budget` bytes (default 256 MiB) bound what is buffered before a segment is written,
    and a merged segment's largest field: the larger, the fewer segments and the more memory.

    >>> with Writer.open("my.index") as writer:  # doctest: +SKIP
    ...     writer.delete(["d1"])
    ...     writer.commit()
    """

    def __init__(self, directory: Directory, memory_budget: int = MEMORY_BUDGET) -> None:
        if memory_budget < 1:
            raise ValueError(f"illegal memory budget: {memory_budget} bytes, must be at least 1")
        self._directory = directory
        self._budget = memory_budget
        self._open = contextlib.ExitStack()
        self._open.enter_context(directory.lock())
        try:
            directory.sync()  # should the last rename not be on the disk yet, now it is
            self._parts: list[_Part] = []
            self._load()
            self._serial = self._manifest.next_segment
            self._remove_leftovers()
        except BaseException:
            self._open.close()
            raise

    @staticmethod
    def create(
        path: str | Path | Directory,
        fields: Sequence[FieldSpec],
        settings: Mapping[str, Any] | None = None,
        memory_budget: int = MEMORY_BUDGET,
    ) -> Writer:
        """A writer of a new, empty index in a folder that is empty or does not exist.

        Raises IndexExists, Locked, StorageFailed; ValueError for two fields of one name.
        """
        directory = _directory(path)
        specs = {spec.name: spec for spec in fields}
        if len(specs) < len(fields):
            raise ValueError(f"two fields have one name: {[spec.name for spec in fields]}")
        manifest = Manifest(0, _now(), 1, specs, dict(settings or {}), (), {})
        data = manifest.to_bytes()
        make_folder(directory.root)
        with directory.lock():
            found = directory.sizes().keys() - {LOCK, MANIFEST + TEMPORARY}
            if MANIFEST in found:
                raise IndexExists(f"{directory.root} holds an index already; open it, or remove it")
            if not all(name.startswith(".") for name in found):
                raise IndexExists(f"{directory.root} is not empty; name a new folder")
            directory.replace(MANIFEST, data)
        return Writer(directory, memory_budget)

    @staticmethod
    def open(path: str | Path | Directory, memory_budget: int = MEMORY_BUDGET) -> Writer:
        """A writer of an existing index. Raises NoIndex, Damaged, Locked, StorageFailed."""
        directory = _directory(path)
        read_manifest(directory)  # before a lock file is put into a folder that is no index
        return Writer(directory, memory_budget)

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Roll back what is not committed and let go of the lock. No error the second time."""
        with self._open:
            if self._parts or len(self._buffer):
                self._forget()
                with contextlib.suppress(IndexesError, OSError):
                    self._remove_leftovers()

    @property
    def fields(self) -> Mapping[str, FieldSpec]:
        """The fields, by name; fixed when the index is created."""
        return self._manifest.fields

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the last commit kept for the layer above."""
        return self._manifest.settings

    @property
    def generation(self) -> int:
        """The number of the last commit."""
        return self._manifest.generation

    @property
    def nbytes(self) -> int:
        """Bytes buffered now, about."""
        return self._buffer.nbytes

    def add(self, records: Sequence[Record], rows: Mapping[str, Rows]) -> None:
        """Add documents with their rows in every field; one with a known id replaces it.

        A field of unit "document" has one row a record, one of unit "passage" one row a passage,
        in order: `TermVectors`, or float32 (n, dim). Raises ValueError for records and rows that
        do not fit, before anything is taken in; StorageFailed where a flush fails.
        """
        _check_records(records)
        _check_rows(self.fields, records, rows)
        self._buffer.add(records, rows)
        if self._buffer.nbytes >= self._budget:
            self._flush()

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents by id; returns how many of them there were."""
        wanted = list(dict.fromkeys(ids))
        buffered = {id for id in wanted if self._buffer.delete(id)}
        return len(buffered | self._bury(wanted))

    def commit(self, settings: Mapping[str, Any] | None = None) -> int:
        """Make all changes visible and durable, merge what the policy says; the generation.

        `settings` replace the kept ones if given. Without any change nothing is written. If it
        fails, nothing has changed and what was not committed is gone.
        """
        with self._rolled_back_on_error():
            self._flush()
            self._merge(choose_merges)
            return self._commit(settings)

    def merge(self) -> int:
        """Commit, with as few segments as the memory budget allows and no deleted documents."""
        with self._rolled_back_on_error():
            self._flush()
            self._merge(all_merges)
            return self._commit(None)

    def rollback(self) -> None:
        """Forget everything since the last commit."""
        self._forget()
        self._load()
        self._remove_leftovers()

    # --- the steps

    def _load(self) -> None:
        """Start from the manifest on the disk."""
        self._manifest = read_manifest(self._directory)
        check_files(self._directory, self._manifest)
        self._files = dict(self._manifest.files)
        self._buffer = _Buffer(self._manifest.fields)
        for entry in self._manifest.segments:
            segment = Segment(self._directory, entry, self._manifest.fields)
            self._parts.append(_Part(segment, ~segment.alive))

    def _forget(self) -> None:
        for part in self._parts:
            part.segment.close()
        self._parts = []
        self._buffer = _Buffer(self._manifest.fields)

    def _name(self) -> str:
        """A segment name that was never used, not even by something rolled back."""
        name = f"s{self._serial:06d}"
        self._serial += 1
        return name

    def _adopt(self, entry: SegmentEntry, files: Mapping[str, FileEntry]) -> _Part:
        self._files.update(files)
        segment = Segment(self._directory, entry, self.fields)
        return _Part(segment, np.zeros(entry.n_documents, np.bool_))

    def _flush(self) -> None:
        """Write the buffer as a segment."""
        buffer = self._buffer
        ids = buffer.ids()
        if ids:
            self._bury(ids)
            files = SegmentFiles(self._directory, self._name())
            self._parts.append(self._adopt(buffer.write(files), files.files))
        self._buffer = _Buffer(self.fields)

    def _bury(self, ids: Sequence[str]) -> set[str]:
        """Mark the live documents of these ids dead in all segments; returns their ids."""
        buried = set()
        for part in self._parts:
            found = part.segment.store.find(ids).items()
            live = {id: ordinal for id, (ordinal, _) in found if not part.dead[ordinal]}
            part.dead[list(live.values())] = True
            buried |= live.keys()
        return buried

    def _merge(self, policy: Callable[[Sequence[Size], int], list[list[int]]]) -> None:
        """Merge until the policy is content."""
        for part in [part for part in self._parts if part.dead.all()]:
            self._drop([part])
        while groups := policy([self._size(part) for part in self._parts], self._budget):
            chosen = [[self._parts[i] for i in group] for group in groups]
            for group in chosen:
                entry, files = merge_segments(
                    self._directory,
                    self._name(),
                    self.fields,
                    [(part.segment, ~part.dead) for part in group],
                )
                place = self._parts.index(group[0])
                self._parts.insert(place, self._adopt(entry, files))
                self._drop(group)

    def _drop(self, parts: Sequence[_Part]) -> None:
        for part in parts:
            self._parts.remove(part)
            part.segment.close()

    def _size(self, part: _Part) -> Size:
        entry = part.segment.entry
        dead = int(np.count_nonzero(part.dead))
        largest = max(
            (self._files[file].bytes for name, file in entry.parts.items() if name != STORE),
            default=0,
        )
        return Size(entry.n_documents - dead, dead, largest)

    def _commit(self, settings: Mapping[str, Any] | None) -> int:
        entries = [self._entry(part) for part in self._parts]
        new_settings = self.settings if settings is None else dict(settings)
        if tuple(entries) == self._manifest.segments and new_settings == self.settings:
            return self.generation
        named = {file for entry in entries for file in entry.parts.values()}
        manifest = replace(
            self._manifest,
            generation=self.generation + 1,
            created=_now(),
            next_segment=self._serial,
            settings=new_settings,
            segments=tuple(entries),
            files={name: self._files[name] for name in sorted(named)},
        )
        data = manifest.to_bytes()
        self._directory.sync()
        self._directory.replace(MANIFEST, data)
        self._manifest, self._files = manifest, dict(manifest.files)
        for part, entry in zip(self._parts, entries, strict=True):
            part.segment.entry = entry
        with contextlib.suppress(IndexesError):  # the commit stands; the next writer tries again
            self._remove_leftovers()
        return manifest.generation

    def _entry(self, part: _Part) -> SegmentEntry:
        """The segment's entry in the commit to come; writes its dead documents if they changed."""
        entry = part.segment.entry
        if not part.changed:
            return entry
        files = SegmentFiles(self._directory, f"{entry.name}.{self._serial}")
        self._serial += 1
        files.arrays(DEAD, dead_bits(part.dead))
        self._files.update(files.files)
        parts = {**entry.parts, **files.parts}
        return replace(entry, n_dead=int(np.count_nonzero(part.dead)), parts=parts)

    @contextlib.contextmanager
    def _rolled_back_on_error(self) -> Iterator[None]:
        try:
            yield
        except (IndexesError, OSError, MemoryError):
            with contextlib.suppress(IndexesError, OSError):
                self.rollback()
            raise

    def _remove_leftovers(self) -> None:
        """Remove files that the manifest on the disk does not name: obsolete, or left behind."""
        named = read_manifest(self._directory).files
        for name in self._directory.sizes():
            if name not in named and _OURS.fullmatch(name):
                self._directory.remove(name)


class _Buffer:
    """Documents and rows that are in no segment yet."""

    def __init__(self, fields: Mapping[str, FieldSpec]) -> None:
        self._fields = fields
        self._records: list[Record] = []
        self._place: dict[str, int] = {}  # id -> the place of its latest record
        self._terms = {
            name: PostingsBuilder(spec.kind)
            for name, spec in fields.items()
            if isinstance(spec, TermField)
        }
        self._vectors: dict[str, list[NDArray[np.float32]]] = {
            name: [] for name, spec in fields.items() if isinstance(spec, VectorField)
        }
        self._bytes = 0  # of records and vectors
        self._terms_bytes = 0  # when it was last counted
        self._calls = self._next_count = 0

    def __len__(self) -> int:
        return len(self._records)

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
        """Take in what was checked."""
        for name, builder in self._terms.items():
            part = rows[name]
            assert isinstance(part, TermVectors)
            builder.add(part)
        for name, vectors in self._vectors.items():
            part = rows[name]
            assert isinstance(part, np.ndarray)
            vectors.append(np.array(part, np.float32))  # a copy: the caller may reuse its array
            self._bytes += part.size * 4
        for record in records:
            self._place[record.id] = len(self._records)
            self._records.append(record)
            self._bytes += _record_bytes(record)
        self._calls += 1

    def delete(self, id: str) -> bool:
        """Whether there was such a document; its rows are left out when the buffer is written."""
        return self._place.pop(id, None) is not None

    def write(self, files: SegmentFiles) -> SegmentEntry:
        """Write the segment, letting go of what is written. The buffer is of no use afterwards."""
        kept = sorted(self._place.values())
        records = [self._records[place] for place in kept]
        counts = np.array([len(record.passages) for record in self._records], np.int64)
        documents = np.zeros(len(self._records), np.bool_)
        documents[kept] = True
        passages = np.repeat(documents, counts)
        self._records = []
        files.built(STORE, lambda path: write_store(path, records))
        records.clear()
        for name, spec in self._fields.items():
            keep = documents if spec.unit == "document" else passages
            if isinstance(spec, TermField):
                arrays = self._terms.pop(name).build()
                if not keep.all():
                    arrays = merge_postings([Postings(arrays)], [keep])
                files.arrays(name, arrays)
            else:
                vectors = np.concatenate(self._vectors.pop(name))
                write_vectors(files, spec, vectors if keep.all() else vectors[keep])
        return files.passages(counts[kept])


def _record_bytes(record: Record) -> int:
    strings = sys.getsizeof(record.text) + sys.getsizeof(record.title) + sys.getsizeof(record.id)
    metadata = 4 * len(str(record.metadata))
    return RECORD_BYTES + PASSAGE_BYTES * len(record.passages) + strings + metadata


def _check_records(records: Sequence[Record]) -> None:
    """Raise ValueError for a record that cannot be stored."""
    for record in records:
        if not record.id:
            raise ValueError("a document has an empty id, must have at least one character")
        if storable(record.id) != record.id:
            raise ValueError(f"illegal id {record.id!r}: a lone surrogate is no character")
        try:
            metadata_json(record.metadata)
        except ValueError as error:
            raise ValueError(f"document {record.id!r}: {error}") from error
        if not record.passages:
            raise ValueError(f"document {record.id!r} has no passage, must have at least one")
        for start, end in record.passages:
            if not 0 <= start <= end <= len(record.text):
                raise ValueError(
                    f"document {record.id!r}: passage ({start}, {end}) lies outside of its text"
                    f" of {len(record.text)} characters"
                )


def _check_rows(
    fields: Mapping[str, FieldSpec], records: Sequence[Record], rows: Mapping[str, Rows]
) -> None:
    """Raise ValueError where the rows are not one for each record or passage of each field."""
    if rows.keys() != fields.keys():
        raise ValueError(f"rows of fields {sorted(rows)}, the index has {sorted(fields)}")
    expected = {"document": len(records), "passage": sum(len(r.passages) for r in records)}
    for name, spec in fields.items():
        part = rows[name]
        if len(part) != expected[spec.unit]:
            raise ValueError(
                f"field {name}: {len(part)} rows for {expected[spec.unit]} {spec.unit}s"
            )
        if isinstance(spec, TermField):
            if not isinstance(part, TermVectors):
                raise ValueError(f"field {name} takes TermVectors, not {type(part).__name__}")
            legal = (part.values >= 0) & (part.values < np.inf)
            if not legal.all():
                raise ValueError(
                    f"field {name}: illegal weight {part.values[~legal][0]}, must be finite, >= 0"
                )
            if len(set(part.terms)) < len(part.terms):
                raise ValueError(f"field {name}: a term names two columns, must name one")
        else:
            if not isinstance(part, np.ndarray) or part.shape[1:] != (spec.dim,):
                raise ValueError(f"field {name} takes vectors of shape (n, {spec.dim})")
            if not np.isfinite(part).all():
                raise ValueError(f"field {name}: a vector holds what is not a finite number")


def _directory(path: str | Path | Directory) -> Directory:
    return FileDirectory(path) if isinstance(path, str | Path) else path


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
