"""The folder of an index, and what lies in it that no commit needs any more."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from .directory import TEMPORARY, Directory, FileDirectory
from .manifest import read_manifest

_OURS = re.compile(r"s\d{6,}\..+|.+" + re.escape(TEMPORARY))


def directory_of(path: str | Path | Directory) -> Directory:
    """The folder of an index, however it is named."""
    return FileDirectory(path) if isinstance(path, str | Path) else path


def remove_leftovers(directory: Directory, spared: Callable[[str], bool]) -> None:
    """Remove files that the manifest on the disk does not name: obsolete, or left behind.

    Only those that an index names so, but for the `spared`.
    """
    named = read_manifest(directory).files
    for name in directory.sizes():
        if name not in named and _OURS.fullmatch(name) and not spared(name):
            directory.remove(name)
