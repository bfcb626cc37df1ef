"""The folder of an index, and what lies in it that no commit needs any more."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from .directory import TEMPORARY, Directory, FileDirectory
from .integrity import is_plain
from .manifest import FILE_NAME, read_manifest

_UNFINISHED = re.compile(r"(manifest|measured)\.json" + re.escape(TEMPORARY))


def directory_of(path: str | Path | Directory) -> Directory:
    """The folder of an index, however it is named."""
    return FileDirectory(path) if isinstance(path, str | Path) else path


def remove_leftovers(directory: Directory, spared: Callable[[str], bool]) -> None:
    """Remove files that the manifest on the disk does not name: obsolete, or left behind.

    Only what is an index's, but for the `spared`.
    """
    named = read_manifest(directory).files
    for name in directory.sizes():
        if name not in named and not spared(name) and is_ours(directory, name):
            directory.remove(name)


def is_ours(directory: Directory, name: str) -> bool:
    """Whether an index writes files of such a name, and it is a plain file."""
    written = FILE_NAME.fullmatch(name) or _UNFINISHED.fullmatch(name)
    return written is not None and is_plain(directory.path(name))
