"""The only door to the file system: write files once, replace one atomically, lock, list, remove.

A file is created under its final name, never opened for writing again, and on the disk, with its
name, after the next `sync`. `replace` is the one exception, atomic and durable by itself.
Whatever the file system refuses becomes a one-line `StorageFailed`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Protocol

from .errors import StorageFailed
from .lock import LOCK, locked
from .refusals import refusals

__all__ = ["LOCK", "TEMPORARY", "Directory", "FileDirectory", "make_folder", "refusals"]

SMALL = 2**20  # bytes; larger files are on the disk as soon as they are written
TEMPORARY = ".replacing"  # suffix of a file that `replace` has not renamed yet


class Directory(Protocol):
    """A flat folder of files; the tests replace it by one that dies or fills up."""

    @property
    def root(self) -> Path:
        """The folder's path."""
        ...

    def sizes(self) -> dict[str, int]:
        """The name and size in bytes of everything there; FileNotFoundError without a folder."""
        ...

    def path(self, name: str) -> Path:
        """The path of a file, for mapping it into memory."""
        ...

    def read(self, name: str) -> bytes:
        """All bytes of a small file. Raises FileNotFoundError where there is none."""
        ...

    def create(self, name: str) -> AbstractContextManager[BinaryIO]:
        """A new file to write; durable after the next `sync`, removed if the block raises."""
        ...

    def build(self, name: str) -> AbstractContextManager[Path]:
        """The same for a library that insists on opening the path itself (SQLite)."""
        ...

    def adopt(self, name: str, source: Path) -> None:
        """Give a finished file, wherever it lies, a name here too; `source` stays."""
        ...

    def sync(self) -> None:
        """Make all created files durable, and their names. Not for several threads."""
        ...

    def replace(self, name: str, data: bytes) -> None:
        """Make `data` the whole content of `name`, atomically and durably."""
        ...

    def remove(self, name: str) -> None:
        """Unlink a file; readers that hold it open keep it. No error if it is gone."""
        ...

    def lock(self) -> AbstractContextManager[None]:
        """Be the only writer within the block; raises Locked if somebody else is."""
        ...


class FileDirectory:
    """A `Directory` in a folder of the file system: the one that `root` leads to now.

    Neither a link that is switched nor a change of the working folder makes it another.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(os.path.realpath(root))  # subtle: `resolve` fails where links go round
        self._unsynced: deque[str] = deque()  # small files that are perhaps not on the disk

    def sizes(self) -> dict[str, int]:
        sizes = {}
        with refusals(f"list {self.root}"), os.scandir(self.root) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # removed this moment
                    sizes[entry.name] = entry.stat().st_size
        return sizes

    def path(self, name: str) -> Path:
        if not name or name.startswith(".") or "/" in name or "\\" in name or "\0" in name:
            raise ValueError(f"illegal file name: {name!r}, must be one plain name")
        return self.root / name

    def read(self, name: str) -> bytes:
        with refusals(f"read {self.path(name)}"):
            return self.path(name).read_bytes()

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        path = self.path(name)
        with refusals(f"write {path}"), open(path, "xb") as file, _removed_on_error(path):
            yield file
            file.flush()
            self._written(name, file.fileno())

    @contextlib.contextmanager
    def build(self, name: str) -> Iterator[Path]:
        path = self.path(name)
        with refusals(f"write {path}"):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
            with _removed_on_error(path):
                yield path
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    self._written(name, descriptor)
                finally:
                    os.close(descriptor)

    def adopt(self, name: str, source: Path) -> None:
        path = self.path(name)
        with refusals(f"write {path}"):
            try:
                os.link(source, path)
            except (FileExistsError, FileNotFoundError):
                raise
            except OSError:
                # subtle: some file systems know no second names for a file
                with self.create(name) as copy, open(source, "rb") as original:
                    shutil.copyfileobj(original, copy, 2**20)

    def sync(self) -> None:
        with refusals(f"write {self.root}"):
            while self._unsynced:
                name = self._unsynced.popleft()
                try:
                    with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                        _fsync(self.root / name)
                except BaseException:
                    self._unsynced.append(name)
                    raise
            _fsync(self.root)

    def _written(self, name: str, descriptor: int) -> None:
        """Large files are put on the disk now, small ones by `sync`: many are gone until then."""
        # subtle: a merge beside the writer has its large files synced by its own thread
        if os.fstat(descriptor).st_size > SMALL:
            os.fsync(descriptor)
        else:
            self._unsynced.append(name)

    def replace(self, name: str, data: bytes) -> None:
        path = self.path(name)
        temporary = self.path(name + TEMPORARY)
        with refusals(f"write {path}"):
            temporary.unlink(missing_ok=True)  # subtle: a link would be written through
            with open(temporary, "xb") as file, _removed_on_error(temporary):
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _fsync(self.root)

    def remove(self, name: str) -> None:
        with refusals(f"remove {self.path(name)}"):
            self.path(name).unlink(missing_ok=True)

    def lock(self) -> AbstractContextManager[None]:
        return locked(self.root)


def make_folder(root: Path) -> None:
    """Make an index's folder (and its parents) durably; it may exist already."""
    if root.exists() and not root.is_dir():
        raise StorageFailed(f"cannot make the folder {root}: it is a file; name another")
    with refusals(f"make the folder {root}"):
        missing = [folder for folder in (root, *root.parents) if not folder.exists()]
        root.mkdir(parents=True, exist_ok=True)
        for folder in missing:
            _fsync(folder.parent)


@contextlib.contextmanager
def _removed_on_error(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        raise


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
