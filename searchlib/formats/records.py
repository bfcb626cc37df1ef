"""Records with named fields become documents: which field is what is said or guessed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..types import Document
from .options import ReadOptions

ID_NAMES = (
    *("_id", "id", "docno", "pid", "passage_id", "docid", "doc_id", "document_id"),
    *("key", "uid", "uuid", "identifier"),
)
TITLE_NAMES = ("title", "name", "headline", "heading", "subject")
TEXT_NAMES = (
    *("text", "body", "content", "contents", "passage", "document", "article", "abstract"),
    *("description", "summary", "message", "comment", "review"),
)


class BadRecord(Exception):
    """Why a record makes no document."""


@dataclass(frozen=True)
class Fields:
    """Names of the fields that make a document."""

    id: str | None
    title: str | None
    text: tuple[str, ...]
    metadata: tuple[str, ...]


def choose_fields(names: tuple[str, ...], options: ReadOptions) -> Fields:
    """Which of the fields `names` is what: as the options say, else guessed by the names.

    Raises BadRecord if a field named for the id or the text is not there.
    """
    return _choose(names, options.id, options.title, options.text, options.metadata)


@lru_cache(maxsize=1024)
def _choose(
    names: tuple[str, ...],
    id: str | None,
    title: str | None,
    text: tuple[str, ...] | None,
    metadata: tuple[str, ...] | None,
) -> Fields:
    if id is not None and id not in names:
        raise BadRecord(f"no field {id!r} for the id; there is: {listed(names)}")
    id = id or _guess(names, ID_NAMES)
    if title is None:
        title = _guess([name for name in names if name not in (text or ())], TITLE_NAMES)
    elif title not in names:
        title = None
    if text is not None:
        texts = tuple(name for name in text if name in names)
        if not texts:
            raise BadRecord(f"no field {', '.join(text)!r} for the text; there is: {listed(names)}")
    else:
        guessed = _guess([name for name in names if name not in (id, title)], TEXT_NAMES)
        texts = (guessed,) if guessed is not None else ()
    others = tuple(name for name in names if name not in (id, title, *texts))
    if metadata is not None:
        others = tuple(name for name in metadata if name in names)
    return Fields(id, title, texts, others)


def to_document(record: Mapping[str, Any], default_id: str, options: ReadOptions) -> Document:
    """The document that a record makes.

    Without an id (or an empty one) it is called `default_id`. Its text may be empty, if there is
    a field for it. An object called "metadata" adds its fields to the metadata.

    Raises BadRecord.
    """
    fields = choose_fields(tuple(record), options)
    id = _id(record[fields.id]) if fields.id is not None else ""
    if not id and options.id is not None:
        raise BadRecord(f"the id {options.id!r} is empty")
    title = _string(record[fields.title], fields.title) if fields.title is not None else ""
    others = [name for name in fields.metadata if isinstance(record[name], str)]
    if not fields.text and (not title or (others and options.metadata is None)):
        raise BadRecord(f"no text among the fields: {listed(tuple(record))}; say which is (--text)")
    text = "\n".join(filter(None, (_string(record[name], name) for name in fields.text)))
    metadata: dict[str, Any] = {}
    for name in fields.metadata:
        value = record[name]
        if name == "metadata" and isinstance(value, dict):
            metadata.update(value)
        else:
            metadata[name] = value
    return Document(id or default_id, text, title, metadata)


def clean(value: Any) -> Any:
    """The JSON value without what cannot be stored: NUL, halves of surrogate pairs, NaN."""
    if isinstance(value, str):
        value = value.replace("\0", "")
        try:
            value.encode()
        except UnicodeEncodeError:
            value = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return value
    if isinstance(value, dict):
        return {clean(str(key)): clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clean(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _guess(names: Sequence[str], known: Sequence[str]) -> str | None:
    lower = {name.lower().strip(): name for name in reversed(names)}
    return next((lower[name] for name in known if name in lower), None)


def _id(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise BadRecord(f"the id is {_kind(value)}, must be a string or a number")


def _string(value: Any, name: str) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "\n".join(value)
    raise BadRecord(f"{name!r} is {_kind(value)}, must be a string")


def _kind(value: Any) -> str:
    kinds = {bool: "true or false", list: "a list", dict: "an object", float: "a number"}
    return kinds.get(type(value), type(value).__name__)


def listed(names: Sequence[str]) -> str:
    """The first few names, cut short, for a message."""
    shown = ", ".join(repr(name[:40]) for name in names[:8]) or "nothing"
    return f"{shown}, ..." if len(names) > 8 else shown
