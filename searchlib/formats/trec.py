"""TREC's document files: SGML-like text between <DOC> and </DOC>."""

from __future__ import annotations

import html
import re
from collections.abc import Container, Iterator
from typing import Any

from .files import seen_on_page
from .options import BadLine, Item, ReadOptions
from .records import BadRecord, to_document
from .streams import Source, text_lines

_TAG = re.compile(r"<(/?)([A-Za-z][\w.-]*)(?:\s[^<>]{0,1000})?>")
_TITLES = ("title", "headline", "head", "hl", "ttl", "ti")
_TEXTS = ("text", "lp", "leadpara")
_WHOLE = {"docno", "dochdr", *_TITLES, *_TEXTS}  # nothing is sought within
# what is crawled has a header of HTTP, or begins with <html> behind another element
_PAGE = re.compile(r"</dochdr>|>\s*(?=<(?:!doctype\s+)?html[\s>])", re.IGNORECASE)
_OPEN, _CLOSE = re.compile(r"<DOC>", re.IGNORECASE), re.compile(r"</DOC>", re.IGNORECASE)


def read_trec(source: Source, options: ReadOptions) -> Iterator[Item]:
    """One document between <DOC> and </DOC>: id <DOCNO>, title <TITLE> or <HEADLINE> and so on.

    The text is what is in <TEXT> and <LP>, else all but id and title; other elements are metadata.
    Tags within are left out, entities of HTML are made characters, and no others are known. Of a
    page (behind <DOCHDR>, which is left out, or in <html>) it is what is to be seen.
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
    page = _PAGE.search(text)
    elements = _elements(text[: page.end()] if page else text)
    elements.pop("dochdr", None)
    id = " ".join(elements.pop("docno", []))
    if not id:
        return BadLine(source.name, number, "<DOC> without <DOCNO>")
    record: dict[str, Any] = {"docno": id}
    title = next((name for name in _TITLES if name in elements), None)
    if title is not None:
        record["title"] = " ".join(elements.pop(title))
    try:
        if page:
            seen, body = seen_on_page(text[page.end() :].encode())
            record.setdefault("title", seen)
            elements.setdefault("text", []).append(body)
        if "text" in elements:
            record["text"] = "\n".join(elements.pop("text"))
            elements.pop("", None)
            record |= {name: "\n".join(parts) for name, parts in elements.items()}
        else:
            record["text"] = "\n".join(part for parts in elements.values() for part in parts)
        return to_document(record, id, options), f"{source.name}:{number}"
    except BadRecord as error:
        return BadLine(source.name, number, str(error))


def _elements(text: str) -> dict[str, list[str]]:
    """What stands in the outermost elements, by their names in lower case; "" for what in none.

    What has a text's name, or is the first of a title's name, is found within others, too.
    """
    found: dict[str, list[str]] = {}
    name, at = "", 0
    around = ""  # the outermost element that what is called `name` stands in, if it does
    parts: list[str] = []

    def go_on_as(other: str) -> None:
        nonlocal name, parts
        content = html.unescape("".join(parts)).strip()
        if content:
            found.setdefault("text" if name in _TEXTS else name, []).append(content)
        name, parts = other, []

    for tag in _TAG.finditer(text):
        parts.append(text[at : tag.start()])
        at = tag.end()
        tag_name, opens = tag[2].lower(), not tag[1]
        if opens and not name:
            go_on_as(tag_name)
        elif opens and not around and name not in _WHOLE and _is_sought(tag_name, found):
            around = name
            go_on_as(tag_name)
        elif not opens and name and tag_name in (name, around):
            go_on_as(around if tag_name == name else "")
            around = ""
        else:
            parts.append(" ")
    parts.append(text[at:])
    go_on_as("")
    return found


def _is_sought(name: str, found: Container[str]) -> bool:
    return name in _TEXTS or (name in _TITLES and name not in found)
