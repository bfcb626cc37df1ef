"""The facade: one object to create or open an index, add, delete, search, explain and expand."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from indexes.similarity import Dot, IdfDot, Similarity
from indexes.snapshot import Snapshot
from indexes.types import TopK, Unit
from indexes.writer import Writer

from .browsing import listed, sorted_matches
from .cache import open_cache
from .config import Settings
from .encoders.analyzer import Analyzer
from .encoders.lookup import LookupEncoder
from .encoders.sparse import SparseEncoder
from .errors import BadQuery, check_k
from .expansion import Expansion, expand_with
from .fused import Fused, ReciprocalRank
from .fusion import Normaliser, z_score
from .hits import make_hits
from .indexing import AddReport, Pipeline, no_progress, with_origins
from .known import Earlier
from .maintenance import Maintenance, maintain
from .paging import Page, check_offset, make_cursor, ranked_part, read_cursor
from .protocols import Encoder, Progress, Splitter
from .provenance import term_sources
from .representations import make_encoder, make_encoders, make_fields, make_splitter
from .retrievers import (
    FieldRetriever,
    QueryCache,
    Scorer,
    check_fingerprint,
    explained,
    ranked_ids,
)
from .types import Document, Explanation, Hit, Ranking
from .updating import Edit, UpdateReport, patched, replaced, update_metadata

if TYPE_CHECKING:
    from .formats.options import ReadOptions
    from .sync import SyncReport

MEMORY = 256 << 20  # bytes that indexing may hold, beside the models
FLUSH = 3  # writing a buffer out takes about twice its size besides


class Engine:
    """An index on disk and the encoders that belong to it.

    >>> import tempfile
    >>> folder = tempfile.mkdtemp() + "/songs.index"
    >>> settings = Settings(dense_model=None, sparse_model=None)
    >>> with Engine.create(folder, settings) as engine:
    ...     report = engine.add([Document("a", "The blues band played their best songs")])
    ...     [hit.id for hit in engine.search("best song")]
    ['a']
    """

    def __init__(self, path: Path, snapshot: Snapshot, device: str | None, memory: int) -> None:
        self.path = path
        self.snapshot = snapshot
        self.settings = Settings.from_json(dict(snapshot.settings))
        self._device = device
        self._memory = memory
        self._caches: dict[str, QueryCache] = {}

    # -- opening and closing

    @staticmethod
    def create(
        path: str | Path,
        settings: Settings | None = None,
        *,
        device: str | None = None,
        memory: int = MEMORY,
    ) -> Engine:
        """A new, empty index in folder `path`.

        `device`: "cpu", "cuda", "cuda:1", "mps" or None for the best there is. `memory`: bytes
        that indexing may hold, about, beside the models.

        Raises:
            IndexExists: there is something at `path` already.
            ModelNotFound: a model's files are nowhere to be found.
        """
        settings = (settings or Settings()).resolved()
        fields = tuple(make_fields(settings, make_encoders(settings, device)))
        Writer.create(path, fields, settings.to_json()).close()
        return Engine.open(path, device=device, memory=memory)

    @staticmethod
    def open(path: str | Path, *, device: str | None = None, memory: int = MEMORY) -> Engine:
        """The index in folder `path`; models are loaded when they are first needed.

        Raises:
            NoIndex: there is none.
            Damaged: a file is missing or not what the manifest says.
        """
        return Engine(Path(path), Snapshot.open(path), device, memory)

    def close(self) -> None:
        """Let go of the index's files."""
        self.snapshot.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def refresh(self) -> None:
        """See what other processes have committed since this index was opened."""
        snapshot = Snapshot.open(self.path)
        self.snapshot.close()
        fields, self.snapshot = self.snapshot.fields, snapshot
        settings = Settings.from_json(dict(snapshot.settings))
        if settings != self.settings or snapshot.fields != fields:  # it was re-encoded
            self.settings = settings
            self._caches.clear()
            self.__dict__.pop("_lookup", None)

    # -- writing

    def add(
        self,
        documents: Iterable[Document | tuple[Document, str]],
        *,
        skip_bad: bool = False,
        on_bad: Callable[[str], None] = lambda problem: None,
        on_progress: Progress = no_progress,
        total: int | None = None,
        cache: str | Path | None = None,
    ) -> AddReport:
        """Index documents, replacing those whose id is there with other content.

        Documents may come with their origin ("file:line"), which errors then name. Work is
        committed now and then; an interrupted run, repeated, goes on where it stopped. A passage
        is encoded only if its vectors are not known: from this run, from the version of its
        document that is replaced, or from `cache`, a file that many indexes may share (see
        `searchlib.cache`).

        Raises:
            BadInput: an empty or repeated id, unless `skip_bad`, which counts it and tells
                `on_bad`; or `cache` is something else.
            Locked: another process is writing.
        """
        with self.writing(cache) as (writer, pipeline):
            report = pipeline.add(
                writer,
                with_origins(documents),
                skip_bad=skip_bad,
                on_bad=on_bad,
                on_progress=on_progress,
                total=total,
            )
            writer.finish()
        self.refresh()
        return report

    def sync(
        self,
        folder: str | Path,
        options: ReadOptions | None = None,
        *,
        dry_run: bool = False,
        allow_empty: bool = False,
        on_bad: Callable[[str], None] = lambda problem: None,
        on_progress: Progress = no_progress,
        cache: str | Path | None = None,
    ) -> SyncReport:
        """Make the index say of a folder's documents what its files say now.

        Files are compared by their content. What is new or changed is indexed as by `add`;
        documents that an earlier sync of this folder brought, and that are in none of its files
        any more, are removed, others never. Nothing is written where nothing changed.

        `options`: how files are read. With `dry_run` nothing is written, only counted.

        Raises:
            BadInput: there is no such folder, or a file cannot be read (unless
                `options.skip_bad`: then `on_bad` is told, and what is there of it stays); or the
                folder is empty now and was not (unless `allow_empty`).
            Locked: another process is writing.
        """
        from .claims import Claims
        from .formats.options import ReadOptions
        from .sync import FolderSync, compare_folder, sync_folder

        where, asked = Path(folder), options or ReadOptions()
        if dry_run:
            self.refresh()
            with Claims.copy_of(self.path) as claims:
                run = FolderSync(where, asked, claims, self.snapshot, on_bad)
                return compare_folder(run, claims, self.snapshot)
        with self.writing(cache) as (writer, pipeline), Claims(self.path) as claims:
            run = FolderSync(where, asked, claims, self.snapshot, on_bad)
            report = sync_folder(
                run, claims, writer, pipeline, allow_empty=allow_empty, on_progress=on_progress
            )
        self.refresh()
        return report

    def reencode(
        self,
        settings: Settings,
        *,
        on_progress: Progress = no_progress,
        cache: str | Path | None = None,
    ) -> AddReport:
        """Make the index what it would be had it been created with these settings.

        The new one is made beside, from the documents that are here, and takes over in one
        commit; until then the old one serves, and may be written to. What both settings encode
        alike is not encoded again. An interrupted run, repeated, goes on where it stopped. The
        disk holds both meanwhile. With the settings that it has, an index is made anew only if a
        model was changed.

        Raises:
            BadInput: a re-encoding with other settings was begun (see `abandon_reencoding`).
            Locked: another process is at work on the same, or does not end to write.
            ModelNotFound: a model's files are nowhere to be found.
        """
        from .successor import reencode

        settings = settings.resolved()
        encoders = make_encoders(settings, self._device)
        fields = {spec.name: spec for spec in make_fields(settings, encoders)}
        return reencode(
            self,
            settings,
            fields,
            open_new=functools.partial(Engine.open, device=self._device, memory=self._memory),
            create=functools.partial(Engine.create, device=self._device, memory=self._memory),
            on_progress=on_progress,
            cache=cache,
        )

    def abandon_reencoding(self) -> None:
        """Give up a re-encoding that was begun and not finished, if there is one.

        Raises:
            Locked: a process is at work on it.
        """
        from .successor import FOLDER, discard

        discard(self.path / FOLDER)

    def splitter(self) -> Splitter:
        """How the documents that are here were cut into passages.

        Raises:
            ModelMismatch, ModelNotFound: it is not known, for want of the model that says so.
        """
        return make_splitter(self.settings, self._document_encoders())

    @contextmanager
    def writing(self, cache: str | Path | None = None) -> Iterator[tuple[Writer, Pipeline]]:
        """The index's writer and what encodes for it; the snapshot is the last commit within.

        For those who write in ways of their own (`sync`, `successor`).

        Raises:
            Locked: another process is writing.
        """
        self._document_encoders()  # whatever is wrong with the models is told first
        with (
            open_cache(cache) as vectors,
            Writer.open(self.path, memory_budget=self._memory // FLUSH) as writer,
        ):
            self.refresh()  # nobody else can write from here on
            encoders = self._document_encoders()
            splitter = make_splitter(self.settings, encoders)
            earlier = Earlier(self.snapshot, splitter)
            words = encoders.pop("bm25")
            yield writer, Pipeline(words, encoders, splitter, self.snapshot, vectors, earlier)

    def update(self, changes: Iterable[tuple[str, Mapping[str, Any]]]) -> UpdateReport:
        """Change the metadata of documents, (id, what changes) each; nothing is encoded.

        Keys are set to their values, and removed where the value is None; an object changes the
        keys of the one that is there (a JSON merge patch). All or nothing, in one commit.

        Raises:
            BadInput: an id stands twice, or new metadata are not JSON.
            Locked: another process is writing.

        >>> engine.update([("note-1", {"year": 2020, "draft": None})])  # doctest: +SKIP
        UpdateReport(updated=1, unchanged=0, missing=())
        """
        return self._update(changes, patched)

    def replace_metadata(self, metadata: Iterable[tuple[str, Mapping[str, Any]]]) -> UpdateReport:
        """Give documents new metadata, (id, all of them) each; else as `update`."""
        return self._update(metadata, replaced)

    def delete(self, ids: Iterable[str]) -> int:
        """Remove documents by id; how many there were."""
        with self._writer() as writer:
            return self._delete(writer, list(ids))

    def delete_where(self, where: str) -> int:
        """Remove the documents that a filter on metadata selects; how many there were.

        Raises:
            BadFilter: `where` cannot be parsed; an empty one is none.
        """
        with self._writer() as writer:
            return self._delete(writer, self.ids_where(where))

    def ids_where(self, where: str) -> list[str]:
        """The ids of the documents that a filter on metadata selects. Raises BadFilter."""
        chosen = self.snapshot.select(where).documents
        return self.snapshot.ids(np.flatnonzero(np.concatenate([np.empty(0, np.bool_), *chosen])))

    def _update(self, changes: Iterable[tuple[str, Mapping[str, Any]]], edit: Edit) -> UpdateReport:
        with self._writer() as writer:
            report = update_metadata(writer, self.snapshot, changes, edit)
            writer.commit()
        self.refresh()
        return report

    def _delete(self, writer: Writer, ids: list[str]) -> int:
        deleted = writer.delete(ids)
        writer.finish()
        self.refresh()
        return deleted

    def merge(
        self, *, memory: int | None = None, on_progress: Progress = no_progress
    ) -> Maintenance:
        """Merge into as few segments as memory allows, without deleted documents.

        `memory`: bytes, about; the larger, the fewer segments (default: the index's, see `open`).
        Nothing need ever be merged by hand, but queries are fastest with one segment.

        Raises:
            Locked: another process is writing.
        """
        budget = max(1, (memory or self._memory) // FLUSH)
        report = maintain(self.path, budget, Writer.merge, on_progress)
        self.refresh()
        return report

    def vacuum(self, *, on_progress: Progress = no_progress) -> Maintenance:
        """Remove leftover files, and what deleted documents still take up on the disk.

        Raises:
            Locked: another process is writing.
        """
        report = maintain(self.path, self._memory // FLUSH, Writer.vacuum, on_progress)
        self.refresh()
        return report

    @contextmanager
    def _writer(self) -> Iterator[Writer]:
        """The writer, and its last commit as snapshot: nobody else can write meanwhile."""
        with Writer.open(self.path, memory_budget=self._memory // FLUSH) as writer:
            self.refresh()
            yield writer

    # -- searching

    def search(
        self,
        query: str,
        k: int = 10,
        *,
        retriever: str | Scorer = "hybrid",
        where: str | None = None,
        unit: Unit = "document",
        explain: bool = False,
        offset: int = 0,
        sort: str | None = None,
    ) -> list[Hit]:
        """The k best documents (or passages) for one query, with snippets.

        `retriever`: one of `retriever_names()`, or a retriever. `where`: a filter on metadata
        such as `year >= 2001 and lang in ("en", "fr")`, applied before the best k are taken.
        `offset`: how many of the ranking to pass over. `sort`: a field, "year" or "-year"
        (largest first), by which all documents that share a term with the query are sorted.

        Raises:
            BadQuery: an empty query, k below 1, or an unknown retriever; `sort` with passages,
                or with a retriever that matches everything.
            BadFilter: `where` or `sort` cannot be parsed.
        """
        if not query.strip():
            raise BadQuery("the query is empty; give at least one word")
        check_k(k)
        check_offset(offset)
        scorer = self._scorer(retriever)
        selection = self.snapshot.select(where) if where else None
        if sort is None:
            top = ranked_part(scorer, query, selection, unit, offset=offset, k=k)
        elif unit == "passage":
            raise BadQuery("only documents are sorted by a field, not passages")
        else:
            found = sorted_matches(scorer, query, sort, offset + k, selection)
            top = TopK(found.ids[offset:], found.scores[offset:])
        hits = make_hits(
            scorer,
            query,
            top,
            selection,
            unit,
            analyzer=self._analyzer(),
            explain=(lambda id: scorer.explain_id(query, id, selection, unit)) if explain else None,
        )
        return [replace(hit, rank=hit.rank + offset) for hit in hits] if offset else hits

    def browse(
        self, k: int = 10, *, where: str | None = None, sort: str = "id", offset: int = 0
    ) -> list[Hit]:
        """k documents without a query: those that a filter selects, in the order of a field.

        `sort`: "year" or "-year" (largest first); numbers before texts, of a list the smallest
        (-: largest) member, documents without the field last, ties by id.

        Raises:
            BadQuery: k below 1, or an offset below 0.
            BadFilter: `where` or `sort` cannot be parsed.
        """
        check_k(k)
        check_offset(offset)
        selection = self.snapshot.select(where) if where else None
        return listed(self.snapshot, sort, offset + k, selection)[offset:]

    def page(
        self,
        query: str | None = None,
        k: int = 10,
        *,
        cursor: str | None = None,
        retriever: str = "hybrid",
        where: str | None = None,
        unit: Unit = "document",
        sort: str | None = None,
    ) -> Page:
        """The next k hits of `search`, or of `browse` without a query, and where to go on.

        Raises:
            BadQuery: as `search`; or `cursor` belongs to another commit of the index, or to
                another question.

        >>> page = engine.page("blues")  # doctest: +SKIP
        >>> page = engine.page("blues", cursor=page.cursor)  # doctest: +SKIP
        """
        asked = (query, retriever, where, unit, sort)
        generation = self.snapshot.generation
        offset = 0 if cursor is None else read_cursor(cursor, generation, asked)
        if query is None:
            hits = self.browse(k + 1, where=where, sort=sort or "id", offset=offset)
        else:
            hits = self.search(
                query, k + 1, retriever=retriever, where=where, unit=unit, sort=sort, offset=offset
            )
        more = make_cursor(generation, asked, offset + k) if len(hits) > k else None
        return Page(tuple(hits[:k]), more)

    def facets(
        self, field: str, *, where: str | None = None, top: int = 10
    ) -> list[tuple[str | int | float | bool, int]]:
        """The most frequent values of a field of the metadata, and how many documents have each.

        Of all documents or those that `where` selects; ties by value. Each member of a list
        counts.

        Raises:
            BadQuery: `top` below 1.
            BadFilter: `field` or `where` cannot be parsed.

        >>> engine.facets("lang", where="year >= 2001")  # doctest: +SKIP
        [('en', 12), ('fr', 3)]
        """
        check_k(top)
        return self.snapshot.facets(field, self.snapshot.select(where) if where else None, top)

    def rank(
        self,
        queries: Sequence[str],
        k: int = 1000,
        *,
        retriever: str | Scorer = "hybrid",
        where: str | None = None,
        unit: Unit = "document",
    ) -> list[Ranking]:
        """Many queries at once: ids and scores, without texts."""
        return ranked_ids(self._scorer(retriever), queries, k, where, unit)

    def explain(
        self,
        query: str,
        id: str,
        *,
        retriever: str | Scorer = "hybrid",
        where: str | None = None,
    ) -> Explanation:
        """Why document `id`, or passage "id#n", has the score it has for `query`.

        Raises:
            NotFound: no such document or passage.
        """
        return explained(self._scorer(retriever), query, id, where)

    def expand(self, text: str, k: int | None = None) -> list[Expansion]:
        """The terms that the sparse encoder makes of a text, heaviest first, at most k."""
        encoder = self._query_cache("sparse").encoder
        assert isinstance(encoder, SparseEncoder)
        return expand_with(encoder, text, k)

    # -- retrievers

    def retriever_names(self) -> list[str]:
        """What `retriever=` accepts here."""
        names = ["bm25", "bm25_passage"]
        if "sparse" in self.snapshot.fields:
            names += ["sparse", "lookup"]
        if "dense" in self.snapshot.fields:
            names.append("dense")
        return [*names, "hybrid"]

    def retriever(self, name: str) -> Scorer:
        """The retriever called `name`.

        "bm25", over whole documents; "bm25_passage", a document scoring as its best passage, as
        with the encoders; "sparse", learned expansion on both sides; "lookup", the same documents
        with inference-free queries; "dense"; "hybrid", which fuses "bm25_passage", "sparse" and
        "dense" (an index without models has "bm25" for it).

        Raises:
            BadQuery: there is none of that name in this index.
        """
        if name not in self.retriever_names():
            raise BadQuery(
                f"unknown retriever {name!r}; this index has {', '.join(self.retriever_names())}"
            )
        if name == "hybrid":
            weights = {
                "bm25_passage": self.settings.bm25_weight,
                "sparse": self.settings.sparse_weight,
                "dense": self.settings.dense_weight,
            }
            parts = [part for part in weights if part in self.retriever_names()]
            if len(parts) == 1:  # nothing to fuse: keep its scores as they are
                return self.retriever("bm25")
            return self.fused(parts, weights=[weights[part] for part in parts])
        similarity: Similarity | None = None
        fields: Mapping[Unit, str]
        if name == "bm25":
            fields = {"document": "bm25", "passage": "bm25_passage"}
        elif name == "bm25_passage":
            fields = {"document": "bm25_passage", "passage": "bm25_passage"}
        elif name == "lookup":
            fields = {"document": "sparse", "passage": "sparse"}
            similarity = Dot() if self._lookup.has_table else IdfDot()
        else:
            fields = {"document": name, "passage": name}
        sources = self._sources if "sparse" in fields.values() else None
        cache = self._query_cache("bm25" if name == "bm25_passage" else name)
        return FieldRetriever(name, self.snapshot, fields, cache, similarity, sources)

    def fused(
        self,
        parts: Sequence[str | Scorer],
        *,
        weights: Sequence[float] | None = None,
        method: Normaliser | Sequence[Normaliser] | ReciprocalRank = z_score,
        depth: int = 50,
    ) -> Fused:
        """A fusion of retrievers over complete scores (see `searchlib.fused.Fused`)."""
        scorers = tuple(self._scorer(part) for part in parts)
        if not isinstance(method, ReciprocalRank):
            method = (method,) * len(scorers) if callable(method) else tuple(method)
        shares = tuple(weights) if weights is not None else (1.0,) * len(scorers)
        return Fused("hybrid", scorers, shares, method, depth)

    # -- looking inside

    def info(self) -> dict[str, Any]:
        """What the index holds and what it was made with, as JSON values."""
        snapshot = self.snapshot
        return {
            "path": str(self.path),
            "generation": snapshot.generation,
            "documents": snapshot.n_documents,
            "passages": snapshot.n_passages,
            "segments": snapshot.n_segments,
            "bytes": snapshot.nbytes,
            "retrievers": self.retriever_names(),
            "fields": {
                name: {"unit": spec.unit, **spec.encoder} for name, spec in snapshot.fields.items()
            },
            "settings": self.settings.to_json(),
        }

    def verify(self) -> list[str]:
        """Problems found by reading every file of the index; none if it is sound."""
        return self.snapshot.verify()

    # -- encoders

    def _scorer(self, retriever: str | Scorer) -> Scorer:
        return self.retriever(retriever) if isinstance(retriever, str) else retriever

    def _query_cache(self, name: str) -> QueryCache:
        if name not in self._caches:
            if name == "lookup":
                encoder: Encoder = self._lookup
            else:
                if name not in self.snapshot.fields:
                    raise BadQuery(
                        f"this index was made without {name} vectors; it has "
                        f"{', '.join(self.retriever_names())}"
                    )
                encoder = make_encoder(name, self.settings, self._device)
                recorded = self.snapshot.fields[name].encoder
                check_fingerprint(name, recorded["fingerprint"], encoder, recorded["model"])
            self._caches[name] = QueryCache(encoder)
        return self._caches[name]

    def _document_encoders(self) -> dict[str, Encoder]:
        names = [name for name in ("bm25", "sparse", "dense") if name in self.snapshot.fields]
        return {name: self._query_cache(name).encoder for name in names}

    def _sources(self, passage: int) -> dict[str, str]:
        encoders = self._document_encoders()
        sparse = encoders["sparse"]
        assert isinstance(sparse, SparseEncoder)
        ids = np.array([passage], np.int64)
        record = self.snapshot.records(self.snapshot.documents_of(ids))[0]
        document = Document(record.id, record.text, record.title, record.metadata)
        number = int(self.snapshot.passage_number(ids)[0])
        passages = make_splitter(self.settings, encoders)(document)
        return term_sources(sparse, passages[number].text)

    def _analyzer(self) -> Analyzer:
        encoder = self._query_cache("bm25").encoder
        assert isinstance(encoder, Analyzer)
        return encoder

    @functools.cached_property
    def _lookup(self) -> LookupEncoder:
        assert self.settings.sparse_model is not None
        return LookupEncoder(self.settings.sparse_model)


def expand(text: str, k: int | None = None, *, model: str | None = None) -> list[Expansion]:
    """The terms that a sparse encoder makes of a text, without an index.

    Raises:
        ModelNotFound: the model's files are nowhere to be found.
    """
    encoder = SparseEncoder(model) if model is not None else SparseEncoder()
    return expand_with(encoder, text, k)
