"""Records with named fields, of queries or judgements: JSON Lines, CSV, Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..formats.streams import open_source
from ..formats.tables import parquet_rows
from .lines import bad_line, text_of

PARQUET = b"PAR1\x15"  # how such a file begins: its magic number, and what comes before a page
Line = tuple[int, bytes]
Records = Iterator[tuple[int, dict[str, Any]]]  # each with its line or row


def json_records(path: Path, lines: Iterable[Line]) -> Records:
    """The object of each line. Raises BadInput, naming file and line."""
    for number, line in lines:
        try:
            record = json.loads(text_of(line, path, number))
        except (ValueError, RecursionError) as error:
            bad_line(path, number, f"not JSON: {error}")
        if not isinstance(record, dict):
            bad_line(path, number, f"not a JSON object: {line[:40]!r}")
        yield number, record


def csv_records(path: Path, lines: Iterator[Line]) -> Records:
    """The lines behind the first, which has the names. Raises BadInput, naming file and line."""
    names = [name.lower() for name in _comma_separated(path, *next(lines))]
    for number, line in lines:
        fields = _comma_separated(path, number, line)
        if len(fields) != len(names):
            bad_line(path, number, f"{len(fields)} columns, the first line has {len(names)}")
        yield number, dict(zip(names, fields, strict=True))


def parquet_records(path: Path) -> Records:
    """The rows. Raises BadInput, naming the file."""
    with open_source(path, path.name) as source:
        yield from parquet_rows(source, list)


def first_of(record: Mapping[str, Any], names: Sequence[str]) -> Any:
    """The value of the first name that the record has; None if it has none."""
    return next((record[name] for name in names if name in record), None)


def id_of(value: Any) -> str | None:
    """A query's or document's id as a string; None if it is neither a string nor an integer."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


def _comma_separated(path: Path, number: int, line: bytes) -> list[str]:
    try:
        (fields,) = csv.reader([text_of(line, path, number)], strict=True)
    except csv.Error as error:
        bad_line(path, number, f"not CSV: {error}")
    return [field.strip() for field in fields]
