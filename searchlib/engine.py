"""The facade: one object to create or open an index, add, delete, search, explain and expand."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from indexes.similarity import Dot, IdfDot, Similarity
from indexes.snapshot import Snapshot
from indexes.types import Unit
from indexes.writer import Writer

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
from .protocols import Encoder, Progress
from .provenance import term_sources
from .recorded import recorded_settings
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
        self.settings = recorded_settings(snapshot, path)
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
        self.snapshot = snapshot

    # -- writing

    def add(
        self,
        documents: Iterable[Document | tuple[Document, str]],
        *,
        skip_bad: bool = False,
        on_bad: Callable[[str], None] = lambda problem: None,
        on_progress: Progress = no_progress,
        total: int | None = None,
    ) -> AddReport:
        """Index documents, replacing those whose id is there with other content.

        Documents may come with their origin ("file:line"), which errors then name. Work is
        committed now and then; an interrupted run, repeated, goes on where it stopped.

        Raises:
            BadInput: an empty or repeated id, unless `skip_bad`, which counts it and tells
                `on_bad`.
            Locked: another process is writing.
        """
        encoders = self._document_encoders()
        passage_encoders = {name: e for name, e in encoders.items() if name in ("sparse", "dense")}
        with Writer.open(self.path, memory_budget=self._memory // FLUSH) as writer:
            self.refresh()  # nobody else can write from here on
            pipeline = Pipeline(
                encoders["bm25"],
                passage_encoders,
                make_splitter(self.settings, encoders),
                self.snapshot.hashes,
            )
            report = pipeline.add(
                writer,
                with_origins(documents),
                skip_bad=skip_bad,
                on_bad=on_bad,
                on_progress=on_progress,
                total=total,
            )
        self.refresh()
        return report

    def delete(self, ids: Iterable[str]) -> int:
        """Remove documents by id; how many there were."""
        with Writer.open(self.path, memory_budget=self._memory // FLUSH) as writer:
            deleted = writer.delete(list(ids))
            writer.commit()
        self.refresh()
        return deleted

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
    ) -> list[Hit]:
        """The k best documents (or passages) for one query, with snippets.

        `retriever`: one of `retriever_names()`, or a retriever. `where`: a filter on metadata
        such as `year >= 2001 and lang in ("en", "fr")`, applied before the best k are taken.

        Raises:
            BadQuery: an empty query, k below 1, or an unknown retriever.
            BadFilter: `where` cannot be parsed.
        """
        if not query.strip():
            raise BadQuery("the query is empty; give at least one word")
        check_k(k)
        scorer = self._scorer(retriever)
        selection = self.snapshot.select(where) if where else None
        top = scorer.top([query], k, selection, unit)[0]
        return make_hits(
            scorer,
            query,
            top,
            unit,
            analyzer=self._analyzer(),
            explain=(lambda id: scorer.explain_id(query, id, selection, unit)) if explain else None,
        )

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
        depth: int = 100,
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
