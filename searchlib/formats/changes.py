"""Changes of metadata, read from JSON Lines: `{"id": "note-1", "year": 2020, "draft": null}`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import BadInput
from .jsonl import parse_json
from .options import BadLine, ReadOptions
from .records import TEXT_NAMES, BadRecord
from .streams import open_source, text_lines

_IDS = ("id", "_id")
_OPTIONS = ReadOptions()


def read_changes(source: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(id, what changes) of each line of a file, compressed or not, or of stdin ("-").

    Every key but `id` (or `_id`) is metadata; an object called `metadata` adds its keys.

    Raises BadInput, naming the line: no JSON object, no id, or a title or text, which are no
    metadata.
    """
    path = None if str(source) == "-" else Path(source)
    with open_source(path, "") as opened:
        for line in text_lines(opened, _OPTIONS):
            if isinstance(line, BadLine):
                raise BadInput(str(line))
            if not line[1].strip():
                continue
            try:
                yield _change(parse_json(line[1]))
            except BadRecord as error:
                raise BadInput(f"{opened.name}:{line[0]}: {error}") from None


def _change(record: Any) -> tuple[str, dict[str, Any]]:
    if not isinstance(record, dict):
        raise BadRecord(f"not a JSON object: {str(record)[:40]!r}")
    name = next((name for name in _IDS if name in record), None)
    if name is None:
        raise BadRecord("no id; every line needs the id of the document that it changes")
    id = record.pop(name)
    if not isinstance(id, str | int) or isinstance(id, bool) or id == "":
        raise BadRecord(f"the id is {id!r}, must be a string or a number")
    for other in ("title", *TEXT_NAMES[:2]):
        if other in record:
            raise BadRecord(
                f"{other!r} is no metadata; leave it out here, or add the document again"
            )
    inner = record.pop("metadata", {})
    if not isinstance(inner, dict):
        record["metadata"], inner = inner, {}
    return str(id), {**record, **inner}
