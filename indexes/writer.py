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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .buffer import Buffer, Rows, check_records, check_rows
from .directory import LOCK, TEMPORARY, Directory, FileDirectory, make_folder
from .errors import IndexesError, IndexExists, StorageFailed
from .manifest import (
    MANIFEST,
    FieldSpec,
    FileEntry,
    Manifest,
    SegmentEntry,
    check_files,
    read_manifest,
)
from .merge import Size, all_merges, choose_merges, merge_segments
from .segment import DEAD, STORE, Segment, SegmentFiles, dead_bits
from .types import Record

MEMORY_BUDGET = 256 * 2**20  # bytes
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
            self._usable = False
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
        _must_be_vacant(directory)  # before a lock file is put among somebody's things
        with directory.lock():
            _must_be_vacant(directory)
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
        do not fit, before anything is taken in; StorageFailed where a flush fails (everything
        since the last commit is gone then).
        """
        check_records(records)
        check_rows(self.fields, records, rows)
        with self._all_or_nothing():
            self._buffer.add(records, rows)
            if self._buffer.nbytes >= self._budget:
                self._flush()

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents by id; returns how many of them there were."""
        wanted = list(dict.fromkeys(ids))
        with self._all_or_nothing():
            buffered = {id for id in wanted if self._buffer.delete(id)}
            return len(buffered | self._bury(wanted))

    def commit(self, settings: Mapping[str, Any] | None = None) -> int:
        """Make all changes visible and durable, merge what the policy says; the generation.

        `settings` replace the kept ones if given. Without any change nothing is written. If it
        fails, nothing has changed and what was not committed is gone.
        """
        with self._all_or_nothing():
            self._flush()
            self._merge(choose_merges)
            return self._commit(settings)

    def merge(self) -> int:
        """Commit, with as few segments as the memory budget allows and no deleted documents."""
        with self._all_or_nothing():
            self._flush()
            self._merge(all_merges)
            return self._commit(None)

    def rollback(self) -> None:
        """Forget everything since the last commit."""
        self._check_usable()
        self._restore()

    # --- the steps

    def _load(self) -> None:
        """Start from the manifest on the disk."""
        self._manifest = read_manifest(self._directory)
        check_files(self._directory, self._manifest)
        self._files = dict(self._manifest.files)
        self._buffer = Buffer(self._manifest.fields)
        for entry in self._manifest.segments:
            segment = Segment(self._directory, entry, self._manifest.fields)
            self._parts.append(_Part(segment, ~segment.alive))
        self._usable = True

    def _forget(self) -> None:
        self._usable = False
        for part in self._parts:
            part.segment.close()
        self._parts = []
        self._buffer = Buffer(self._manifest.fields)

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
        self._buffer = Buffer(self.fields)

    def _bury(self, ids: Sequence[str]) -> set[str]:
        """Mark the live documents of these ids dead in all segments; returns their ids."""
        buried: set[str] = set()
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

    def _restore(self) -> None:
        self._forget()
        self._load()
        self._remove_leftovers()

    def _check_usable(self) -> None:
        # subtle: without its segments loaded, a writer would commit an index without them
        if not self._usable:
            raise StorageFailed(
                f"the writer of {self._directory.root} is closed, or could not go back to the"
                " last commit after a failure; open a new one"
            )

    @contextlib.contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Go back to the last commit if the block fails half-way, for whatever reason."""
        self._check_usable()
        try:
            yield
        except BaseException:
            with contextlib.suppress(IndexesError, OSError):
                self._restore()
            raise

    def _remove_leftovers(self) -> None:
        """Remove files that the manifest on the disk does not name: obsolete, or left behind."""
        named = read_manifest(self._directory).files
        for name in self._directory.sizes():
            if name not in named and _OURS.fullmatch(name):
                self._directory.remove(name)


def _must_be_vacant(directory: Directory) -> None:
    found = directory.sizes().keys() - {LOCK, MANIFEST + TEMPORARY}
    if MANIFEST in found:
        raise IndexExists(f"{directory.root} holds an index already; open it, or remove it")
    if not all(name.startswith(".") for name in found):
        raise IndexExists(f"{directory.root} is not empty; name a new folder")


def _directory(path: str | Path | Directory) -> Directory:
    return FileDirectory(path) if isinstance(path, str | Path) else path


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
