"""What there is to read in a folder: its files, folder by folder, in the order of their names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .streams import COMPRESSED


@dataclass(frozen=True)
class Unlisted:
    """A folder that cannot be listed, and why."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"cannot read {self.path}: {self.reason}"


@dataclass(frozen=True)
class Link:
    """A link that is passed over, and where it leads."""

    path: Path
    leads: str

    def __str__(self) -> str:
        return f"{self.path}: a link to {self.leads}"


def entries(folder: Path) -> Iterator[Path | Unlisted | Link]:
    """The folder's files, and what of it is not gone into.

    Hidden entries, indexes and what is neither file nor folder (pipes, devices) are left out. A
    link to a file is that file; one to a folder could lead in a circle and is passed over.
    """
    try:
        with os.scandir(folder) as listed:
            found = sorted(listed, key=lambda entry: entry.name)
    except OSError as error:
        yield Unlisted(folder, error.strerror or str(error))
        return
    for entry in found:
        path = Path(entry.path)
        if entry.name.startswith("."):
            continue
        if entry.is_symlink():
            if os.path.isfile(path):
                yield path
            elif os.path.isdir(path):
                yield Link(path, "a folder")
            elif not os.path.exists(path):
                yield Link(path, "what is not there")
        elif entry.is_dir(follow_symlinks=False):
            if not is_our_index(path):
                yield from entries(path)
        elif entry.is_file(follow_symlinks=False):
            yield path


def is_our_index(folder: Path) -> bool:
    """Whether it is one of our own indexes, by how its manifest begins.

    `searchlib index here.index .` must not eat itself.
    """
    try:
        with (folder / "manifest.json").open("rb") as file:
            return b'"searchlib index"' in file.read(200)
    except OSError:
        return False


def beir_corpus(folder: Path) -> Path | None:
    """Where the documents of a BEIR folder are, a file or, beside `queries`, a folder."""
    for name in (f"corpus.jsonl{suffix}" for suffix in ("", *COMPRESSED)):
        if (folder / name).is_file():
            return folder / name
    parted = (folder / "corpus").is_dir() and (folder / "queries").is_dir()
    return folder / "corpus" if parted else None
