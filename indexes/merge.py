"""Which segments to merge, as a pure function of their sizes; and the merging itself.

Many small commits must not leave many small segments, and no passage should be rewritten more
often than about log(n) times; a merge must fit in memory. So: as long as there are more than
`MAX_SMALL` segments that can still grow, the smallest ones become one (a run in which each is at
most twice as large as all smaller ones together), up to `limit` bytes a field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .builder import merge_postings
from .directory import Directory
from .manifest import FieldSpec, FileEntry, SegmentEntry, TermField
from .segment import STORE, Segment, SegmentFiles, write_vectors
from .store import merge_stores

MAX_SMALL = 8  # segments below half the limit
MAX_DEAD = 1 / 3  # of a segment's documents, before it is rewritten


@dataclass(frozen=True)
class Size:
    """A segment as the policy sees it: live and dead documents, bytes of its largest field.

    `changed`: metadata of it changed since it was written.
    """

    alive: int
    dead: int
    bytes: int
    changed: bool = False

    @property
    def live_bytes(self) -> int:
        """The bytes that a rewritten segment would have, about; at least 1."""
        return max(1, self.bytes * self.alive // max(1, self.alive + self.dead))


def choose_merges(sizes: Sequence[Size], limit: int) -> list[list[int]]:
    """Groups of segments (their places in `sizes`) to be made into one segment each.

    A group of one is a segment rewritten without its dead documents. `limit`: bytes that the
    largest field of a merged segment may have.

    >>> choose_merges([Size(1, 0, 10)] * 9, limit=1000)
    [[0, 1, 2, 3, 4, 5, 6, 7, 8]]
    """
    crowded = [i for i, size in enumerate(sizes) if size.live_bytes <= limit // 2]
    if len(crowded) > MAX_SMALL:
        crowded.sort(key=lambda i: sizes[i].live_bytes)
        run = _run([sizes[i].live_bytes for i in crowded], limit)
        if run > 1:
            group = sorted(crowded[:run])
            return [group, *_rewrites(sizes, set(group))]
    return _rewrites(sizes, set())


def all_merges(sizes: Sequence[Size], limit: int) -> list[list[int]]:
    """As few groups as the limit allows; what has dead documents or changes is rewritten."""
    groups: list[list[int]] = []
    room = 0
    for i in sorted(range(len(sizes)), key=lambda i: sizes[i].live_bytes):
        if groups and sizes[i].live_bytes <= room:
            groups[-1].append(i)
            room -= sizes[i].live_bytes
        else:
            groups.append([i])
            room = limit - sizes[i].live_bytes
    return [
        sorted(group)
        for group in groups
        if len(group) > 1 or sizes[group[0]].dead or sizes[group[0]].changed
    ]


def _run(ascending: Sequence[int], limit: int) -> int:
    """How many of the smallest segments to merge."""
    total = 0
    for count, size in enumerate(ascending):
        if total + size > limit or (count > 1 and size > 2 * total):
            return count
        total += size
    return len(ascending)


def _rewrites(sizes: Sequence[Size], taken: set[int]) -> list[list[int]]:
    return [
        [i]
        for i, size in enumerate(sizes)
        if i not in taken and size.dead > MAX_DEAD * (size.alive + size.dead)
    ]


def merge_segments(
    directory: Directory,
    name: str,
    fields: Mapping[str, FieldSpec],
    parts: Sequence[tuple[Segment, NDArray[np.bool_]]],
) -> tuple[SegmentEntry, dict[str, FileEntry]]:
    """Write segment `name` from the kept documents of `parts`, in order, field after field.

    Each part is a segment and which of its documents to keep. Memory: the largest field of the
    new segment, several times over. Returns the manifest's entries.
    """
    files = SegmentFiles(directory, name)
    stores = [segment.documents.source(keep) for segment, keep in parts]
    files.built(STORE, lambda path: merge_stores(path, stores))
    for spec in fields.values():
        kept = [
            keep if spec.unit == "document" else segment.to_passages(keep)
            for segment, keep in parts
        ]
        if isinstance(spec, TermField):
            postings = [segment.postings[spec.name] for segment, _ in parts]
            files.arrays(spec.name, merge_postings(postings, kept))
            continue
        vectors = np.empty((sum(map(np.count_nonzero, kept)), spec.dim), np.float32)
        filled = 0
        for (segment, _), rows in zip(parts, kept, strict=True):
            moved = segment.vectors[spec.name].data[rows]
            vectors[filled : filled + len(moved)] = moved
            filled += len(moved)
        write_vectors(files, spec, vectors)
    counts = [np.diff(segment.first)[keep] for segment, keep in parts]
    return files.passages(np.concatenate(counts)), files.files
