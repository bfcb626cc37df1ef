"""Whether the last commit of an index is sound, also where it cannot be opened."""

from __future__ import annotations

from pathlib import Path

from .directory import Directory
from .errors import Damaged
from .integrity import Progress, content_problems, presence_problems
from .leftovers import directory_of
from .manifest import Manifest, read_manifest
from .snapshot import ATTEMPTS, Snapshot


def verify_last(path: str | Path | Directory, on_progress: Progress) -> list[str]:
    """What is wrong with the last commit of the index in the folder `path`, one line each.

    Everything is read; of an index that cannot be opened, each file. Raises NoIndex, Damaged (the
    manifest), UnsupportedFormat, StorageFailed.
    """
    directory = directory_of(path)
    for _ in range(ATTEMPTS):
        manifest = read_manifest(directory)
        found = _problems(directory, manifest, on_progress)
        # subtle: a writer may have removed files of it while they were read
        if not found or read_manifest(directory) == manifest:
            break
    return found


def _problems(directory: Directory, manifest: Manifest, on_progress: Progress) -> list[str]:
    absent = presence_problems(directory, manifest)
    reason = ""
    if not absent:
        try:
            with Snapshot(directory, manifest) as commit:
                return commit.verify(on_progress)
        except (Damaged, FileNotFoundError) as error:
            reason = str(error)
    there = {name: entry for name, entry in manifest.files.items() if name not in absent}
    changed = content_problems(directory, there, on_progress)
    return [*absent.values(), *changed.values()] or [reason]
