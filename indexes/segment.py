"""A segment: documents and passages numbered from 0, and one file for each representation.

Files are written once, by `SegmentFiles`; a `Segment` maps them all when it is opened, so that
they may be unlinked while it is in use. Which documents are dead is not the segment's business
but the commit's: a file of its own, replaced by a new one with every commit that deletes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .arrays import map_arrays, write_arrays
from .directory import Directory
from .documents import Documents
from .errors import Damaged
from .integrity import file_checksum
from .manifest import FieldSpec, FileEntry, SegmentEntry, TermField, VectorField
from .postings import Postings
from .remembered import Remembered
from .types import Unit

if TYPE_CHECKING:
    from .columns import Columns
    from .vectors import Vectors

STORE, PASSAGES, DEAD = "store", "passages", "dead"
COLUMNS = "store.columns"  # its metadata field by field
CHANGES = "store.changes"  # metadata changed since; like the dead, the commit's

Bools = NDArray[np.bool_]


class SegmentFiles:
    """Writes the files of one segment and keeps their sizes and checksums."""

    def __init__(self, directory: Directory, name: str) -> None:
        self.name = name
        self.parts: dict[str, str] = {}  # component -> file
        self.files: dict[str, FileEntry] = {}
        self._directory = directory

    def arrays(self, component: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write named arrays; if another component has the very same ones, share its file."""
        content = _Digest()
        write_arrays(content, arrays)  # type: ignore[arg-type]
        entry = FileEntry(content.bytes, content.hash.hexdigest())
        for name, other in self.files.items():
            if other == entry:
                self.parts[component] = name
                return
        name = f"{self.name}.{component}"
        with self._directory.create(name) as file:
            write_arrays(file, arrays)
        self.parts[component] = name
        self.files[name] = entry

    def built(self, component: str, build: Callable[[Path], None]) -> None:
        """Let `build` write the file at the path that it is given."""
        name = f"{self.name}.{component}"
        with self._directory.build(name) as path:
            build(path)
        path = self._directory.path(name)
        self.parts[component] = name
        self.files[name] = FileEntry(path.stat().st_size, file_checksum(path))

    def passages(self, counts: Sequence[int] | NDArray[np.int64]) -> SegmentEntry:
        """Write how many passages each document has; returns the entry of the whole segment."""
        first = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(np.asarray(counts, np.int64), out=first[1:])
        self.arrays(PASSAGES, {"first": first})
        return SegmentEntry(self.name, len(counts), int(first[-1]), 0, self.parts)


class _Digest:
    """A file to `write_arrays` that keeps nothing but size and checksum."""

    def __init__(self) -> None:
        self.bytes = 0
        self.hash = hashlib.blake2b(digest_size=16)

    def write(self, data: bytes | memoryview) -> int:
        self.hash.update(data)
        size = data.nbytes if isinstance(data, memoryview) else len(data)
        self.bytes += size
        return size


