"""Tables: CSV, TSV, the tab-separated files of MS MARCO, Parquet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from ..errors import BadInput
from .csv_rows import Row, csv_rows
from .options import BadLine, Item, ReadOptions
from .records import TEXT_NAMES, BadRecord, choose_fields, clean, listed, to_document
from .streams import Source, text_lines
from .values import typed, typed_beside_semicolons

_BATCH = 256  # rows of Parquet held at once


def read_csv(source: Source, options: ReadOptions) -> Iterator[Item]:
    """One document a row, fields named by the first row; separated by `,`, `;`, tab or `|`.

    Metadata that looks like a number or like true or false becomes one ("007" does not). Between
    semicolons "1,5" is a number, and "1.000" none: nobody knows which.
    """
    separator, rows = csv_rows(source, options)
    header = next((row for row in rows if isinstance(row, BadLine) or row[1]), None)
    if isinstance(header, BadLine):
        raise BadInput(str(header))
    if header is not None:
        value_of = typed_beside_semicolons if separator == ";" else typed
        yield from _documents(source, rows, header, options, value_of)


def read_tsv(source: Source, options: ReadOptions) -> Iterator[Item]:
    """One document a line, tabs between fields; a field that CSV would have quoted is unquoted.

    If no field of the first line is a text's name, it is a document and not a header: see
    `read_msmarco`.
    """
    rows = _tab_rows(source, options)
    header = next(rows, None)
    if header is None:
        return
    if isinstance(header, BadLine):
        raise BadInput(str(header))
    if _is_header(header[1], options):
        yield from _documents(source, rows, header, options, typed)
    else:
        yield from _unnamed(source, header, rows, options)


def read_msmarco(source: Source, options: ReadOptions) -> Iterator[Item]:
    """Lines without a header: id, text; or id, title, text; or id, url, title, text."""
    rows = _tab_rows(source, options)
    first = next(rows, None)
    if first is not None:
        yield from _unnamed(source, first, rows, options)


def read_parquet(source: Source, options: ReadOptions) -> Iterator[Item]:
    """One document a row, a few rows in memory at a time; "lines" are rows from 1."""

    def wanted(names: list[str]) -> list[str]:
        fields = choose_fields(tuple(names), options)
        columns = [fields.id, fields.title, *fields.text, *fields.metadata]
        return [name for name in dict.fromkeys(columns) if name is not None]

    try:
        for number, record in parquet_rows(source, wanted):
            yield _item(source, number, record, options)
    except BadRecord as error:
        raise BadInput(f"{source.name}: {error}") from None


def parquet_rows(
    source: Source, wanted: Callable[[list[str]], list[str]]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number from 1, record of JSON values) of each row; `wanted` chooses of the columns' names.

    Raises BadInput if it is compressed, or cannot be read.
    """
    import pyarrow
    import pyarrow.parquet

    if not source.stream.seekable():
        raise BadInput(f"{source.name}: Parquet is read from an uncompressed file only")
    try:
        file = pyarrow.parquet.ParquetFile(source.stream)
        columns = wanted(list(file.schema_arrow.names))
        number = 0
        for batch in file.iter_batches(_BATCH, columns=columns):
            for row in batch.to_pylist():
                number += 1
                yield number, {name: _json_value(value) for name, value in row.items()}
    except (pyarrow.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadInput(f"{source.name}: not readable as Parquet: {reason}") from None


def _documents(
    source: Source,
    rows: Iterator[Row | BadLine],
    first: Row,
    options: ReadOptions,
    value_of: Callable[[str], Any],
) -> Iterator[Item]:
    header_line, header = first[0], _named(first[1])
    named = [name for name in (options.id, options.title) if name is not None]
    named += [*(options.text or ()), *(options.metadata or ())]
    try:
        for name in named:
            if name not in header:
                raise BadRecord(f"no column {name!r}; there is: {listed(header)}")
        if not choose_fields(tuple(header), options).text and len(header) > 1:
            raise BadRecord(f"no text among the columns: {listed(header)}; say which is (--text)")
    except BadRecord as error:
        raise BadInput(f"{source.name}:{header_line}: {error}") from None
    if repeated := sorted(name for name, count in Counter(header).items() if count > 1):
        raise BadInput(f"{source.name}:{header_line}: columns of one name: {listed(repeated)}")
    if len(header) == 1 and options.text is None:
        header = ["text"]
    kept = set(choose_fields(tuple(header), options).metadata)
    for row in rows:
        if isinstance(row, BadLine):
            yield row
        elif len(row[1]) != len(header):
            reason = f"{len(row[1])} fields, the first line has {len(header)}"
            yield BadLine(source.name, row[0], reason)
        else:
            record = {
                name: value_of(value) if name in kept else value
                for name, value in zip(header, row[1], strict=True)
                if value or name not in kept
            }
            yield _item(source, row[0], record, options)


def _named(header: list[str]) -> list[str]:
    """The columns' names; one without is called by its place.

    >>> _named(["id", "text", "", "column_3", " "])
    ['id', 'text', 'column_3_', 'column_3', 'column_5']
    """
    names, taken = list(header), set(header)
    for place, name in enumerate(header):
        if not name.strip():
            names[place] = f"column_{place + 1}"
            while names[place] in taken:
                names[place] += "_"
    return names


def _unnamed(
    source: Source, first: Row | BadLine, rows: Iterator[Row | BadLine], options: ReadOptions
) -> Iterator[Item]:
    names: dict[int, Sequence[str]] = {
        2: ("id", "text"),
        3: ("id", "title", "text"),
        4: ("id", "url", "title", "text"),
    }
    row: Row | BadLine | None = first
    while row is not None:
        if isinstance(row, BadLine):
            yield row
        elif len(row[1]) not in names:
            reason = f"{len(row[1])} fields between tabs, must be 2 to 4 if nothing names them"
            yield BadLine(source.name, row[0], reason)
        else:
            record = dict(zip(names[len(row[1])], row[1], strict=True))
            yield _item(source, row[0], record, options)
        row = next(rows, None)


def _item(source: Source, number: int, record: dict[str, Any], options: ReadOptions) -> Item:
    try:
        document = to_document(record, f"{source.id}:{number}", options)
    except BadRecord as error:
        return BadLine(source.name, number, str(error))
    return document, f"{source.name}:{number}"


def _tab_rows(source: Source, options: ReadOptions) -> Iterator[Row | BadLine]:
    for line in text_lines(source, options):
        if isinstance(line, BadLine):
            yield line
        elif line[1]:
            yield line[0], [_unquoted(field) for field in line[1].split("\t")]


def _unquoted(field: str) -> str:
    """The field without quotes around it, if all within are doubled (DPR's Wikipedia has these).

    >>> [_unquoted(field) for field in ('"a ""b"" c"', '"a" and "b"', '"', '""')]
    ['a "b" c', '"a" and "b"', '"', '']
    """
    inner = field[1:-1]
    if len(field) < 2 or field[0] != '"' or field[-1] != '"' or '"' in inner.replace('""', ""):
        return field
    return inner.replace('""', '"')


def _is_header(row: list[str], options: ReadOptions) -> bool:
    named = {options.id, options.title, *(options.text or ())} - {None}
    lower = {name.lower().strip() for name in row}
    return bool(named & set(row)) or bool(lower & set(TEXT_NAMES))


def _json_value(value: Any) -> Any:
    """A JSON value for what a column of Parquet may hold."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, dict):
        return {str(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    return clean(value)
