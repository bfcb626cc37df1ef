"""Which format a file is of: by its name, else by how it begins."""

from __future__ import annotations

import io
from pathlib import Path
from typing import cast

from .jsonl import parse_json
from .options import ReadOptions
from .records import BadRecord, to_document
from .streams import COMPRESSED, Source

_BY_NAME = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv",
    ".tab": "tsv", ".parquet": "parquet", ".pq": "parquet", ".trec": "trec", ".sgml": "trec",
    ".sgm": "trec", ".txt": "text", ".text": "text", ".rst": "text", ".md": "markdown",
    ".markdown": "markdown", ".html": "html", ".htm": "html", ".xhtml": "html", ".pdf": "pdf",
    ".ipynb": "notebook",
}  # fmt: skip
_SNIFFED = 4096  # bytes


def kind_by_name(path: Path) -> str | None:
    """The format that a file's ending tells, before that of its compression."""
    name = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    return _BY_NAME.get(name.suffix.lower())


def kind(path: Path | None, source: Source) -> str | None:
    """The file's format by its name, else by what only such a file begins with; None if neither
    tells."""
    by_name = kind_by_name(path) if path is not None else None
    head = _head(source)[:_SNIFFED]
    if by_name == "json" and head.startswith(b"{") and _is_line(head):
        return "jsonl"
    if by_name == "text" and head[:5].upper() == b"<DOC>":
        return "trec"
    if by_name is not None:
        return by_name
    if head.startswith(b"%PDF-"):
        return "pdf"
    if head.startswith(b"PAR1"):
        return "parquet"
    if head[:5].upper() == b"<DOC>":
        return "trec"
    return "html" if head[:14].lower().startswith((b"<!doctype html", b"<html")) else None


def json_by_bracket(source: Source) -> str | None:
    """Which JSON begins so, if it is JSON: much else does, such as settings, logs and programs."""
    return {b"{": "jsonl", b"[": "json"}.get(_head(source)[:1])


def begins_with_record(source: Source, options: ReadOptions) -> bool:
    """Whether the first line is a record of JSON Lines that makes a document."""
    line = _head(source).split(b"\n", 1)[0]
    if not line.startswith(b"{"):
        return False
    try:
        to_document(parse_json(line.decode(options.encoding)), "", options)
    except (UnicodeDecodeError, BadRecord):
        return False
    return True


def _head(source: Source) -> bytes:
    head = cast(io.BufferedReader, source.stream).peek(_SNIFFED)
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()


def _is_line(head: bytes) -> bool:
    """Whether the first line is an object of its own, not the beginning of a longer one."""
    line = head.split(b"\n", 1)[0].rstrip()
    return len(line) == len(head) or line.endswith(b"}")
