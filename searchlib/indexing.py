"""Documents in, rows of every field out: the pipeline between the readers and the index writer."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from json.encoder import encode_basestring_ascii as quoted
from operator import attrgetter

import numpy as np

from indexes.types import Record, TermVectors
from indexes.writer import Writer

from .errors import BadDocument
from .passages import passage_text
from .protocols import Encoder, Progress, Splitter, Vectors
from .types import Document

CHUNK_CHARACTERS = 200_000  # of text encoded together: enough to sort by length well
CHUNK_DOCUMENTS = 1024
UNCHANGED = "unchanged"  # a progress note: these were in the index already
COMMIT_SECONDS = 30.0  # at most this much work is lost when the plug is pulled

_Sourced = tuple[Document, str]  # a document and its origin
_Hashed = tuple[Document, bytes]  # a document and its content's hash
_TEXT, _PLACE = attrgetter("text"), attrgetter("start", "end")  # of a passage
_SURROGATE = re.compile("[\ud800-\udfff]")
_JSON = json.JSONEncoder(sort_keys=True, ensure_ascii=True, allow_nan=False)


@dataclass(frozen=True)
class AddReport:
    """What became of the documents that were given."""

    added: int = 0
    updated: int = 0  # an older version was replaced
    unchanged: int = 0  # the same content was there already: nothing was encoded
    skipped: int = 0  # bad or duplicate, where skipping was asked for
    passages: int = 0  # written
    seconds: float = 0.0

    @property
    def documents(self) -> int:
        """All that were read."""
        return self.added + self.updated + self.unchanged + self.skipped


def content_hash(document: Document) -> bytes:
    """16 bytes that differ when anything of the document but its id differs."""
    metadata = _JSON.encode(document.metadata) if document.metadata else "{}"
    content = f"[{quoted(document.title)}, {quoted(document.text)}, {metadata}]"
    return hashlib.blake2b(content.encode("ascii"), digest_size=16).digest()


class SeenIds:
    """Ids met in one run and where, kept on disk so that memory does not grow with them."""

    def __init__(self) -> None:
        # subtle: the empty name gives SQLite a private temporary file, deleted on close
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("pragma journal_mode = off")
        self._db.execute(
            "create table seen (id text primary key, number integer, origin text) without rowid"
        )
        self._count = 0

    def repeated(self, met: Sequence[tuple[str, str]]) -> dict[int, str]:
        """Which of these (id, origin) were met before, by place, and the origin of the first."""
        first, self._count = self._count, self._count + len(met)
        rows = ((id, first + place, origin) for place, (id, origin) in enumerate(met))
        before = self._db.total_changes
        self._db.execute("begin")
        self._db.executemany("insert or ignore into seen values (?, ?, ?)", rows)
        self._db.execute("commit")
        if self._db.total_changes - before == len(met):
            return {}
        find = "select number, origin from seen where id = ?"
        known = [self._db.execute(find, (id,)).fetchone() for id, _ in met]
        return {
            place: origin for place, (number, origin) in enumerate(known) if number != first + place
        }

    def close(self) -> None:
        """Drop the temporary file."""
        self._db.close()


@dataclass(frozen=True)
class Pipeline:
    """Turns documents into a writer's records and rows.

    `words` is BM25's encoder, for whole documents and passages; `passage_encoders` name a field
    each. `splitter` cuts a document into passages; `hashes` tells the content hashes of the
    documents that the index holds already, by id.
    """

    words: Encoder
    passage_encoders: Mapping[str, Encoder]
    splitter: Splitter
    hashes: Callable[[Sequence[str]], Mapping[str, bytes]]

    def add(
        self,
        writer: Writer,
        documents: Iterable[tuple[Document, str]],
        *,
        skip_bad: bool,
        on_bad: Callable[[str], None],
        on_progress: Progress,
        total: int | None,
    ) -> AddReport:
        """Encode and write (document, origin) pairs, committing now and then and at the end.

        Ctrl-C commits what is encoded before it goes on its way.

        Raises:
            BadDocument: an id that stands twice, or is not usable, unless `skip_bad`.
        """
        started = time.monotonic()
        report = AddReport()
        last_commit = started
        try:
            for chunk, skipped in _checked(documents, skip_bad, on_bad):
                report = replace(report, skipped=report.skipped + skipped)
                on_progress(report.documents, total)
                report = self._add_chunk(writer, chunk, report, on_progress, total)
                if time.monotonic() - last_commit > COMMIT_SECONDS:
                    writer.commit()
                    last_commit = time.monotonic()
        except KeyboardInterrupt:
            writer.commit()  # subtle: safe anywhere, an interrupted add or commit is undone whole
            raise
        writer.commit()
        return replace(report, seconds=time.monotonic() - started)

    def _add_chunk(
        self,
        writer: Writer,
        chunk: list[_Hashed],
        report: AddReport,
        on_progress: Progress,
        total: int | None,
    ) -> AddReport:
        known = self.hashes([document.id for document, _ in chunk])
        changed = [(document, hash) for document, hash in chunk if known.get(document.id) != hash]
        fresh = [document for document, _ in changed]
        unchanged = len(chunk) - len(fresh)
        updated = sum(1 for document in fresh if document.id in known)
        report = replace(report, unchanged=report.unchanged + unchanged)
        passages = 0
        if fresh:
            records, texts = self._split(changed)
            rows: dict[str, Vectors] = dict(self._counts(fresh, texts))
            done = report.documents
            for number, (name, encoder) in enumerate(self.passage_encoders.items()):
                share = int(len(fresh) * number / len(self.passage_encoders))
                on_progress(done + share, total, name)
                rows[name] = encode_distinct(encoder, texts)
            writer.add(records, rows)
            passages = len(texts)
        report = replace(
            report,
            added=report.added + len(fresh) - updated,
            updated=report.updated + updated,
            passages=report.passages + passages,
        )
        on_progress(report.documents, total, "" if fresh else UNCHANGED)
        return report

    def _counts(self, documents: Sequence[Document], texts: list[str]) -> dict[str, TermVectors]:
        """BM25's rows of documents and of passages; the same object where these are the same."""
        whole = [passage_text(document.title, document.text) for document in documents]
        if whole == texts:
            counts = encode_distinct(self.words, whole)
            assert isinstance(counts, TermVectors)
            return {"bm25": counts, "bm25_passage": counts}
        counts = encode_distinct(self.words, whole + texts)
        assert isinstance(counts, TermVectors)
        return {
            "bm25": counts.select(0, len(whole)),
            "bm25_passage": counts.select(len(whole), len(counts)),
        }

    def _split(self, documents: list[_Hashed]) -> tuple[list[Record], list[str]]:
        records: list[Record] = []
        texts: list[str] = []
        for document, hash in documents:
            passages = self.splitter(document)
            texts += map(_TEXT, passages)
            places = tuple(map(_PLACE, passages))
            records.append(
                Record(document.id, document.title, document.text, document.metadata, hash, places)
            )
        return records, texts


