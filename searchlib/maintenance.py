"""Merging and vacuuming an index: what there was before, and what is there now."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from indexes.directory import FileDirectory
from indexes.manifest import read_manifest
from indexes.writer import Writer

from .protocols import Progress

Work = Callable[[Writer, Callable[[int, int], None]], object]


@dataclass(frozen=True)
class Maintenance:
    """What merging or vacuuming did. Bytes are those of all files in the index's folder."""

    segments_before: int
    segments_after: int
    bytes_before: int
    bytes_after: int
    deleted_before: int  # documents that were deleted but still there
    deleted_after: int
    leftover_files: int  # of a process that died: removed
    seconds: float

    @property
    def freed(self) -> int:
        """Bytes that there are less now; readers that are open keep theirs until they close."""
        return self.bytes_before - self.bytes_after


def maintain(path: Path, memory_budget: int, work: Work, on_progress: Progress) -> Maintenance:
    """Let `work` do something with a writer of the index in folder `path`, and measure it.

    Raises:
        NoIndex: there is none.
        Locked: another process is writing.
    """
    directory = FileDirectory(path)
    read_manifest(directory)
    started, found = time.monotonic(), directory.sizes()
    with Writer.open(directory, memory_budget=memory_budget) as writer:
        before, kept = read_manifest(directory), directory.sizes()
        work(writer, on_progress)
        after = read_manifest(directory)
    return Maintenance(
        len(before.segments),
        len(after.segments),
        sum(found.values()),
        sum(directory.sizes().values()),
        sum(entry.n_dead for entry in before.segments),
        sum(entry.n_dead for entry in after.segments),
        len(found.keys() - kept.keys()),
        time.monotonic() - started,
    )
