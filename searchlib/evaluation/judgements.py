"""Rows of relevance judgements: TREC's and BEIR's columns, CSV, JSON Lines, Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from .lines import bad_line, numbered_lines, text_of
from .named import PARQUET, csv_records, first_of, id_of, json_records, parquet_records

_QUERY = ("query-id", "query_id", "qid", "topic")
_DOCUMENT = ("corpus-id", "corpus_id", "document_id", "doc_id", "docid", "docno", "pid")
_VALUE = ("score", "relevance", "rel", "label")

Row = tuple[int, str, str, str]  # line or row, query id, document id, relevance as it is written


def judgements(path: Path) -> Iterator[Row]:
    """The rows of a file of judgements; of tab-separated columns the first may be a header.

    Raises NotFound, BadInput, naming file and line: not readable, or other columns.
    """
    lines = numbered_lines(path)
    first = next(lines, None)
    if first is None:
        return
    lines = chain([first], lines)
    if first[1].startswith(PARQUET):
        records = parquet_records(path)
    elif first[1].lstrip().startswith(b"{") and first[1].endswith(b"}"):
        records = json_records(path, lines)
    elif _is_header_of_csv(first[1]):
        records = csv_records(path, lines)
    else:
        for number, line in lines:
            yield _columns(path, number, line)
        return
    for number, record in records:
        yield _named(path, number, record)


def _is_header_of_csv(line: bytes) -> bool:
    names = [name.strip(' "').lower() for name in line.decode(errors="replace").split(",")]
    return not any(set(known).isdisjoint(names) for known in (_QUERY, _DOCUMENT, _VALUE))


def _named(path: Path, number: int, record: dict[str, Any]) -> Row:
    query, document = id_of(first_of(record, _QUERY)), id_of(first_of(record, _DOCUMENT))
    value = first_of(record, _VALUE)
    if query is None or document is None or value is None:
        bad_line(path, number, 'no "query-id", "corpus-id" or "score" in this judgement')
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # Parquet's scores are floats
    return number, query.strip(), document.strip(), str(value)


def _columns(path: Path, number: int, line: bytes) -> Row:
    fields = line.split(b"\t")
    if len(fields) != 3:
        fields = line.split()
    if len(fields) == 4:
        fields = [fields[0], *fields[2:]]
    if len(fields) != 3:
        bad_line(
            path,
            number,
            f"{len(fields)} columns; judgements have 4 (query 0 document relevance)"
            " or 3 (query-id, corpus-id, score)",
        )
    query, document, value = (text_of(field.strip(), path, number) for field in fields)
    return number, query, document, value
