"""Lines of a judged file as bytes fields, so that a bad one is named by file, number and reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from ..errors import BadInput, NotFound
from ..formats.streams import UTF16, open_source


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The file's lines that are not blank, without their ends, numbered from 1; decompressed.

    Raises NotFound if there is no such file and BadInput if it cannot be read.
    """
    if path.is_dir():
        raise BadInput(f"{path}: is a folder, expected a file")
    if not path.exists():
        raise NotFound(f"{path}: no such file")
    with open_source(path, path.name) as source:
        for number, line in enumerate(source.stream, start=1):
            if number == 1 and line.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise BadInput(f"{path}: {UTF16}")
            kept = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if kept.strip():
                yield number, kept.rstrip(b"\r\n")


def first_characters(path: Path) -> bytes:
    """The first five behind white space. Raises NotFound, BadInput."""
    for _, line in numbered_lines(path):
        return line.lstrip()[:5]
    return b""


def bad_line(path: Path, number: int, reason: str) -> NoReturn:
    """Raises the one error for a line that cannot be read."""
    raise BadInput(f"{path}:{number}: {reason[:300]}")


def text_of(field: bytes, path: Path, number: int) -> str:
    """The field as text; BadInput if it is not UTF-8."""
    try:
        return field.decode("utf-8")
    except UnicodeDecodeError as error:
        bad_line(path, number, f"invalid UTF-8 at byte {error.start + 1} of {field[:40]!r}")
