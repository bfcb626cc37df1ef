"""Lines of a judged file as bytes fields, so that a bad one is named by file, number and reason."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NoReturn, cast

from ..errors import BadInput, NotFound


def open_bytes(path: Path) -> IO[bytes]:
    """The file's bytes; `.gz`, `.bz2`, `.xz` and `.zst` are unpacked.

    Raises NotFound if there is no such file and BadInput if it cannot be read.
    """
    try:
        if path.is_dir():
            raise BadInput(f"{path}: is a folder, expected a file")
        if path.suffix == ".gz":
            return cast(IO[bytes], gzip.open(path, "rb"))
        if path.suffix == ".bz2":
            return bz2.open(path, "rb")
        if path.suffix == ".xz":
            return lzma.open(path, "rb")
        if path.suffix == ".zst":
            import zstandard

            return cast(IO[bytes], io.BufferedReader(zstandard.open(path, "rb")))
        return path.open("rb")
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file") from None
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}") from None


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The file's lines that are not blank, without their ends, numbered from 1."""
    with open_bytes(path) as file:
        try:
            for number, line in enumerate(file, start=1):
                kept = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                if kept.strip():
                    yield number, kept.rstrip(b"\r\n")
        except OSError as error:
            raise BadInput(f"{path}: {error.strerror or error}") from None
        except Exception as error:
            if not damaged_archive(error):
                raise
            raise BadInput(f"{path}: damaged, or cut short: {error}") from None


def first_character(path: Path) -> bytes:
    """The file's first one that is no white space. Raises NotFound, BadInput."""
    for _, line in numbered_lines(path):
        return line.lstrip()[:1]
    return b""


def damaged_archive(error: Exception) -> bool:
    """Whether an error says that what was packed cannot be unpacked."""
    return isinstance(error, EOFError | zlib.error | lzma.LZMAError) or (
        type(error).__module__.startswith("zstandard") or type(error).__name__ == "ZstdError"
    )


def bad_line(path: Path, number: int, reason: str) -> NoReturn:
    """Raises the one error for a line that cannot be read."""
    raise BadInput(f"{path}:{number}: {reason[:300]}")


def text_of(field: bytes, path: Path, number: int) -> str:
    """The field as text; BadInput if it is not UTF-8."""
    try:
        return field.decode("utf-8")
    except UnicodeDecodeError as error:
        bad_line(path, number, f"invalid UTF-8 at byte {error.start + 1} of {field[:40]!r}")
