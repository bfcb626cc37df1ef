"""Makes one segment of several: the documents that are kept, field after field."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import column_file
from .builder import merge_postings
from .column_building import Part, combined_columns
from .directory import Directory
from .integrity import check_contents
from .manifest import FieldSpec, FileEntry, SegmentEntry, TermField
from .segment import STORE, Segment, SegmentFiles, write_columns, write_vectors
from .store_writing import merge_stores


@dataclass(frozen=True)
class Plan:
    """A segment to be: its name, and what it is made of.

    Each part is a segment and which of its documents to keep, bool (n_documents,), which nobody
    changes any more. `files` are those of the parts, but for the files of dead documents.
    """

    name: str
    parts: Sequence[tuple[Segment, NDArray[np.bool_]]]
    files: Mapping[str, FileEntry]

    @property
    def sources(self) -> frozenset[str]:
        """The names of the segments that it is made of."""
        return frozenset(segment.entry.name for segment, _ in self.parts)


@dataclass(frozen=True)
class Merged:
    """A segment that was made: its entry in the manifest, and those of its files."""

    entry: SegmentEntry
    files: Mapping[str, FileEntry]


def steps(fields: Mapping[str, FieldSpec]) -> int:
    """How many steps `merge_segments` takes."""
    return 1 + len(fields)


def merge_segments(
    directory: Directory,
    fields: Mapping[str, FieldSpec],
    plan: Plan,
    step: Callable[[], None] = lambda: None,
) -> Merged:
    """Write the segment that `plan` says, calling `step` now and then; it may raise to stop.

    Raises Damaged where a source's file was changed: merged, it would get a checksum of its own.
    The documents are in the order of the parts. Memory: the largest field of the new segment,
    several times over.
    """
    check_contents(directory, plan.files)
    files = SegmentFiles(directory, plan.name)
    stores = [segment.documents.source(keep) for segment, keep in plan.parts]
    files.built(STORE, lambda path: merge_stores(path, stores))
    _merge_columns(files, plan)
    step()
    for spec in fields.values():
        kept = [
            keep if spec.unit == "document" else segment.to_passages(keep)
            for segment, keep in plan.parts
        ]
        if isinstance(spec, TermField):
            postings = [segment.postings[spec.name] for segment, _ in plan.parts]
            files.arrays(spec.name, merge_postings(postings, kept))
        else:
            vectors = np.empty((sum(map(np.count_nonzero, kept)), spec.dim), np.float32)
            filled = 0
            for (segment, _), rows in zip(plan.parts, kept, strict=True):
                moved = np.flatnonzero(rows)
                end = filled + len(moved)
                # subtle: in any other mode numpy makes a copy first
                segment.vectors[spec.name].data.take(moved, 0, vectors[filled:end], mode="clip")
                filled = end
            write_vectors(files, spec, vectors)
        step()
    counts = [np.diff(segment.first)[keep] for segment, keep in plan.parts]
    return Merged(files.passages(np.concatenate(counts)), files.files)


def _merge_columns(files: SegmentFiles, plan: Plan) -> None:
    parts, count = [], 0
    for _, keep in plan.parts:
        parts.append(np.where(keep, np.cumsum(keep) - 1 + count, -1))
        count += int(np.count_nonzero(keep))
    if count >= column_file.WRITTEN_FROM:
        kept = [
            Part(segment.documents.columns.all(), new)
            for (segment, _), new in zip(plan.parts, parts, strict=True)
        ]
        write_columns(files, combined_columns(count, kept))
