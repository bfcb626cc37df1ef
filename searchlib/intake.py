"""Documents on their way in: which can be indexed, each once, with the hash of its content."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from json.encoder import encode_basestring_ascii as json_text

from indexes.errors import StorageFailed
from indexes.metadata import storable, too_deep
from indexes.refusals import refused_by

from .errors import BadDocument, BadInput
from .types import Document
from .unstorable import first_problem

CHUNK_CHARACTERS = 200_000  # of text encoded together: enough to sort by length well
CHUNK_DOCUMENTS = 1024

Sourced = tuple[Document, str]  # a document and its origin
Hashed = tuple[Document, bytes]  # a document and its content's hash
_SURROGATE = re.compile("[\ud800-\udfff]")
_JSON = json.JSONEncoder(sort_keys=True, ensure_ascii=True, allow_nan=False)


def content_hash(document: Document) -> bytes:
    """16 bytes that differ when anything of the document but its id differs."""
    metadata = _JSON.encode(document.metadata) if document.metadata else "{}"
    content = f"[{json_text(document.title)}, {json_text(document.text)}, {metadata}]"
    return hashlib.blake2b(content.encode("ascii"), digest_size=16).digest()


def words_hash(title: str, text: str) -> bytes:
    """16 bytes that differ when a document's title or text differs."""
    content = f"[{json_text(storable(title))}, {json_text(storable(text))}]"
    return hashlib.blake2b(content.encode("ascii"), digest_size=16).digest()


def storable_hash(document: Document) -> bytes:
    """`content_hash`; ValueError, a sentence, where the metadata cannot be stored."""
    try:
        hash = content_hash(document)
        if document.metadata and too_deep(document.metadata):
            raise ValueError
    except (ValueError, TypeError, RecursionError) as error:
        problem = first_problem(document.metadata) or str(error)
        raise ValueError(
            f"the metadata of {document.id!r} cannot be kept: must be JSON, but {problem}"
        ) from None
    return hash


class SeenIds:
    """Ids met in one run and where, kept on disk so that memory does not grow with them."""

    def __init__(self) -> None:
        # subtle: the empty name gives SQLite a private temporary file, deleted on close
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("pragma journal_mode = off")
        self._db.execute(
            "create table seen (id blob primary key, number integer, origin text) without rowid"
        )
        self._count = 0

    def repeated(self, met: Sequence[tuple[str, str]]) -> dict[int, str]:
        """Which of these (id, origin) were met before, by place, and the origin of the first."""
        with self._refusal_told():
            return self._repeated(met)

    def _repeated(self, met: Sequence[tuple[str, str]]) -> dict[int, str]:
        first, self._count = self._count, self._count + len(met)
        names = [id.encode("utf-8", "surrogatepass") for id, _ in met]  # what is no id may be asked
        rows = ((names[place], first + place, origin) for place, (_, origin) in enumerate(met))
        before = self._db.total_changes
        self._db.execute("begin")
        self._db.executemany("insert or ignore into seen values (?, ?, ?)", rows)
        self._db.execute("commit")
        if self._db.total_changes - before == len(met):
            return {}
        find = "select number, origin from seen where id = ?"
        known = [self._db.execute(find, (name,)).fetchone() for name in names]
        return {
            place: origin for place, (number, origin) in enumerate(known) if number != first + place
        }

    @contextmanager
    def _refusal_told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            reason = refused_by(error) or str(error)
            raise StorageFailed(
                f"cannot write a temporary file: {reason} (TMPDIR names its folder)"
            ) from None

    def close(self) -> None:
        """Drop the temporary file."""
        self._db.close()


def with_origins(
    documents: Iterable[Document | tuple[Document, str]],
) -> Iterator[tuple[Document, str]]:
    """(document, origin) pairs; a bare document's origin is its number.

    Raises BadInput for what is neither, or no list of documents.
    """
    if isinstance(documents, Document) or not isinstance(documents, Iterable):
        kind = type(documents).__name__
        raise BadInput(f"documents must be a list or the like, not {kind}; write [document]")
    return _with_origins(documents)


def _with_origins(
    documents: Iterable[Document | tuple[Document, str]],
) -> Iterator[tuple[Document, str]]:
    for number, item in enumerate(documents, 1):
        if isinstance(item, Document):
            yield item, f"document {number}"
        elif isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], Document):
            yield item
        else:
            raise BadInput(
                f"document {number} is no Document but {type(item).__name__}; "
                'write Document("id", "text")'
            )


def checked(
    documents: Iterable[tuple[Document, str]], skip_bad: bool, on_bad: Callable[[str], None]
) -> Iterator[tuple[list[Hashed], int]]:
    """Chunks of documents that can be indexed, with their hashes, and how many were skipped."""
    seen = SeenIds()
    try:
        for chunk in _chunks(documents):
            hashed, problems = _accept(chunk, seen)
            for problem in problems:
                if not skip_bad:
                    raise BadDocument(problem)
                on_bad(problem)
            yield hashed, len(problems)
    finally:
        seen.close()


def _accept(chunk: Sequence[Sourced], seen: SeenIds) -> tuple[list[Hashed], list[str]]:
    """The documents that can be indexed, with their hashes; what is wrong with the others."""
    hashes: dict[int, bytes] = {}
    problems: dict[int, str] = {}
    for place, (document, origin) in enumerate(chunk):
        try:
            hashes[place] = checked_hash(document, origin)
        except BadDocument as problem:
            problems[place] = str(problem)
    places = list(hashes)
    repeated = seen.repeated([(chunk[place][0].id, chunk[place][1]) for place in places])
    for i, first in repeated.items():
        document, origin = chunk[places[i]]
        problems[places[i]] = (
            f"{origin}: id {document.id!r} was already given at {first}; ids must be unique"
        )
        del hashes[places[i]]
    hashed = [(chunk[place][0], hash) for place, hash in hashes.items()]
    return hashed, [problems[place] for place in sorted(problems)]


def checked_hash(document: Document, origin: str) -> bytes:
    """The hash of a document that can be indexed; BadDocument for one that cannot."""
    for name, value in (("id", document.id), ("text", document.text), ("title", document.title)):
        if not isinstance(value, str):
            raise BadDocument(f"{origin}: its {name} is {type(value).__name__}, must be a text")
    if document.metadata is not None and not isinstance(document.metadata, dict):
        kind = type(document.metadata).__name__
        raise BadDocument(f"{origin}: the metadata of {document.id!r} are {kind}, must be a dict")
    if not document.id:
        raise BadDocument(f"{origin}: empty document id; every document needs one")
    if not document.id.isascii() and _SURROGATE.search(document.id):
        raise BadDocument(f"{origin}: document id {document.id!r} is not valid Unicode")
    try:
        return storable_hash(document)
    except ValueError as error:
        raise BadDocument(f"{origin}: {error}") from None


def _chunks(documents: Iterable[Sourced]) -> Iterator[list[Sourced]]:
    chunk: list[Sourced] = []
    characters = 0
    for item in documents:
        chunk.append(item)
        characters += len(item[0].text) if isinstance(item[0].text, str) else 0
        if is_chunk(len(chunk), characters):
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def is_chunk(documents: int, characters: int) -> bool:
    """Whether so many documents of so many characters are enough to be encoded together."""
    return characters >= CHUNK_CHARACTERS or documents >= CHUNK_DOCUMENTS
