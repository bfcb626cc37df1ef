"""Whether files are what the manifest says: there, of their sizes, of their checksums."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from .directory import Directory
from .errors import Damaged
from .manifest import FileEntry, Manifest

Progress = Callable[[int, int, str], None]
"""Told (done, total, what was done last)."""


def check_files(directory: Directory, manifest: Manifest) -> None:
    """Raise Damaged (naming the file) where one is missing, no plain file, or of another size."""
    for problem in presence_problems(directory, manifest).values():
        raise Damaged(problem)


def presence_problems(directory: Directory, manifest: Manifest) -> dict[str, str]:
    """Of each file that is missing, no plain file, or of another size, what is wrong, one line."""
    sizes = directory.sizes()
    found: dict[str, str] = {}
    for name, entry in manifest.files.items():
        path = directory.path(name)
        if name not in sizes:
            found[name] = f"{path}: the file is missing"
        elif sizes[name] != entry.bytes:
            found[name] = f"{path}: the file has {sizes[name]} bytes, not {entry.bytes}"
        elif not is_plain(path):
            found[name] = f"{path}: is a link or a device, not a file"
    return found


def check_contents(directory: Directory, files: Mapping[str, FileEntry]) -> None:
    """Read files and raise Damaged, naming the first one whose checksum is another."""
    for name, entry in files.items():
        problem = content_problem(directory.path(name), entry)
        if problem is not None:
            raise Damaged(problem)


def content_problems(
    directory: Directory, files: Mapping[str, FileEntry], on_progress: Progress, more: int = 0
) -> dict[str, str]:
    """Of each file whose content is not what it was, what is wrong, in one line.

    `more`: steps that follow, for whoever is told of the progress.
    """
    found: dict[str, str] = {}
    for done, (name, entry) in enumerate(files.items(), 1):
        problem = content_problem(directory.path(name), entry)
        if problem is not None:
            found[name] = problem
        on_progress(done, len(files) + more, name)
    return found


def content_problem(path: Path, entry: FileEntry) -> str | None:
    """What is wrong with a file's content, in one line; None where it has its checksum."""
    try:
        if file_checksum(path) != entry.blake2b:
            return f"{path}: the checksum is wrong; the file was changed"
    except OSError as error:
        return f"{path}: cannot be read: {error.strerror}"
    return None


def is_plain(path: Path) -> bool:
    """Whether it is a file as such: a link could lead anywhere, a pipe keeps its reader waiting."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def file_checksum(path: Path) -> str:
    """blake2b (16 bytes, hexadecimal) of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
