"""Changes an index: add, update, delete, commit, roll back, merge. One writer at a time.

Rows are buffered in memory up to a budget, then flushed as a segment that nobody can see yet.
`commit` makes all changes visible at once by replacing the manifest, after everything it names
is on the disk; only then are files of the old commit unlinked. Whatever happens in between, the
folder holds the old commit or the new one, and files that no manifest names, which the next
writer removes. Large merges go on beside (see `background`) and come in at a later commit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from .background import Background, Beside, on_a_thread
from .birth import create_index
from .buffer import Buffer, Rows
from .checks import RowsCheck, check_records, checked_metadata
from .directory import Directory
from .draft import Draft
from .errors import SearchlibError, StorageFailed
from .leftovers import directory_of, remove_leftovers
from .manifest import FieldSpec, read_manifest
from .policy import Policy, all_merges, all_rewrites, small_merges, tidy_merges
from .segment import SegmentFiles
from .takeover import take_over
from .types import Record, Update

MEMORY_BUDGET = 256 * 2**20  # bytes
PATIENCE = 1.0  # seconds that `close` waits for a merge to notice that it is given up


class Writer:
    """The one writer of an index; holds its lock until it is closed. Not for several threads.

    `memory_budget` bytes (default 256 MiB) bound what is buffered before a segment is written,
    and a merged segment's largest field: the larger, the fewer segments and the more memory.
    `beside` does a task beside the writer's work: large merges are done so.

    >>> with Writer.open("my.index") as writer:  # doctest: +SKIP
    ...     writer.delete(["d1"])
    ...     writer.commit()
    """

    def __init__(
        self,
        directory: Directory,
        memory_budget: int = MEMORY_BUDGET,
        beside: Beside = on_a_thread,
    ) -> None:
        if memory_budget < 1:
            raise ValueError(f"illegal memory budget: {memory_budget} bytes, must be at least 1")
        self._directory = directory
        self._budget = memory_budget
        self._background = Background(directory, beside)
        self._check = RowsCheck()
        self._open = contextlib.ExitStack()
        self._open.enter_context(directory.lock())
        try:
            directory.sync()  # should the last rename not be on the disk yet, now it is
            self._draft = Draft(directory, read_manifest(directory))
            self._buffer = Buffer(self.fields)
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
        directory = directory_of(path)
        create_index(directory, fields, dict(settings or {}))
        return Writer(directory, memory_budget)

    @staticmethod
    def open(path: str | Path | Directory, memory_budget: int = MEMORY_BUDGET) -> Writer:
        """A writer of an existing index. Raises NoIndex, Damaged, Locked, StorageFailed."""
        directory = directory_of(path)
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
        """Roll back what is not committed and let go of the lock. No error the second time.

        A merge that goes on is given up; one that does not notice within a second keeps the lock
        until it does, so that no other writer meets its files.
        """
        held = self._open.pop_all()
        try:
            self._background.stop(PATIENCE)
            self._background.result()  # is not wanted any more
            if self._draft.is_open:
                self._forget()
                with contextlib.suppress(SearchlibError, OSError):
                    self._remove_leftovers()
        finally:
            self._background.when_done(held.close)

    @property
    def fields(self) -> Mapping[str, FieldSpec]:
        """The fields, by name; fixed when the index is created."""
        return self._draft.manifest.fields

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the last commit kept for the layer above."""
        return self._draft.manifest.settings

    @property
    def generation(self) -> int:
        """The number of the last commit."""
        return self._draft.manifest.generation

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
        self._check.check(self.fields, records, rows)
        with self._all_or_nothing():
            self._buffer.add(records, rows)
            if self._buffer.nbytes >= self._budget:
                self._flush()

    def update(self, updates: Sequence[Update]) -> int:
        """Replace the metadata of documents, and nothing else; returns how many there were.

        Of several updates of one document the last one holds. Raises ValueError for metadata
        that cannot be stored, before anything is changed.
        """
        changes = {u.id: (checked_metadata(u.id, u.metadata), u.hash) for u in updates}
        with self._all_or_nothing():
            rest = {id: c for id, c in changes.items() if not self._buffer.update(id, *c)}
            updated = len(changes) - len(rest) + len(self._draft.update(rest))
            if self._draft.nbytes >= self._budget:
                self._draft.settle()
            return updated

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents by id; returns how many of them there were."""
        wanted = list(dict.fromkeys(ids))
        with self._all_or_nothing():
            buffered = {id for id in wanted if self._buffer.delete(id)}
            return len(buffered | self._draft.bury(wanted))

    def commit(self, settings: Mapping[str, Any] | None = None) -> int:
        """Make all changes visible and durable; the generation.

        Small merges that the policy wants are done at once, a large one is begun beside, and
        comes in at a later commit. `settings` replace the kept ones if given. Without any change
        nothing is written. If it fails, nothing has changed and what was not committed is gone.
        """
        with self._all_or_nothing():
            self._flush()
            self._draft.settle()
            self._background.take_into(self._draft)
            self._draft.merge(small_merges, self._budget, self._background.sources)
            generation = self._publish(settings)
        self._background.begin(self._draft, self._budget)
        return generation

    def finish(self) -> int:
        """Commit, then do all that the policy wants merged and wait for it; the generation.

        For the end of a batch: queries are faster from then on.
        """
        self.commit()
        self._background.wait()
        return self._reorganise(tidy_merges)

    def merge(self, on_step: Callable[[int, int], None] = lambda done, total: None) -> int:
        """Commit, with as few segments as the memory budget allows and no deleted documents.

        `on_step` is told how many steps are done, of how many. Returns the generation.
        """
        self._background.stop()
        return self._reorganise(all_merges, on_step)

    def vacuum(self, on_step: Callable[[int, int], None] = lambda done, total: None) -> int:
        """Commit, with every segment rewritten that holds deleted documents; the generation."""
        self._background.stop()
        return self._reorganise(all_rewrites, on_step)

    def take_over(self, source: str | Path | Directory) -> int:
        """Commit the content of another index in place of this one's; the generation.

        Its fields, settings and segments replace all that is here, committed or not. The other
        index stays as it is; nobody may write to it meanwhile. Raises NoIndex, Damaged (of the
        other one), StorageFailed.
        """
        origin = directory_of(source)
        self._background.stop()
        with self._all_or_nothing():
            successor = read_manifest(origin)
            last, serial = self._draft.manifest, self._draft.serial
            manifest = take_over(self._directory, last, serial, origin, successor)
            self._draft.close()
            self._draft = Draft(self._directory, manifest)
            self._buffer = Buffer(self.fields)
            # the commit stands; should this fail, the next writer tries again
            with contextlib.suppress(SearchlibError):
                self._remove_leftovers()
            return self.generation

    def rollback(self) -> None:
        """Forget everything since the last commit."""
        self._check_usable()
        self._restore()

    # --- the steps

    def _flush(self) -> None:
        """Write the buffer as a segment."""
        ids = self._buffer.ids()
        if ids:
            self._draft.bury(ids)
            files = SegmentFiles(self._directory, self._draft.name())
            self._draft.adopt(self._buffer.write(files), files.files)
        self._buffer = Buffer(self.fields)

    def _reorganise(
        self, policy: Policy, on_step: Callable[[int, int], None] = lambda done, total: None
    ) -> int:
        """Commit, with what the policy wants merged; no merge may go on beside."""
        with self._all_or_nothing():
            self._flush()
            self._draft.settle()
            self._background.take_into(self._draft)
            self._draft.merge(policy, self._budget, on_step=on_step)
            return self._publish(None)

    def _publish(self, settings: Mapping[str, Any] | None) -> int:
        if self._draft.publish(settings):
            # the commit stands; should this fail, the next writer tries again
            with contextlib.suppress(SearchlibError):
                self._remove_leftovers()
        return self.generation

    def _forget(self) -> None:
        self._draft.close()
        self._buffer = Buffer(self.fields)

    def _restore(self) -> None:
        self._forget()
        self._draft = Draft(self._directory, read_manifest(self._directory), self._draft.serial)
        self._remove_leftovers()

    def _check_usable(self) -> None:
        # subtle: without its segments loaded, a writer would commit an index without them
        if not self._draft.is_open:
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
            with contextlib.suppress(SearchlibError, OSError):
                self._restore()
            raise

    def _remove_leftovers(self) -> None:
        """Remove what the manifest on the disk does not name: obsolete, or left behind."""
        remove_leftovers(self._directory, self._background.owns)
