"""One file of named arrays: a magic number, a JSON header, and raw little-endian data.

Written once and memory-mapped afterwards. Layout (FORMAT.md says every byte):

    8 bytes   magic
    4 bytes   version, uint32
    4 bytes   length of the header, uint32
    header    JSON: {name: {"dtype": "<u4", "shape": [3], "offset": 128}, ...}
    arrays    each at its offset (a multiple of 64 from the file's start), C order
"""

from __future__ import annotations

import json
import math
import mmap
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .errors import Damaged, StorageFailed, UnsupportedFormat

MAGIC = b"\x93ARRAYS\n"
VERSION = 1
ALIGNMENT = 64  # bytes: a cache line
LARGEST_HEADER = 1 << 20  # bytes
DTYPES = frozenset(["|u1", "<u2", "<u4", "<i4", "<i8", "<f2", "<f4"])
_GARBLED = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
_PREFIX = struct.Struct("<8sII")


def write_arrays(file: BinaryIO, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write `arrays` to an empty binary file; it is read back with `map_arrays`.

    Raises ValueError for a dtype that the format does not have (see `DTYPES`).
    """
    stored = {name: _little_endian(name, array) for name, array in arrays.items()}
    header = _header(stored)
    file.write(_PREFIX.pack(MAGIC, VERSION, len(header)))
    file.write(header)
    position = _PREFIX.size + len(header)
    for array in stored.values():
        file.write(bytes(-position % ALIGNMENT))
        file.write(array.data.cast("B") if array.size else b"")
        position += -position % ALIGNMENT + array.nbytes


def map_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file that `write_arrays` wrote: read-only, memory-mapped, bounds-checked.

    Raises Damaged (naming the file) where it is missing, cut short or garbled,
    UnsupportedFormat where its version is another, StorageFailed where it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            if size < _PREFIX.size:
                raise Damaged(f"{path}: {size} bytes is too short for a file of arrays")
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError as error:
        raise Damaged(f"{path}: the file is missing") from error
    except OSError as error:
        raise StorageFailed(f"{path}: cannot be read: {error.strerror}") from error
    magic, version, length = _PREFIX.unpack_from(data)
    if magic != MAGIC:
        raise Damaged(f"{path}: is no file of arrays (wrong magic number)")
    if version != VERSION:
        raise UnsupportedFormat(
            f"{path}: array format {version}, this version reads format {VERSION}"
        )
    if length > LARGEST_HEADER:
        raise Damaged(f"{path}: its header is garbled ({length:,} bytes)")
    try:
        header = json.loads(data[_PREFIX.size : _PREFIX.size + length].decode())
        return {name: _view(data, entry) for name, entry in header.items()}
    except _GARBLED as error:
        raise Damaged(f"{path}: the file is cut short or its header is garbled") from error


def _little_endian(name: str, array: NDArray[Any]) -> NDArray[Any]:
    stored = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    if stored.dtype.str not in DTYPES:
        raise ValueError(f"array {name!r}: illegal dtype {array.dtype}, use one of {set(DTYPES)}")
    return stored.reshape(array.shape)


def _header(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The JSON header. Offsets depend on its length, so room for them is settled first."""
    room = 0
    while True:
        position = _PREFIX.size + room
        entries = {}
        for name, array in arrays.items():
            position += -position % ALIGNMENT
            entries[name] = {
                "dtype": array.dtype.str,
                "shape": list(array.shape),
                "offset": position,
            }
            position += array.nbytes
        header = json.dumps(entries, ensure_ascii=False).encode()
        if len(header) <= room:
            return header.ljust(room)
        room = len(header)


def _view(data: mmap.mmap, entry: dict[str, Any]) -> NDArray[Any]:
    """The array that `entry` describes, or ValueError if it does not lie within `data`."""
    dtype, shape, offset = entry["dtype"], entry["shape"], entry["offset"]
    if dtype not in DTYPES or not all(type(n) is int and n >= 0 for n in [*shape, offset]):
        raise ValueError("illegal dtype, shape or offset")
    count = math.prod(shape)
    if offset % ALIGNMENT or offset + count * np.dtype(dtype).itemsize > len(data):
        raise ValueError("an array reaches beyond the file's end")
    if count == 0:
        return np.empty(shape, dtype)
    return np.frombuffer(data, dtype, count, offset).reshape(shape)
