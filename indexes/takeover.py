"""One index takes the place of another, in one commit: its fields, settings and segments.

The successor's files get a second name in the folder of the index (as hard links, where the
file system has them), under numbers that were never used there; then the manifest is replaced.
Before that the index is the old one, after that the new one, and a crash in between leaves files
that no manifest names.
"""

from __future__ import annotations

from dataclasses import replace

from .directory import Directory
from .draft import now
from .errors import Damaged
from .integrity import check_files
from .manifest import MANIFEST, FileEntry, Manifest, SegmentEntry


def take_over(
    directory: Directory, last: Manifest, serial: int, source: Directory, successor: Manifest
) -> Manifest:
    """Commit what `taken_over` makes, durably; the manifest."""
    made = taken_over(directory, last, serial, source, successor)
    manifest = replace(made, created=now())
    data = manifest.to_bytes()
    directory.sync()
    directory.replace(MANIFEST, data)
    return manifest


def taken_over(
    directory: Directory, last: Manifest, serial: int, source: Directory, successor: Manifest
) -> Manifest:
    """The commit after `last` that holds what `successor` does; its files are there, not durable.

    `serial`: the next unused number in `directory`. Raises Damaged where a file of the successor
    is missing or has another size, StorageFailed.
    """
    check_files(source, successor)
    files: dict[str, FileEntry] = {}
    segments = []
    for segment in successor.segments:
        name = f"s{serial:06d}"
        serial += 1
        segments.append(_renamed(segment, name))
        for old in sorted(set(segment.parts.values())):
            new = _new_name(old, segment.name, name)
            directory.adopt(new, source.path(old))
            files[new] = successor.files[old]
    return replace(
        successor,
        generation=last.generation + 1,
        # subtle: names of dead documents' files were given by the successor's numbers
        next_segment=max(serial, successor.next_segment),
        segments=tuple(segments),
        files=files,
    )


def _renamed(segment: SegmentEntry, name: str) -> SegmentEntry:
    parts = {part: _new_name(file, segment.name, name) for part, file in segment.parts.items()}
    return replace(segment, name=name, parts=parts)


def _new_name(file: str, old: str, new: str) -> str:
    if not file.startswith(f"{old}."):
        raise Damaged(f"segment {old}: the file {file!r} is not named after it")
    return new + file.removeprefix(old)
