"""The commit to come: its segments, with their dead documents as they will be, and its files.

A draft begins as the last commit. Segments come in (flushed, merged) and go, documents die, and
nobody sees it until `publish` replaces the manifest, after everything it names is on the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .directory import Directory
from .manifest import MANIFEST, FileEntry, Manifest, SegmentEntry, check_contents, check_files
from .merge import Size, merge_segments
from .segment import DEAD, STORE, Segment, SegmentFiles, dead_bits


@dataclass
class _Part:
    """A segment of the commit to come: its dead documents as they will be."""

    segment: Segment
    dead: NDArray[np.bool_]

    @property
    def changed(self) -> bool:
        return int(np.count_nonzero(self.dead)) != self.segment.entry.n_dead


class Draft:
    """Begins as the commit `manifest`; numbers new files from `serial`, or as the manifest says.

    Raises Damaged, StorageFailed where the commit's files cannot be opened.
    """

    def __init__(self, directory: Directory, manifest: Manifest, serial: int = 0) -> None:
        check_files(directory, manifest)
        self.manifest = manifest  # of the last commit
        self.serial = max(serial, manifest.next_segment)
        self._directory = directory
        self._files = dict(manifest.files)
        self._parts: list[_Part] = []
        self.is_open = True
        try:
            for entry in manifest.segments:
                segment = Segment(directory, entry, manifest.fields)
                self._parts.append(_Part(segment, ~segment.alive))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the segments. Only `manifest` and `serial` are of use afterwards."""
        self.is_open = False
        for part in self._parts:
            part.segment.close()
        self._parts = []

    def name(self) -> str:
        """A segment name that was never used, not even by something rolled back."""
        return f"s{self._next():06d}"

    def adopt(self, entry: SegmentEntry, files: Mapping[str, FileEntry]) -> None:
        """Take in a new segment, whose documents come after all others."""
        self._parts.append(self._opened(entry, files))

    def bury(self, ids: Sequence[str]) -> set[str]:
        """Mark the live documents of these ids dead in all segments; returns their ids."""
        buried: set[str] = set()
        for part in self._parts:
            found = part.segment.store.find(ids).items()
            live = {id: ordinal for id, (ordinal, _) in found if not part.dead[ordinal]}
            part.dead[list(live.values())] = True
            buried |= live.keys()
        return buried

    def merge(self, policy: Callable[[Sequence[Size], int], list[list[int]]], limit: int) -> None:
        """Merge until the policy is content (see `merge.choose_merges`).

        Raises Damaged for a changed file.
        """
        for part in [part for part in self._parts if part.dead.all()]:
            self._drop([part])
        while groups := policy([self._size(part) for part in self._parts], limit):
            chosen = [[self._parts[i] for i in group] for group in groups]
            for group in chosen:
                self._check(group)
                entry, files = merge_segments(
                    self._directory,
                    self.name(),
                    self.manifest.fields,
                    [(part.segment, ~part.dead) for part in group],
                )
                place = self._parts.index(group[0])
                self._parts.insert(place, self._opened(entry, files))
                self._drop(group)

    def publish(self, settings: Mapping[str, Any] | None) -> bool:
        """Replace the manifest, durably; `settings` None: the last ones. False: nothing changed."""
        last = self.manifest
        entries = [self._entry(part) for part in self._parts]
        new_settings = last.settings if settings is None else dict(settings)
        if tuple(entries) == last.segments and new_settings == last.settings:
            return False
        named = {file for entry in entries for file in entry.parts.values()}
        manifest = replace(
            last,
            generation=last.generation + 1,
            created=now(),
            next_segment=self.serial,
            settings=new_settings,
            segments=tuple(entries),
            files={name: self._files[name] for name in sorted(named)},
        )
        data = manifest.to_bytes()
        self._directory.sync()
        self._directory.replace(MANIFEST, data)
        self.manifest, self._files = manifest, dict(manifest.files)
        for part, entry in zip(self._parts, entries, strict=True):
            part.segment.entry = entry
        return True

    # --- inside

    def _check(self, parts: Sequence[_Part]) -> None:
        """Raise Damaged where a file was changed: merged, it would get a checksum of its own."""
        named = {name for part in parts for name in part.segment.entry.parts.values()}
        check_contents(self._directory, {name: self._files[name] for name in sorted(named)})

    def _next(self) -> int:
        self.serial += 1
        return self.serial - 1

    def _opened(self, entry: SegmentEntry, files: Mapping[str, FileEntry]) -> _Part:
        self._files.update(files)
        segment = Segment(self._directory, entry, self.manifest.fields)
        return _Part(segment, np.zeros(entry.n_documents, np.bool_))

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

    def _entry(self, part: _Part) -> SegmentEntry:
        """The segment's entry in the commit to come; writes its dead documents if they changed."""
        entry = part.segment.entry
        if not part.changed:
            return entry
        files = SegmentFiles(self._directory, f"{entry.name}.{self._next()}")
        files.arrays(DEAD, dead_bits(part.dead))
        self._files.update(files.files)
        parts = {**entry.parts, **files.parts}
        return replace(entry, n_dead=int(np.count_nonzero(part.dead)), parts=parts)


def now() -> str:
    """The time of a commit: ISO 8601, UTC, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")
