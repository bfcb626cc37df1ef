"""Reads an index as of one commit: search, scores, explanations, records.

A snapshot never changes and needs no lock: it holds its files open, so a writer may replace and
unlink them meanwhile. Documents and passages are numbered through all segments, dead documents
included (they are never returned).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .contents import Contents
from .directory import Directory
from .errors import BadFilter, Damaged
from .integrity import Progress, check_files, content_problems
from .leftovers import directory_of
from .manifest import FieldSpec, Manifest, TermField, read_manifest
from .numbering import Ids
from .scoring import Queries, Scoring
from .segment import Segment
from .selection import Selection, Selections
from .similarity import Similarity
from .types import TermPart, TermVectors, TopK, Unit
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    from .columns import Scalar

__all__ = ["Selection", "Snapshot"]

ATTEMPTS = 10  # to open a commit while writers replace it


class Snapshot(Contents):
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
        super().__init__(self._segments)
        self._scoring = Scoring(manifest.fields, self._segments, self._numbers)
        self._selections = Selections(self._segments)

    @staticmethod
    def open(path: str | Path | Directory) -> Snapshot:
        """The last commit of the index in the folder `path`.

        Checks the manifest, and every file's presence and size; contents are checked by
        `verify`. Raises NoIndex, Damaged, UnsupportedFormat, StorageFailed.
        """
        directory = directory_of(path)
        manifest = read_manifest(directory)
        for _ in range(ATTEMPTS):
            try:
                return Snapshot(directory, manifest)
            except (Damaged, FileNotFoundError):
                # Since the manifest was read a writer may have committed and unlinked files, or
                # another folder got this name.
                newer = directory_of(path)
                last = read_manifest(newer)
                if (newer.root, last) == (directory.root, manifest):
                    raise
                directory, manifest = newer, last
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
        return self._manifest.component_bytes()

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
        passage's. `similarity` (default: the field's) is for term fields, `exact` (no codes) for
        vector fields. Raises ValueError for a field, unit, k or dimension that does not fit.
        """
        return self._scoring.search(
            field, queries, k, unit, where, similarity=similarity, exact=exact
        )

    def scores(
        self,
        field: str,
        query: Queries,
        ids: Ids,
        unit: Unit = "document",
        similarity: Similarity | None = None,
    ) -> NDArray[np.float32]:
        """The exact scores (m,) of documents or passages for one query, as `search` has them.

        `query` is one row of `TermVectors`, or float32 (dim,).
        """
        return self._scoring.scores(field, query, ids, unit, similarity)

    def search_and_score(
        self,
        field: str,
        query: Queries,
        k: int,
        ids: Ids,
        *,
        unit: Unit = "document",
        where: Selection | None = None,
        similarity: Similarity | None = None,
    ) -> tuple[TopK, NDArray[np.float32]]:
        """`search` for one query, and `scores` of `ids`: together they often cost no more.

        `query` is one row of `TermVectors`, or float32 (1, dim).
        """
        return self._scoring.search_and_score(
            field, query, k, ids, unit=unit, where=where, similarity=similarity
        )

    def explain(
        self, field: str, query: TermVectors, id: int, similarity: Similarity | None = None
    ) -> list[TermPart]:
        """The parts of one score in a term field, which add up to it.

        `id` is a document or a passage, whichever the field has rows of.
        """
        return self._scoring.explain(field, query, id, similarity)

    def query_weights(
        self, field: str, queries: TermVectors, similarity: Similarity | None = None
    ) -> NDArray[np.float32]:
        """What the queries' values weigh where they meet the field's, idf included: (nnz,)."""
        return self._scoring.query_weights(field, queries, similarity)

    def vocabulary(self, field: str) -> Vocabulary:
        """The terms of a field. Raises ValueError where it holds vectors, or there is none."""
        spec = self.fields.get(field)
        if not isinstance(spec, TermField):
            raise ValueError(f"no field {field!r} of terms, the index has {', '.join(self.fields)}")
        return Vocabulary(self._segments, spec)

    def select(self, filter: str) -> Selection:
        """The documents that a filter expression lets through (see `filters`).

        Raises BadFilter.
        """
        return self._selections.of(filter)

    def facets(
        self, field: str, where: Selection | None = None, top: int = 10
    ) -> list[tuple[Scalar, int]]:
        """The `top` most frequent values of a field, and how many live (or selected) documents
        have each; ties by value. A list counts for each of its distinct members. Raises BadFilter.
        """
        return self._selections.facets(_keys_of(field), where, top)

    def sort(self, field: str, k: int, where: Selection | None = None) -> Ids:
        """The first k live (or selected) documents by a field's value; "-year": largest first.

        Numbers before texts before truth values; of a list its smallest (-: largest) member.
        Documents without the field come last, ties by id. Raises BadFilter.
        """
        descending = isinstance(field, str) and field.startswith("-")
        path = _keys_of(field[1:] if descending else field)
        return self._selections.first(path, k, where, self.ids, descending=descending)

    def selection(self, documents: Ids) -> Selection:
        """Those of the documents that are alive, as `select` gives them."""
        chosen = [np.zeros(segment.n_documents, np.bool_) for segment in self._segments]
        for number, _, local in self._numbers.split(documents, "document"):
            chosen[number][local] = self._segments[number].alive[local]
        return Selection(tuple(chosen))

    # --- all of it

    def stored_rows(self, field: str, ids: Ids) -> TermVectors | NDArray[np.float32]:
        """The rows of documents or passages, whichever the field has rows of, as stored.

        `ids` (m,), each once; rows in the order asked for. Looks through whole segments: ask for
        many together (see `readback`). Raises Damaged.
        """
        from .readback import rows_of

        return rows_of(self.fields[field], self._segments, self._numbers, ids)

    def verify(self, on_progress: Progress = lambda done, total, note: None) -> list[str]:
        """Read everything; what is wrong, one line each (none: all is well)."""
        files, more = self._manifest.files, len(self._segments)
        problems = content_problems(self._directory, files, on_progress, more)
        found = list(problems.values())
        for done, segment in enumerate(self._segments, len(files) + 1):
            if not problems.keys() & set(segment.entry.parts.values()):
                found += segment.problems()
            on_progress(done, len(files) + more, segment.entry.name)
        if not found:
            ids = list(self.all_ids())
            if len(set(ids)) < len(ids):
                found.append(f"{self._directory.root}: two live documents have one id")
        return found


def _keys_of(field: str) -> tuple[str, ...]:
    from .filters import parse_field

    if not isinstance(field, str):
        raise BadFilter(f"illegal field: {field!r}, must be a text such as 'year'")
    return parse_field(field)
