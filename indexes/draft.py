"""The commit to come: its segments, with their dead documents as they will be, and its files.

A draft begins as the last commit. Segments come in (flushed, merged) and go, documents die, and
nobody sees it until `publish` replaces the manifest, after everything it names is on the disk.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .directory import Directory
from .documents import Change, write_changes
from .integrity import check_files
from .manifest import MANIFEST, FileEntry, Manifest, SegmentEntry
from .merge import Merged, Plan, merge_segments, steps
from .policy import Policy, Size
from .segment import CHANGES, DEAD, STORE, Segment, SegmentFiles, dead_bits

CHANGE_BYTES = 200  # a change's Python objects, besides its strings


@dataclass
class _Part:
    """A segment of the commit to come: its dead documents, and changes of metadata."""

    segment: Segment
    dead: NDArray[np.bool_]
    changes: dict[int, Change] = field(default_factory=dict)  # by ordinal; not written yet

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
        self.nbytes = 0  # of changes that are held in memory, about
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

    def update(self, changes: Mapping[str, Change]) -> set[str]:
        """Change the metadata and hashes of live documents; returns their ids."""
        updated: set[str] = set()
        for part in self._parts:
            for id, (ordinal, _) in part.segment.store.find(list(changes)).items():
                if not part.dead[ordinal]:
                    part.changes[ordinal] = changes[id]
                    updated.add(id)
                    self.nbytes += CHANGE_BYTES + sum(map(sys.getsizeof, changes[id]))
        return updated

    def settle(self) -> None:
        """Write what changes of metadata into files; a merge, or the next commit, takes them in."""
        for part in [part for part in self._parts if part.changes]:
            segment = part.segment
            files = SegmentFiles(self._directory, f"{segment.entry.name}.{self._next()}")
            files.built(
                CHANGES, partial(write_changes, documents=segment.documents, changes=part.changes)
            )
            self._files.update(files.files)
            parts = {**segment.entry.parts, **files.parts}
            segment.change(
                replace(segment.entry, parts=parts), self._directory.path(files.parts[CHANGES])
            )
            part.changes = {}
        self.nbytes = 0

    def drop_dead(self, spared: Collection[str]) -> None:
        """Let go of segments in which no document lives any more, but for those `spared`."""
        dead = [part for part in self._parts if part.dead.all()]
        self._drop([part for part in dead if part.segment.entry.name not in spared])

    def plans(self, policy: Policy, limit: int, spared: Collection[str] = ()) -> list[Plan]:
        """What the policy wants merged, new names included; segments `spared` do not count."""
        parts = [part for part in self._parts if part.segment.entry.name not in spared]
        groups = policy([self._size(part) for part in parts], limit)
        return [self._plan([parts[i] for i in group]) for group in groups]

    def merge(
        self,
        policy: Policy,
        limit: int,
        spared: Collection[str] = (),
        on_step: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """Merge until the policy (see `policy`) is content, telling `on_step` how far it is."""
        self.drop_dead(spared)
        done = 0
        fields = self.manifest.fields
        while plans := self.plans(policy, limit, spared):
            total = done + len(plans) * steps(fields)
            for plan in plans:

                def step() -> None:
                    nonlocal done
                    done += 1
                    on_step(done, total)  # noqa: B023  # subtle: called within this round only

                self.take_in(plan, merge_segments(self._directory, fields, plan, step))

    def take_in(self, plan: Plan, merged: Merged) -> bool:
        """Put a merged segment in the place of its sources, what died meanwhile included.

        False, and nothing done: a source is not there any more, or has a live document that the
        merge left out, or other files now than when the merge was planned.
        """
        places = {part.segment.entry.name: part for part in self._parts}
        if not plan.sources <= places.keys():
            return False
        sources = [places[segment.entry.name] for segment, _ in plan.parts]
        keeps = [keep for _, keep in plan.parts]
        if any((~part.dead & ~keep).any() for part, keep in zip(sources, keeps, strict=True)):
            return False
        if _files_of(sources) != plan.files.keys():
            return False
        part = self._opened(merged.entry, merged.files)
        part.dead = np.concatenate(
            [source.dead[keep] for source, keep in zip(sources, keeps, strict=True)]
        )
        self._parts.insert(self._parts.index(sources[0]), part)
        self._drop(sources)
        return True

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

    def _next(self) -> int:
        self.serial += 1
        return self.serial - 1

    def _plan(self, parts: Sequence[_Part]) -> Plan:
        kept = [(part.segment, ~part.dead) for part in parts]
        return Plan(self.name(), kept, {name: self._files[name] for name in _files_of(parts)})

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
            (
                self._files[file].bytes
                for name, file in entry.parts.items()
                if name.partition(".")[0] != STORE
            ),
            default=0,
        )
        return Size(entry.n_documents - dead, dead, largest, CHANGES in entry.parts)

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


def _files_of(parts: Sequence[_Part]) -> frozenset[str]:
    """All their files, but for those of dead documents."""
    named = (item for part in parts for item in part.segment.entry.parts.items())
    return frozenset(file for component, file in named if component != DEAD)


def now() -> str:
    """The time of a commit: ISO 8601, UTC, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")
