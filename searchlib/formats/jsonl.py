"""JSON: an object a line (JSONL), or one list of objects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NoReturn

from .options import BadLine, Item, ReadOptions
from .records import BadRecord, clean, to_document
from .streams import Source, text_lines, whole_text


def read_jsonl(source: Source, options: ReadOptions) -> Iterator[Item]:
    """One document a line; empty lines are passed over."""
    for line in text_lines(source, options):
        if isinstance(line, BadLine):
            yield line
        elif not line[1].isspace() and line[1]:
            yield _item(source, line[0], line[1], options)


def read_json(source: Source, options: ReadOptions) -> Iterator[Item]:
    """The objects of one list, held in memory as a whole; "lines" are places in the list."""
    text = whole_text(source, options)
    if isinstance(text, BadLine):
        yield text
        return
    try:
        records = parse_json(text)
        if not isinstance(records, list):
            records = [records]
    except BadRecord as error:
        yield BadLine(source.name, None, str(error))
        return
    for number, record in enumerate(records, 1):
        yield _item_of(source, number, record, options)


def _item(source: Source, number: int, line: str, options: ReadOptions) -> Item:
    try:
        record = parse_json(line)
    except BadRecord as error:
        return BadLine(source.name, number, str(error))
    return _item_of(source, number, record, options)


def _item_of(source: Source, number: int, record: Any, options: ReadOptions) -> Item:
    try:
        if not isinstance(record, dict):
            raise BadRecord(f"not a JSON object: {str(record)[:40]!r}")
        document = to_document(record, f"{source.id}:{number}", options)
    except BadRecord as error:
        return BadLine(source.name, number, str(error))
    return document, f"{source.name}:{number}"


def parse_json(text: str) -> Any:
    """The value that a JSON text says. Raises BadRecord, with the reason."""
    try:
        value = _DECODER.decode(text)
        return clean(value) if "\\u" in text else value
    except json.JSONDecodeError as error:
        other = (
            "" if text.lstrip()[:1] in ("{", "[") else "; if it is CSV, text, ... say the format"
        )
        reason = f"not JSON: {error.msg}, at character {error.pos + 1}{other}"
        raise BadRecord(reason) from None
    except RecursionError:
        raise BadRecord("not read: nested too deeply") from None
    except ValueError as error:  # NaN, or a number of thousands of digits
        raise BadRecord(f"not JSON: {str(error).split(';')[0]}") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)  # json.loads would make one a line
