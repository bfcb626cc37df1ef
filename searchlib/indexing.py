"""Documents in, rows of every field out: the pipeline between the readers and the index writer."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter

import numpy as np

from indexes.errors import StorageFailed
from indexes.manifest import VectorField
from indexes.snapshot import Snapshot
from indexes.threads import in_runs
from indexes.types import Record, TermVectors
from indexes.writer import Writer

from .cache import VectorCache
from .intake import Hashed, Sourced, checked, is_chunk
from .known import Earlier, encode_once
from .passages import passage_text
from .protocols import Encoder, Progress, Splitter, Vectors
from .types import Document, Passage

UNCHANGED = "unchanged"  # a progress note: these were in the index already
COMMIT_SECONDS = 30.0  # at most this much work is lost when the plug is pulled
SOON = 24 * 2**20  # bytes that are committed in a moment: who presses Ctrl-C does not wait longer

_TEXT, _PLACE = attrgetter("text"), attrgetter("start", "end")  # of a passage


@dataclass(frozen=True)
class AddReport:
    """What became of the documents that were given."""

    added: int = 0
    updated: int = 0  # an older version was replaced
    unchanged: int = 0  # the same content was there already: nothing was encoded
    skipped: int = 0  # bad or duplicate, where skipping was asked for
    passages: int = 0  # written
    encoded: int = 0  # passages that a model had to read
    known: int = 0  # passages, unchanged ones too, whose vectors were there; both 0 without models
    seconds: float = 0.0

    @property
    def documents(self) -> int:
        """All that were read."""
        return self.added + self.updated + self.unchanged + self.skipped


def total_of(reports: Sequence[AddReport]) -> AddReport:
    """What became of the documents of several runs."""
    names = [field.name for field in fields(AddReport)]
    return AddReport(**{name: sum(getattr(r, name) for r in reports) for name in names})


def nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Pipeline:
    """Turns documents into a writer's records and rows, each vector made once.

    `words` is BM25's encoder, for whole documents and passages; `passage_encoders` name a field
    each. `splitter` cuts a document into passages; `snapshot` is the index as it is before.
    `cache` and `earlier` know vectors that were made already. `before_commit` is called before
    each commit.
    """

    words: Encoder
    passage_encoders: Mapping[str, Encoder]
    splitter: Splitter
    snapshot: Snapshot
    cache: VectorCache
    earlier: Earlier
    before_commit: Callable[[], None] = nothing

    def add(
        self,
        writer: Writer,
        documents: Iterable[Sourced],
        *,
        skip_bad: bool,
        on_bad: Callable[[str], None],
        on_progress: Progress,
        total: int | None,
    ) -> AddReport:
        """Encode and write (document, origin) pairs, committing now and then and at the end.

        Ctrl-C commits what is encoded before it goes on its way, unless that took seconds.

        Raises:
            BadDocument: an id that stands twice, or is not usable, unless `skip_bad`.
        """
        chunks = checked(documents, skip_bad, on_bad)
        return self.add_hashed(writer, chunks, on_progress=on_progress, total=total)

    def add_hashed(
        self,
        writer: Writer,
        chunks: Iterable[tuple[list[Hashed], int]],
        *,
        on_progress: Progress,
        total: int | None,
    ) -> AddReport:
        """The same for documents that were checked: chunks of them, and how many were skipped."""
        started = last_commit = time.monotonic()
        report = AddReport()
        changed: list[Hashed] = []
        try:
            for chunk, skipped in chunks:
                report = replace(report, skipped=report.skipped + skipped)
                on_progress(report.documents, total)
                changed += (fresh := self._changed(chunk))
                report = self._pass_over(chunk, fresh, report)
                if fresh or not chunk:
                    on_progress(report.documents, total)
                else:
                    on_progress(report.documents, total, UNCHANGED)
                if is_chunk(len(changed), sum(len(document.text) for document, _ in changed)):
                    report = self._write(writer, changed, report, on_progress, total)
                    changed = []
                    if time.monotonic() - last_commit > COMMIT_SECONDS:
                        self._commit(writer)
                        last_commit = time.monotonic()
            report = self._write(writer, changed, report, on_progress, total)
        except KeyboardInterrupt:
            if writer.nbytes <= SOON:
                self._commit(writer)  # subtle: safe anywhere, an interrupted add is undone whole
            raise
        except Exception as error:  # a bad line, or whoever gives the documents
            if writer.nbytes and not isinstance(error, StorageFailed):
                with contextlib.suppress(Exception):  # what went wrong first is what counts
                    self._commit(writer)
            raise
        self._commit(writer)
        return replace(report, seconds=time.monotonic() - started)

    def _commit(self, writer: Writer) -> None:
        self.before_commit()
        writer.commit()

    def _changed(self, chunk: Sequence[Hashed]) -> list[Hashed]:
        """Those documents that the index does not have, or has with other content."""
        known = self.snapshot.hashes([document.id for document, _ in chunk])
        return [(document, hash) for document, hash in chunk if known.get(document.id) != hash]

    def _pass_over(
        self, chunk: Sequence[Hashed], changed: Sequence[Hashed], report: AddReport
    ) -> AddReport:
        """The report with the documents of a chunk that did not change."""
        unchanged = len(chunk) - len(changed)
        if not unchanged:
            return report
        report = replace(report, unchanged=report.unchanged + unchanged)
        if not self.passage_encoders:
            return report
        ids = {document.id for document, _ in chunk} - {document.id for document, _ in changed}
        passages = int(self.snapshot.passages_of_each(self.snapshot.lookup(list(ids)))[1].sum())
        return replace(report, known=report.known + passages)

    def _write(
        self,
        writer: Writer,
        documents: Sequence[Hashed],
        report: AddReport,
        on_progress: Progress,
        total: int | None,
    ) -> AddReport:
        """Encode documents that changed and hand them to the writer."""
        if not documents:
            return report
        replaced = self.snapshot.lookup([document.id for document, _ in documents])
        updated = int(np.count_nonzero(replaced >= 0))
        records, texts = self._split(documents)
        rows: dict[str, Vectors] = dict(
            self._counts([document for document, _ in documents], texts)
        )
        earlier = self.earlier.passages(documents, texts if self.passage_encoders else [])
        encoded: set[str] = set()
        for number, (name, encoder) in enumerate(self.passage_encoders.items()):
            share = int(len(documents) * number / len(self.passage_encoders))
            on_progress(report.documents + share, total, name)
            spec = writer.fields[name]
            rows[name], unknown = encode_once(
                encoder,
                name,
                texts,
                dimension=spec.dim if isinstance(spec, VectorField) else None,
                cache=self.cache,
                earlier=earlier,
            )
            encoded.update(unknown)
        writer.add(records, rows)
        known = len(texts) - len(encoded) if self.passage_encoders else 0
        report = replace(
            report,
            added=report.added + len(documents) - updated,
            updated=report.updated + updated,
            passages=report.passages + len(texts),
            encoded=report.encoded + len(encoded),
            known=report.known + known,
        )
        on_progress(report.documents, total)
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

    def _split(self, documents: Sequence[Hashed]) -> tuple[list[Record], list[str]]:
        records: list[Record] = []
        texts: list[str] = []
        for (document, hash), passages in zip(documents, self._passages(documents), strict=True):
            texts += map(_TEXT, passages)
            places = tuple(map(_PLACE, passages))
            records.append(
                Record(document.id, document.title, document.text, document.metadata, hash, places)
            )
        return records, texts

    def _passages(self, documents: Sequence[Hashed]) -> list[list[Passage]]:
        """Of each document; on several cores where a model's tokenizer says where to cut."""

        def some(part: Sequence[Hashed]) -> list[list[Passage]]:
            return [self.splitter(document) for document, _ in part]

        return in_runs(some, documents) if self.passage_encoders else some(documents)


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