class Segment:
    """An open segment. Its arrays are mapped, not read; nothing in it ever changes.

    Raises Damaged (naming the file) where the files disagree with the entry or the fields.
    """

    def __init__(
        self, directory: Directory, entry: SegmentEntry, fields: Mapping[str, FieldSpec]
    ) -> None:
        self.entry = entry
        self.n_documents = entry.n_documents
        self.n_passages = entry.n_passages
        self._paths = {part: directory.path(name) for part, name in entry.parts.items()}
        missing = {STORE, PASSAGES, *fields} - self._paths.keys()
        if missing:
            raise Damaged(f"{directory.root}: segment {entry.name} lacks {', '.join(missing)}")
        self.first = self._first()  # (n_documents + 1,): the first passage of each document
        self.alive = ~self._dead()
        self._passages_of: Remembered[Bools, Bools] = Remembered()
        self.n_alive = entry.n_documents - entry.n_dead
        self.postings: dict[str, Postings] = {}
        self.vectors: dict[str, Vectors] = {}
        for spec in fields.values():
            if isinstance(spec, TermField):
                self.postings[spec.name] = self._open_postings(spec)
            else:
                self.vectors[spec.name] = self._open_vectors(spec)
        self.documents = self._documents()
        self.store = self.documents.store

    def close(self) -> None:
        """Close the store; the arrays go with the last reference to them."""
        self.documents.close()

    def change(self, entry: SegmentEntry, changes: Path) -> None:
        """Have the changes of metadata that `entry` names, in the file `changes`; for a writer."""
        self.documents.close()
        self.entry = entry
        self._paths[CHANGES] = changes
        self.documents = self._documents()
        self.store = self.documents.store

    @cached_property
    def owners(self) -> NDArray[np.uint32]:
        """The document of each passage, uint32 (n_passages,)."""
        return np.repeat(np.arange(self.n_documents, dtype=np.uint32), np.diff(self.first))

    @cached_property
    def alive_passages(self) -> NDArray[np.bool_]:
        """Which passages belong to a live document, bool (n_passages,)."""
        return self.to_passages(self.alive)

    @cached_property
    def n_alive_passages(self) -> int:
        """How many passages belong to live documents."""
        return int(np.diff(self.first)[self.alive].sum())

    def to_passages(self, documents: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """A bool per document as a bool per passage; remembered, so nobody may change them."""
        if self.n_passages == self.n_documents:
            return documents
        return self._passages_of.of(documents, lambda bools: bools[self.owners])

    def n_rows(self, unit: Unit) -> int:
        """How many documents or passages there are, dead ones included."""
        return self.n_documents if unit == "document" else self.n_passages

    def alive_rows(self, unit: Unit) -> NDArray[np.bool_] | None:
        """Which documents or passages are alive; None if all are."""
        if self.n_alive == self.n_documents:
            return None
        return self.alive if unit == "document" else self.alive_passages

    def problems(self) -> list[str]:
        """Where the files, read in full, contradict themselves or each other."""
        found = self.documents.problems()
        try:
            if self.store.counts() != (self.n_documents, self.n_passages):
                found.append(f"{self.store.path}: not as many documents and passages as there are")
            firsts = self.first[:-1].tolist()
            counts = np.diff(self.first).tolist()
            expected = list(zip(range(self.n_documents), firsts, counts, strict=True))
            if self.store.bounds() != expected:
                found.append(f"{self._paths[PASSAGES]}: disagrees with {self.store.path.name}")
        except Damaged as error:
            found.append(str(error))
        checks = [postings.check for postings in self.postings.values()]
        for check in [*checks, *(vectors.check for vectors in self.vectors.values())]:
            try:
                check()
            except Damaged as error:
                found.append(str(error))
        return found

    def _documents(self) -> Documents:
        changes, columns = self._paths.get(CHANGES), self._paths.get(COLUMNS)
        return Documents(self._paths[STORE], self.n_documents, changes, columns)

    def _first(self) -> NDArray[np.int64]:
        path = self._paths[PASSAGES]
        first = map_arrays(path).get("first")
        if (
            first is None
            or first.dtype != np.int64
            or first.shape != (self.n_documents + 1,)
            or (first[0], first[-1]) != (0, self.n_passages)
            or (first[1:] <= first[:-1]).any()
        ):
            raise Damaged(f"{path}: does not bound the passages of {self.n_documents} documents")
        return first

    def _dead(self) -> NDArray[np.bool_]:
        if self.entry.n_dead == 0:
            return np.zeros(self.n_documents, np.bool_)
        path = self._paths.get(DEAD)
        bits = map_arrays(path).get("dead") if path else None
        if bits is None or bits.dtype != np.uint8 or bits.shape != ((self.n_documents + 7) // 8,):
            raise Damaged(f"{path or self.entry.name}: the dead documents are not marked")
        dead = np.unpackbits(bits, count=self.n_documents).astype(np.bool_)
        if np.count_nonzero(dead) != self.entry.n_dead:
            raise Damaged(f"{path}: marks other documents than the manifest says")
        return dead

    def _open_postings(self, spec: TermField) -> Postings:
        path = self._paths[spec.name]
        postings = Postings(map_arrays(path), str(path))
        if postings.n_rows != self.n_rows(spec.unit) or postings.kind != spec.kind:
            raise Damaged(f"{path}: not as many rows, or not of the kind, as field {spec.name} has")
        return postings

    def _open_vectors(self, spec: VectorField) -> Vectors:
        from .pq import Codes
        from .vectors import Vectors

        path, coded = self._paths[spec.name], self._paths.get(codes_of(spec.name))
        shape = (self.n_rows(spec.unit), spec.dim)
        codes = Codes(map_arrays(coded), *shape, str(coded)) if coded else None
        vectors = Vectors(map_arrays(path), codes, str(path))
        if vectors.data.shape != shape:
            raise Damaged(f"{path}: does not hold {shape[0]} vectors of {shape[1]} numbers")
        return vectors


def codes_of(field: str) -> str:
    """The component that holds the codes of a vector field."""
    return f"{field}.codes"


def write_vectors(files: SegmentFiles, spec: VectorField, vectors: NDArray[np.float32]) -> None:
    """Write a vector field, and its codes where it shall have them."""
    from .pq import build_codes
    from .vectors import wants_codes

    files.arrays(spec.name, {"vectors": vectors})
    if wants_codes(spec.kind, len(vectors)):
        files.arrays(codes_of(spec.name), build_codes(vectors))


def write_columns(files: SegmentFiles, columns: Columns) -> None:
    """Write the columns of a segment, if there is anything to write."""
    from .column_file import column_arrays

    if columns.by_field or columns.left_out != frozenset():
        files.arrays(COLUMNS, column_arrays(columns))


def dead_bits(dead: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    """The arrays of a file of dead documents: one bit each, the first one highest."""
    return {"dead": np.packbits(dead)}
