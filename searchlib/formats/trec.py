"""TREC's document files: SGML-like text between <DOC> and </DOC>."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

from .options import BadLine, Item, ReadOptions
from .records import BadRecord, to_document
from .streams import Source, text_lines

_TAG = re.compile(r"<(/?)([A-Za-z][\w.-]*)(?:\s[^<>]{0,1000})?>")
_TITLES = ("title", "headline", "head", "hl", "ttl", "ti")
_OPEN, _CLOSE = re.compile(r"<DOC>", re.IGNORECASE), re.compile(r"</DOC>", re.IGNORECASE)


def read_trec(source: Source, options: ReadOptions) -> Iterator[Item]:
    """One document between <DOC> and </DOC>: id <DOCNO>, title <TITLE> or <HEADLINE> and so on.

    The text is what is in <TEXT>, else all but id and title; other elements are metadata. Tags
    within are left out, entities of HTML are made characters, and no others are known.
    """
    parts: list[str] = []
    start = size = 0  # line of <DOC>, 0 outside; characters since
    bad: BadLine | None = None
    for line in text_lines(source, options):
        if isinstance(line, BadLine):
            bad = bad or line
            continue
        number, text = line
        if not start:
            opened = _OPEN.search(text)
            if opened is None:
                continue
            start, size, parts, bad = number, 0, [], None
            text = text[opened.end() :]
        closed = _CLOSE.search(text)
        part = text[: closed.start()] if closed else text
        size += len(part) + 1
        if size <= options.max_document_bytes:
            parts.append(part)
        else:
            bad = bad or BadLine(
                source.name, start, f"longer than {options.max_document_bytes:,} bytes"
            )
        if closed:
            yield bad or _item(source, start, "\n".join(parts), options)
            start, parts, bad = 0, [], None
    if start:
        yield BadLine(source.name, start, "<DOC> without </DOC>")
    elif bad is not None:
        yield bad


def _item(source: Source, number: int, text: str, options: ReadOptions) -> Item:
    elements = _elements(text)
    id = " ".join(elements.pop("docno", []))
    if not id:
        return BadLine(source.name, number, "<DOC> without <DOCNO>")
    record: dict[str, Any] = {"docno": id}
    title = next((name for name in _TITLES if name in elements), None)
    if title is not None:
        record["title"] = " ".join(elements.pop(title))
    if "text" in elements:
        record["text"] = "\n".join(elements.pop("text"))
        elements.pop("", None)
        record |= {name: "\n".join(parts) for name, parts in elements.items()}
    else:
        record["text"] = "\n".join(part for parts in elements.values() for part in parts)
    try:
        return to_document(record, id, options), f"{source.name}:{number}"
    except BadRecord as error:
        return BadLine(source.name, number, str(error))


def _elements(text: str) -> dict[str, list[str]]:
    """What stands in the outermost elements, by their names in lower case; "" for what in none."""
    found: dict[str, list[str]] = {}
    name, at = "", 0
    parts: list[str] = []

    def finish() -> None:
        content = html.unescape("".join(parts)).strip()
        if content:
            found.setdefault(name, []).append(content)

    for tag in _TAG.finditer(text):
        parts.append(text[at : tag.start()])
        at = tag.end()
        tag_name = tag[2].lower()
        if not name and not tag[1]:
            finish()
            name, parts = tag_name, []
        elif name and tag[1] and tag_name == name:
            finish()
            name, parts = "", []
        else:
            parts.append(" ")
    parts.append(text[at:])
    finish()
    return found
