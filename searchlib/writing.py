"""Changing an open index: documents added, synchronised and removed, metadata, maintenance."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexes.snapshot import Snapshot
from indexes.writer import Writer

from .budget import for_merging, for_writing
from .cache import open_cache
from .errors import BadInput, SearchlibError, shown
from .indexing import AddReport, Pipeline, no_progress
from .intake import with_origins
from .known import Earlier
from .maintenance import Maintenance, maintain
from .protocols import Progress
from .representations import check_fingerprint, make_splitter
from .searching import Searching, ids_of
from .types import Document
from .updating import Edit, UpdateReport, patched, replaced, update_metadata

if TYPE_CHECKING:
    from .formats.options import ReadOptions
    from .sync import SyncReport


Changes = Mapping[str, Mapping[str, Any]] | Iterable[tuple[str, Mapping[str, Any]]]


class Writing(Searching):
    """The half of `Engine` that writes; each method is one commit or more, seen from then on."""

    def add(
        self,
        documents: Iterable[Document | tuple[Document, str]],
        *,
        skip_bad: bool = False,
        on_bad: Callable[[str], None] = lambda problem: None,
        on_progress: Progress = no_progress,
        total: int | None = None,
        cache: str | Path | None = None,
    ) -> AddReport:
        """Index documents, replacing those whose id is there with other content.

        Documents may come with their origin ("file:line"), which errors then name. Work is
        committed now and then; an interrupted run, repeated, goes on where it stopped. A passage
        is encoded only if its vectors are not known: from this run, from the version of its
        document that is replaced, or from `cache`, a file that many indexes may share (see
        `searchlib.cache`).

        Raises:
            BadInput: an empty or repeated id, unless `skip_bad`, which counts it and tells
                `on_bad`; or `cache` is something else.
            Locked: another process is writing.
        """
        try:
            with self.writing(cache) as (writer, pipeline):
                report = pipeline.add(
                    writer,
                    with_origins(documents),
                    skip_bad=skip_bad,
                    on_bad=on_bad,
                    on_progress=on_progress,
                    total=total,
                )
                writer.finish()
        except BaseException:  # what was committed before is there
            with contextlib.suppress(SearchlibError):
                self.refresh()
            raise
        self.refresh()
        return report

    def sync(
        self,
        folder: str | Path,
        options: ReadOptions | None = None,
        *,
        dry_run: bool = False,
        allow_empty: bool = False,
        on_bad: Callable[[str], None] = lambda problem: None,
        on_progress: Progress = no_progress,
        cache: str | Path | None = None,
    ) -> SyncReport:
        """Make the index say of a folder's documents what its files say now.

        Files are compared by their content. What is new or changed is indexed as by `add`;
        documents that an earlier sync of this folder brought, and that are in none of its files
        any more, are removed, also if `update` changed their metadata meanwhile; others never:
        what was added since under such an id with another title or text stays. Nothing is written
        where nothing changed.

        `options`: how files are read. With `dry_run` nothing is written, only counted.

        Raises:
            BadInput: there is no such folder, or a file cannot be read (unless
                `options.skip_bad`: then `on_bad` is told, and what is there of it stays); or the
                folder is empty now and was not (unless `allow_empty`).
            Locked: another process is writing.
        """
        from .claims import Claims
        from .following import FolderSync
        from .formats.options import ReadOptions
        from .sync import compare_folder, sync_folder

        where, asked = Path(folder), options or ReadOptions()
        if dry_run:
            snapshot = self._refreshed()
            with Claims.copy_of(self.folder) as claims:
                run = FolderSync(
                    *(where, asked, claims, snapshot, on_bad),
                    on_progress=on_progress,
                    allow_empty=allow_empty,
                )
                return compare_folder(run, snapshot)
        with self.writing(cache) as (writer, pipeline), Claims(self.folder) as claims:
            run = FolderSync(
                *(where, asked, claims, pipeline.snapshot, on_bad),
                on_progress=on_progress,
                allow_empty=allow_empty,
            )
            report = sync_folder(run, claims, writer, pipeline, on_progress)
        self.refresh()
        return report

    @contextmanager
    def writing(self, cache: str | Path | None = None) -> Iterator[tuple[Writer, Pipeline]]:
        """The index's writer and what encodes for it; the snapshot is the last commit within.

        For those who write in ways of their own (`sync`, `successor`).

        Raises:
            Locked: another process is writing.
        """
        self._document_encoders()  # whatever is wrong with the models is told first
        with (
            open_cache(cache) as vectors,
            Writer.open(self.folder, memory_budget=for_writing(self._memory)) as writer,
        ):
            with self._changing:  # all of one commit
                snapshot = self._refreshed()  # nobody else can write from here on
                encoders = self._document_encoders()
                splitter = make_splitter(self.settings, encoders)
            for name, encoder in encoders.items():
                check_fingerprint(writer.fields[name], encoder)
            words, earlier = encoders.pop("bm25"), Earlier(snapshot, splitter)
            yield writer, Pipeline(words, encoders, splitter, snapshot, vectors, earlier)

    def update(self, changes: Changes) -> UpdateReport:
        """Change the metadata of documents, {id: what changes}, or pairs; nothing is encoded.

        Keys are set to their values, and removed where the value is None; an object changes the
        keys of the one that is there, or of a new one (a JSON merge patch, RFC 7396). All or
        nothing, in one commit.

        Raises:
            BadInput: an id stands twice or is no text, or new metadata are not JSON.
            Locked: another process is writing.

        >>> engine.update({"note-1": {"year": 2020, "draft": None}})  # doctest: +SKIP
        UpdateReport(updated=1, unchanged=0, missing=())
        """
        return self._update(changes, patched)

    def replace_metadata(self, metadata: Changes) -> UpdateReport:
        """Give documents new metadata, {id: all of them}, or pairs; else as `update`."""
        return self._update(metadata, replaced)

    def delete(self, ids: Iterable[str]) -> int:
        """Remove documents by id; how many there were.

        Raises:
            BadInput: one text instead of a list, or ids that are no texts.
            Locked: another process is writing.
        """
        wanted = None if isinstance(ids, str) or not isinstance(ids, Iterable) else list(ids)
        if wanted is None or not all(isinstance(id, str) for id in wanted):
            raise BadInput(f"ids must be a list of texts, not {shown(ids)}; write [id]")
        with self._writer() as (writer, _):
            deleted = writer.delete(wanted)
            writer.finish()
        self.refresh()
        return deleted

    def delete_where(self, where: str) -> int:
        """Remove the documents that a filter on metadata selects; how many there were.

        Raises:
            BadFilter: `where` cannot be parsed; an empty one is none.
        """
        with self._writer() as (writer, snapshot):
            deleted = writer.delete(ids_of(snapshot, where))
            writer.finish()
        self.refresh()
        return deleted

    def _update(self, changes: Changes, edit: Edit) -> UpdateReport:
        if isinstance(changes, Mapping):
            changes = changes.items()
        elif isinstance(changes, str) or not isinstance(changes, Iterable):
            raise BadInput(
                f"changes must be a dict, {{id: changes}}, or pairs, not {shown(changes)}"
            )
        with self._writer() as (writer, snapshot):
            report = update_metadata(writer, snapshot, changes, edit)
            writer.commit()
        self.refresh()
        return report

    def merge(
        self, *, memory: int | None = None, on_progress: Progress = no_progress
    ) -> Maintenance:
        """Merge into as few segments as memory allows, without deleted documents.

        `memory`: bytes, about; the larger, the fewer segments (default: the index's, see `open`).
        Nothing need ever be merged by hand, but queries are fastest with one segment.

        Raises:
            Locked: another process is writing.
        """
        budget = for_merging(self._memory if memory is None else memory)
        report = maintain(self.folder, budget, Writer.merge, on_progress)
        self.refresh()
        return report

    def vacuum(self, *, on_progress: Progress = no_progress) -> Maintenance:
        """Remove leftover files, and what deleted documents still take up on the disk.

        Raises:
            Locked: another process is writing.
        """
        report = maintain(self.folder, for_merging(self._memory), Writer.vacuum, on_progress)
        self.refresh()
        return report

    @contextmanager
    def _writer(self) -> Iterator[tuple[Writer, Snapshot]]:
        """The writer, and its last commit: nobody else can write meanwhile."""
        with Writer.open(self.folder, memory_budget=for_writing(self._memory)) as writer:
            yield writer, self._refreshed()
