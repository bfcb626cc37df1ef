"""The only door to the file system: write files once, replace one atomically, lock, list, remove.

A file is created under its final name, never opened for writing again, and on the disk (fsync)
when its `with` block ends; its name is on the disk after the next `sync`. `replace` is the one
exception, atomic and durable by itself. Whatever the file system refuses becomes a one-line
`StorageFailed`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from .errors import Locked, StorageFailed

LOCK = "write.lock"
TEMPORARY = ".replacing"  # suffix of a file that `replace` has not renamed yet

_REASONS = {
    errno.ENOSPC: "no space left on the device; free some and run again",
    errno.EDQUOT: "the disk quota is used up; free some space and run again",
    errno.EFBIG: "the file is larger than the system allows",
    errno.EACCES: "no permission",
    errno.EPERM: "no permission",
    errno.EROFS: "the file system is read-only",
    errno.EEXIST: "it exists already",
    errno.ELOOP: "it is a link, must be a file",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
}


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
        """A new file to write; durable at the end of the block, removed if that raises."""
        ...

    def build(self, name: str) -> AbstractContextManager[Path]:
        """The same for a library that insists on opening the path itself (SQLite)."""
        ...

    def sync(self) -> None:
        """Make the names of all created files durable."""
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
    """A `Directory` in a folder of the file system."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

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
            os.fsync(file.fileno())

    @contextlib.contextmanager
    def build(self, name: str) -> Iterator[Path]:
        path = self.path(name)
        with refusals(f"write {path}"):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
            with _removed_on_error(path):
                yield path
                _fsync(path)

    def sync(self) -> None:
        with refusals(f"write {self.root}"):
            _fsync(self.root)

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

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """The lock is the system's (flock), so it ends with its process, however that ends.

        The file only tells others who holds it; it stays behind and means nothing by itself.
        """
        import fcntl

        path = self.path(LOCK)
        with refusals(f"lock {path}"):
            # subtle: were it a link or a pipe, somebody else's file would be written to
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(path, flags, 0o644)
        try:
            with refusals(f"lock {path}"):
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise Locked(_held(self.root, os.pread(descriptor, 4096, 0))) from None
            owner = {
                "pid": os.getpid(),
                "host": os.uname().nodename,
                "since": datetime.now().astimezone().isoformat(timespec="seconds"),
            }
            with contextlib.suppress(OSError):  # a full disk must not keep anyone from deleting
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, json.dumps(owner).encode(), 0)
            yield
        finally:
            os.close(descriptor)


def make_folder(root: Path) -> None:
    """Make an index's folder (and its parents) durably; it may exist already."""
    with refusals(f"make the folder {root}"):
        missing = [folder for folder in (root, *root.parents) if not folder.exists()]
        root.mkdir(parents=True, exist_ok=True)
        for folder in missing:
            _fsync(folder.parent)


@contextlib.contextmanager
def refusals(action: str) -> Iterator[None]:
    """Turn an OSError in the block into StorageFailed("cannot `action`: why").

    FileNotFoundError passes: what a missing file means, the caller knows.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        raise StorageFailed(f"cannot {action}: {reason}") from error


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


def _held(root: Path, owner: bytes) -> str:
    try:
        values = json.loads(owner)
        who = f"process {values['pid']} on {values['host']} since {values['since']}"
    except (ValueError, KeyError, TypeError):
        who = "another process"
    return f"{root} is being written by {who}; wait for it to finish, or stop it"
