"""A folder that appears whole or not at all: every model that is made is one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from indexes.refusals import refusals

from ..errors import BadInput
from .artefacts import filling, sync_folder


def must_be_free(target: Path) -> None:
    """Raises BadInput if there is something at `target`, or no folder to put it in."""
    if target.exists() or target.is_symlink():
        raise BadInput(f"{target} is there already; name a new folder")
    if not target.absolute().parent.is_dir():
        raise BadInput(f"{target.absolute().parent} is no folder; make it first")


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to be filled, which takes the name `target` when the block ends well.

    It is filled beside under another name, put on the disk, and renamed; where the block raises,
    nothing is left. Raises BadInput if there is something at `target`, StorageFailed.
    """
    must_be_free(target)
    with refusals(f"write {target}"):
        filled = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.absolute().parent))
    try:
        with filling(target):
            yield filled
            allowed = ~_umask()
            filled.chmod(0o777 & allowed)
            for path in filled.rglob("*"):
                path.chmod((0o777 if path.is_dir() else 0o666) & allowed)  # safetensors' are 0600
                _sync(path)
            sync_folder(filled)
            must_be_free(target)
            os.rename(filled, target)
            sync_folder(target.absolute().parent)
    except BaseException:
        shutil.rmtree(filled, ignore_errors=True)
        raise


def copy_files(source: Path, files: Iterable[Path], folder: Path) -> None:
    """Copies of files below `source` at the same places below `folder`; links are followed."""
    for path in sorted(path for path in files if path.is_file()):
        copy = folder / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def _sync(path: Path) -> None:
    if path.is_dir():
        sync_folder(path)
        return
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    """The process's mask; it can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
