"""Bytes from files, compressed files and stdin; lines of text from bytes."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from ..errors import BadInput
from .options import BadLine, ReadOptions
from .records import clean

COMPRESSED = (".gz", ".zst", ".bz2", ".xz")
UTF16 = "UTF-16 text, which is not read, --encoding or not; convert it to UTF-8"
_BUFFER = 1 << 20


@dataclass(frozen=True)
class Source:
    """An open file, decompressed, and what it is called."""

    stream: BinaryIO
    name: str  # in messages
    id: str  # of the document in it, or the beginning of the ids of lines without one


@contextmanager
def open_source(path: Path | None, id: str) -> Iterator[Source]:
    """The file (None: stdin), decompressed if its first bytes say that it is compressed.

    Raises BadInput if it cannot be opened, read or decompressed, also while it is in use.
    """
    name = "stdin" if path is None else clean(str(path))
    try:
        with nullcontext(_stdin()) if path is None else path.open("rb", _BUFFER) as file:
            yield Source(_decompressed(file, name), name, clean(id))
    except OSError as error:
        raise BadInput(f"cannot read {name}: {error.strerror or error}") from None


def _stdin() -> BinaryIO:
    if sys.stdin is None:
        raise BadInput("stdin is closed")
    return sys.stdin.buffer


def text_lines(source: Source, options: ReadOptions) -> Iterator[tuple[int, str] | BadLine]:
    """(number from 1, line without its end) of each line; a BadLine for one that is no text.

    A byte order mark and NUL characters are left out. No more than `max_document_bytes` of a
    line are ever held.
    """
    limit, encoding = options.max_document_bytes, options.encoding
    number = 0
    while data := source.stream.readline(limit + 1):
        number += 1
        if len(data) > limit and not data.endswith(b"\n"):
            while data and not data.endswith(b"\n"):
                data = source.stream.readline(_BUFFER)
            yield BadLine(source.name, number, f"longer than {limit:,} bytes")
            continue
        if number == 1 and data.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise BadInput(f"{source.name}: {UTF16}")
        if number == 1 and data.startswith(codecs.BOM_UTF8):
            encoding = "utf-8"  # whatever was said: nothing else begins so
        try:
            line = data.decode(encoding)
        except UnicodeDecodeError as error:
            yield BadLine(source.name, number, _not_text(error))
            continue
        del data  # a long line is not held twice
        line = line.rstrip("\r\n").replace("\0", "")
        yield number, line.removeprefix("\ufeff") if number == 1 else line


def whole_text(source: Source, options: ReadOptions) -> str | BadLine:
    """All of the file as text, line ends as `\\n`."""
    data = whole_bytes(source, options)
    if isinstance(data, BadLine):
        return data
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return BadLine(source.name, None, UTF16)
    try:
        text = data.decode("utf-8" if data.startswith(codecs.BOM_UTF8) else options.encoding)
    except UnicodeDecodeError as error:
        return BadLine(source.name, None, _not_text(error))
    return text.removeprefix("\ufeff").replace("\0", "").replace("\r\n", "\n")


def whole_bytes(source: Source, options: ReadOptions) -> bytes | BadLine:
    """All of the file, if it is not larger than `max_document_bytes`."""
    data = source.stream.read(options.max_document_bytes + 1)
    if len(data) > options.max_document_bytes:
        return BadLine(source.name, None, f"longer than {options.max_document_bytes:,} bytes")
    return data


def _not_text(error: UnicodeDecodeError) -> str:
    byte = error.object[error.start]
    where = f"byte 0x{byte:02x} at byte {error.start + 1}"
    return f"not {error.encoding.upper()}: {where}; convert it, or name its encoding"


def _decompressed(file: BinaryIO, name: str) -> BinaryIO:
    head = cast(io.BufferedReader, file).peek(6)[:6]
    if head.startswith(b"\x1f\x8b"):
        return _checked(cast(BinaryIO, gzip.GzipFile(fileobj=file)), name)
    if head.startswith(b"BZh"):
        return _checked(cast(BinaryIO, bz2.BZ2File(file)), name)
    if head == b"\xfd7zXZ\0":
        return _checked(cast(BinaryIO, lzma.LZMAFile(file)), name)
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        import zstandard

        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        return _checked(cast(BinaryIO, reader), name)
    return file


def _checked(file: BinaryIO, name: str) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(_Checked(file, name), _BUFFER))


class _Checked(io.RawIOBase):
    """A decompressing file whose failures are BadInput."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._name = file, name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        try:
            data = self._file.read(len(buffer))
        except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            raise BadInput(f"{self._name}: cannot be decompressed: {error}") from None
        except Exception as error:
            if type(error).__name__ != "ZstdError":  # a class that only zstandard's import gives
                raise
            raise BadInput(f"{self._name}: cannot be decompressed: {error}") from None
        buffer[: len(data)] = data
        return len(data)
