"""Directories that die at their n-th operation, as a machine does whose plug is pulled."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from indexes.directory import FileDirectory


class Died(BaseException):
    """The power went out."""


class DyingDirectory(FileDirectory):
    """Dies at operation `fatal`, and at every one after it.

    What was created but not synced (`sync`, or the one in `replace`) is lost with the power:
    the names are gone, as a file system may have it.
    """

    def __init__(self, root: Path, fatal: int) -> None:
        super().__init__(root)
        self.operations = 0
        self.fatal = fatal
        self.unsynced: set[str] = set()

    def step(self) -> None:
        self.operations += 1
        if self.operations >= self.fatal:
            for name in self.unsynced:
                (self.root / name).unlink(missing_ok=True)
            self.unsynced.clear()
            raise Died

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        self.step()
        with super().create(name) as file:
            yield file
        self.unsynced.add(name)
        self.step()

    @contextlib.contextmanager
    def build(self, name: str) -> Iterator[Path]:
        self.step()
        with super().build(name) as path:
            yield path
        self.unsynced.add(name)
        self.step()

    def sync(self) -> None:
        self.step()
        super().sync()
        self.unsynced.clear()

    def replace(self, name: str, data: bytes) -> None:
        self.step()
        super().replace(name, data)
        self.unsynced.clear()
        self.step()

    def remove(self, name: str) -> None:
        self.step()
        super().remove(name)


class LitteringDirectory(DyingDirectory):
    """The same, but the dead process leaves half a file of everything."""

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        self.operations += 1
        if self.operations >= self.fatal:
            (self.root / name).write_bytes(b"half a fi")
            raise Died
        with FileDirectory.create(self, name) as file:
            yield file

    def replace(self, name: str, data: bytes) -> None:
        self.operations += 1
        if self.operations >= self.fatal:
            (self.root / (name + ".replacing")).write_bytes(data[: len(data) // 2])
            raise Died
        FileDirectory.replace(self, name, data)
