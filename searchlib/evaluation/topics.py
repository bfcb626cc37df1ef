"""Queries (topics) from BEIR's `queries.jsonl`, Parquet, MS MARCO's TSV, or TREC's topics."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from ..errors import BadInput
from .lines import bad_line, first_characters, numbered_lines, text_of
from .named import PARQUET, Records, first_of, id_of, json_records, parquet_records

# a tag begins with a letter: "p < 0.05" has none
_TAG = re.compile(r"<(/?)([A-Za-z][\w.-]*)([^<>]*)>")
_NUMBER = re.compile(r"""number\s*=\s*["']?([^"'\s>]+)""", re.IGNORECASE)
_CDATA = re.compile(r"<!\[CDATA\[(.*?)\]\]>")
_LABEL = re.compile(r"^(?:Number|Topic|Description):\s*", re.IGNORECASE)
_FIELDS = {  # what a tag begins; other tags are text: std::vector<int>
    **{"num": "id", "identifier": "id", "title": "title", "query": "title"},
    **{"desc": "description", "description": "description", "question": "description"},
    **{"narr": "", "narrative": "", "subtopic": "", "topics": "", "top": "topic", "topic": "topic"},
}
_IDS, _TEXTS = ("_id", "id", "qid", "query_id", "query-id"), ("text", "query", "query_text")
_HEADERS = set(product(("id", "qid", "queryid"), ("text", "query", "querytext")))


def read_topics(path: Path) -> dict[str, str]:
    """Query id -> text, in the file's order; the format is told by the first characters.

    `{` starts JSON Lines ({"_id", "id" or "qid", "text" or "query"}), `<` starts TREC topics
    (`<num>`, `<identifier>` or `<topic number="...">`, and `<title>` or `<query>`; where no topic
    has these, the topic's own text, else `<desc>`), `PAR1` Parquet with JSON's names, anything
    else is TSV (id, tab, text; a header is passed over). Raises BadInput, naming file and line,
    for a line or topic without an id or text, an id that stands twice, or a file without queries.

    >>> read_topics(Path("queries.jsonl"))  # doctest: +SKIP
    {'1': 'how fast does light travel in glass'}
    """
    start = first_characters(path)
    if start.startswith(b"<"):
        topics = _read_tagged(path)
    elif start.startswith(b"{"):
        topics = _read_records(path, json_records(path, numbered_lines(path)))
    elif start == PARQUET:
        topics = _read_records(path, parquet_records(path))
    else:
        topics = _read_tsv(path)
    if not topics:
        raise BadInput(f"{path}: no queries in it")
    return topics


def _read_records(path: Path, records: Records) -> dict[str, str]:
    topics: dict[str, str] = {}
    for number, record in records:
        id, text = id_of(first_of(record, _IDS)), first_of(record, _TEXTS)
        if id is None or not isinstance(text, str):
            bad_line(path, number, 'no "_id" or no "text" in this query')
        _put(topics, id, text, path, number)
    return topics


def _read_tsv(path: Path) -> dict[str, str]:
    topics: dict[str, str] = {}
    for number, line in numbered_lines(path):
        id, tab, text = text_of(line, path, number).partition("\t")
        if not tab:
            bad_line(path, number, "no tab; expected: query id, tab, text")
        if not topics and (_plain(id), _plain(text)) in _HEADERS:
            continue
        _put(topics, id.strip(), text.strip(), path, number)
    return topics


def _plain(name: str) -> str:
    return re.sub(r"[-_ ]", "", name.strip().lower())


@dataclass
class _Topic:
    line: int  # of its title, else where it begins
    fields: dict[str, list[str]]  # as `_FIELDS` calls them, line by line

    def text(self, name: str) -> str:
        text = _CDATA.sub(lambda found: html.escape(found[1]), " ".join(self.fields.get(name, [])))
        return html.unescape(_LABEL.sub("", " ".join(text.split()), 1))


def _read_tagged(path: Path) -> dict[str, str]:
    found = _tagged(path)
    kinds = {"title": "<title>", "topic": "text", "description": "<desc>"}
    kind = next((kind for kind in kinds if any(topic.text(kind) for topic in found)), "title")
    without = sum(not topic.text(kind) for topic in found)
    topics: dict[str, str] = {}
    for topic in found:
        id, text = topic.text("id").partition(" ")[0], topic.text(kind)
        if not id:
            bad_line(path, topic.line, "<title> before any <num>")
        if not text:
            counted = f"{without} of {len(found)} topics have none"
            bad_line(path, topic.line, f"query {id!r} has no {kinds[kind]}; {counted}")
        _put(topics, id, text, path, topic.line)
    return topics


def _tagged(path: Path) -> list[_Topic]:
    # <num> Number: 301 <title> Topic: ...; closing tags are optional in TREC's own files
    found: list[_Topic] = []
    topic: _Topic | None = None
    field: list[str] | None = None  # the lines of what is being read, if it is wanted
    for number, raw in numbered_lines(path):
        line, at = text_of(raw, path, number), 0
        for tag in _TAG.finditer(line):
            name, opens = _FIELDS.get(tag[2].lower()), not tag[1]
            if name is None and line[: tag.start()].strip():
                continue  # what begins a line ends a field, known or not
            if field is not None:
                field.append(line[at : tag.start()])
            field, at = None, tag.end()
            if name == "topic":
                topic = None
            if not name or not opens:
                continue
            if topic is None or (name == "id" and topic.fields.keys() & {"title", "description"}):
                topic = _Topic(number, {})
                found.append(topic)
            if name == "title":
                topic.line = number
            if name == "topic" and (own := _NUMBER.search(tag[3])):
                topic.fields["id"] = [own[1]]
            if name == "id" or name not in topic.fields:
                field = topic.fields[name] = []
        if field is not None:
            field.append(line[at:])
    return found


def _put(topics: dict[str, str], id: str, text: str, path: Path, number: int) -> None:
    id = id.strip()  # as ids of judgements are
    if not id:
        bad_line(path, number, "empty query id")
    if not text.strip():
        bad_line(path, number, f"query {id!r} has no text")
    if id in topics:
        bad_line(path, number, f"query id {id!r} stands twice")
    topics[id] = text
