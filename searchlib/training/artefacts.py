"""Files of a work folder: each appears whole or not at all, so that what is there is finished."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.errors import one_line
from indexes.refusals import refusals

from ..errors import BadInput


@contextmanager
def filling(target: Path) -> Iterator[None]:
    """Turn what the system refuses in the block, to safetensors as well, into StorageFailed."""
    from safetensors import SafetensorError

    with refusals(f"write {target}"):
        try:
            yield
        except SafetensorError as error:
            number = re.search(r"while serializing.*\(os error (\d+)\)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


@contextmanager
def undamaged(path: Path, remove: str = "it") -> Iterator[None]:
    """Turn what goes wrong in the block, in reading a file of a work folder, into BadInput.

    `remove`: what the user has to remove, so that it is made again.
    """
    import zipfile

    from safetensors import SafetensorError

    wrong = (ValueError, LookupError, TypeError, RuntimeError, EOFError)
    try:
        yield
    except (OSError, SafetensorError, zipfile.BadZipFile, *wrong) as error:
        reason = one_line(str(error))[:200]
        raise BadInput(
            f"{path} is damaged ({reason}); remove {remove}, it will be made anew"
        ) from None


def write_whole(path: Path, data: bytes) -> None:
    """Make `data` the content of a file, atomically and durably. Raises StorageFailed."""
    temporary = path.with_name(path.name + ".writing")
    with refusals(f"write {path}"):
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Arrays by name as one .npz, as `write_whole`."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # numpy takes names as keywords
    write_whole(path, buffer.getvalue())


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """What `write_arrays` wrote; nothing in it is executed. Raises BadInput if it is damaged."""
    with undamaged(path), np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def sync_folder(folder: Path) -> None:
    """Put a folder's list of names on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
