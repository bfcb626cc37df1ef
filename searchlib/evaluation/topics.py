"""Queries (topics) from BEIR's `queries.jsonl`, MS MARCO's TSV, or TREC's tagged topics."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

from ..errors import BadInput
from .lines import bad_line, first_character, numbered_lines, text_of

# a tag begins with a letter: "p < 0.05" has none
_TAGGED = re.compile(r"(</?[A-Za-z][^<>]*>)?((?:[^<]|<(?!/?[A-Za-z]))*)")
_NUMBER = re.compile(r"""number\s*=\s*["']?([^"'\s>]+)""", re.IGNORECASE)
_IDS, _TEXTS = ("id", "_id", "qid", "query_id", "query-id"), ("text", "query", "query_text")
_HEADERS = {(id, text) for id in _IDS for text in _TEXTS}


def read_topics(path: Path) -> dict[str, str]:
    """Query id -> text, in the file's order; the format is told by the first character.

    `{` starts JSON Lines ({"_id" or "id", "text" or "query"}), `<` starts TREC topics
    (`<num>`, `<identifier>` or `<topic number="...">`, and `<title>` or `<query>`), anything else
    is TSV (id, tab, text; a header is passed over). Raises BadInput, naming file and
    line, for a line without an id or text, an id that stands twice, or a file without queries.

    >>> read_topics(Path("queries.jsonl"))  # doctest: +SKIP
    {'1': 'how fast does light travel in glass'}
    """
    start = first_character(path)
    if start == b"<":
        topics = _read_tagged(path)
    elif start == b"{":
        topics = _read_jsonl(path)
    else:
        topics = _read_tsv(path)
    if not topics:
        raise BadInput(f"{path}: no queries in it")
    return topics


def _read_jsonl(path: Path) -> dict[str, str]:
    topics: dict[str, str] = {}
    for number, line in numbered_lines(path):
        try:
            record = json.loads(text_of(line, path, number))
        except (ValueError, RecursionError) as error:
            bad_line(path, number, f"not JSON: {error}")
        if not isinstance(record, dict):
            bad_line(path, number, f"not a JSON object: {line[:40]!r}")
        id = record.get("_id", record.get("id", record.get("query_id")))
        text = record.get("text", record.get("query"))
        if not isinstance(id, str | int) or isinstance(id, bool) or not isinstance(text, str):
            bad_line(path, number, 'no "_id" or no "text" in this query')
        _put(topics, str(id), text, path, number)
    return topics


def _read_tsv(path: Path) -> dict[str, str]:
    topics: dict[str, str] = {}
    for number, line in numbered_lines(path):
        id, tab, text = text_of(line, path, number).partition("\t")
        if not tab:
            bad_line(path, number, "no tab; expected: query id, tab, text")
        if not topics and (id.strip().lower(), text.strip().lower()) in _HEADERS:
            continue
        _put(topics, id.strip(), text.strip(), path, number)
    return topics


def _read_tagged(path: Path) -> dict[str, str]:
    # <num> Number: 301 <title> Topic: ...; closing tags are optional in TREC's own files
    topics: dict[str, str] = {}
    id: str | None = None
    title: list[str] | None = None  # the title's lines while one is being read
    at = 0

    def finish() -> None:
        nonlocal id, title
        if title is not None:
            text = re.sub(r"^Topic:\s*", "", " ".join(" ".join(title).split()))
            if id is None:
                bad_line(path, at, "<title> before any <num>")
            _put(topics, id, html.unescape(text), path, at)
            id = None
        title = None

    for number, line in numbered_lines(path):
        for tag, rest in _TAGGED.findall(text_of(line, path, number)):
            name = re.split(r"[\s/]", tag.strip("<>/ ").lower())[0]
            opens = tag and not tag.startswith("</")
            if tag:
                finish()
            if opens and name == "topic" and (own := _NUMBER.search(tag)):
                id = own.group(1)
            elif opens and name in ("num", "identifier"):
                found = re.search(r"(?:Number:\s*)?(\S+)", rest.strip(), re.IGNORECASE)
                id = found.group(1) if found else None
            elif opens and name in ("title", "query"):
                title, at = [rest], number
            elif not tag and title is not None:
                title.append(rest)
    finish()
    return topics


def _put(topics: dict[str, str], id: str, text: str, path: Path, number: int) -> None:
    id = id.strip()  # as ids of judgements are
    if not id:
        bad_line(path, number, "empty query id")
    if not text.strip():
        bad_line(path, number, f"query {id!r} has no text")
    if id in topics:
        bad_line(path, number, f"query id {id!r} stands twice")
    topics[id] = text