def with_origins(
    documents: Iterable[Document | tuple[Document, str]],
) -> Iterator[tuple[Document, str]]:
    """(document, origin) pairs; a bare document's origin is its number."""
    for number, item in enumerate(documents, 1):
        if isinstance(item, Document):
            yield item, f"document {number}"
        else:
            yield item


def _checked(
    documents: Iterable[tuple[Document, str]], skip_bad: bool, on_bad: Callable[[str], None]
) -> Iterator[tuple[list[_Hashed], int]]:
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


def _accept(chunk: Sequence[_Sourced], seen: SeenIds) -> tuple[list[_Hashed], list[str]]:
    """The documents that can be indexed, with their hashes; what is wrong with the others."""
    hashes: dict[int, bytes] = {}
    problems: dict[int, str] = {}
    for place, (document, origin) in enumerate(chunk):
        try:
            hashes[place] = _hash(document, origin)
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


def _hash(document: Document, origin: str) -> bytes:
    """The hash of a document that can be indexed; BadDocument for one that cannot."""
    if not document.id:
        raise BadDocument(f"{origin}: empty document id; every document needs one")
    if not document.id.isascii() and _SURROGATE.search(document.id):
        raise BadDocument(f"{origin}: document id {document.id!r} is not valid Unicode")
    try:
        return content_hash(document)
    except (ValueError, TypeError, RecursionError):
        raise BadDocument(
            f"{origin}: the metadata of {document.id!r} is not JSON (no NaN, no endless nesting)"
        ) from None


def _chunks(documents: Iterable[_Sourced]) -> Iterator[list[_Sourced]]:
    chunk: list[_Sourced] = []
    characters = 0
    for item in documents:
        chunk.append(item)
        characters += len(item[0].text)
        if characters >= CHUNK_CHARACTERS or len(chunk) >= CHUNK_DOCUMENTS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def encode_distinct(encoder: Encoder, texts: Sequence[str]) -> Vectors:
    """One row a text; equal texts are encoded once, so that they score exactly the same."""
    places: dict[str, int] = {}
    rows = np.array([places.setdefault(text, len(places)) for text in texts], np.int64)
    vectors = encoder.encode_document(list(places))
    if len(places) == len(texts):
        return vectors
    return vectors[rows] if isinstance(vectors, np.ndarray) else vectors.take(rows)


def no_progress(done: int, total: int | None, note: str = "") -> None:
    """Ignore progress."""
