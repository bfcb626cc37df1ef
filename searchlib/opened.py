"""An open index: one commit of it, the encoders that belong to it, and its retrievers."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from indexes.errors import Damaged
from indexes.similarity import Dot, Similarity
from indexes.snapshot import Snapshot
from indexes.types import Unit

from .adaptive import Trust
from .budget import MEMORY, check_memory
from .config import Settings
from .encoders.analyzer import Analyzer
from .errors import BadQuery
from .feedback import Feedback
from .fused import Fused
from .fusion import Normaliser, z_score
from .methods import OpinionPool, ReciprocalRank
from .protocols import Encoder, Reranker, Splitter
from .query_cache import QueryCache
from .recorded import recorded_settings
from .refined import FirstPass, Refined, refined
from .representations import check_fingerprint, make_encoder, make_splitter
from .reranked import Reranked
from .retrievers import FieldRetriever
from .scorer import Scorer
from .types import Document

if TYPE_CHECKING:
    from .encoders.lookup import LookupEncoder


class Opened:
    """The index in folder `path` as of one commit, `snapshot`, until it is refreshed.

    `device`: "cpu", "cuda", "cuda:1", "mps" or None for the best there is. `memory`: bytes that
    indexing may hold beside the models, at least 64 MB.
    """

    def __init__(self, path: Path, snapshot: Snapshot, device: str | None, memory: int) -> None:
        check_memory(memory)
        self.path = path
        self.snapshot = snapshot
        self.settings = recorded_settings(snapshot, path)
        self._device = device
        self._memory = memory
        self._caches: dict[str, QueryCache] = {}
        self._scorers: dict[str, Scorer] = {}  # of `snapshot`
        self._encoders: dict[str, Encoder] = {}

    @classmethod
    def open(cls, path: str | Path, *, device: str | None = None, memory: int = MEMORY) -> Self:
        """The index in folder `path`; models are loaded when they are first needed.

        Raises:
            NoIndex: there is none.
            Damaged: a file is missing or not what the manifest says.
        """
        return cls(Path(path), Snapshot.open(path), device, memory)

    def close(self) -> None:
        """Let go of the index's files."""
        self.snapshot.close()

    def __enter__(self) -> Self:
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
        self._scorers.clear()
        settings = Settings.from_json(dict(snapshot.settings))
        if settings != self.settings or snapshot.fields != fields:  # it was re-encoded
            self.settings = settings
            self._caches.clear()
            self._encoders.clear()
            self.__dict__.pop("_lookup", None)

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
        "dense", each trusted as far as its scores for the query warrant (an index without models
        has "bm25" for it).

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
            guides = tuple(_guide(part, parts) for part in parts)
            return replace(
                self.fused(parts, weights=[weights[p] for p in parts], method=OpinionPool()),
                trust=Trust(guides),
            )
        similarity: Similarity | None = None
        fields: Mapping[Unit, str]
        if name == "bm25":
            fields = {"document": "bm25", "passage": "bm25_passage"}
        elif name == "bm25_passage":
            fields = {"document": "bm25_passage", "passage": "bm25_passage"}
        elif name == "lookup":
            fields = {"document": "sparse", "passage": "sparse"}
            similarity = Dot() if self._lookup.has_table else None  # the field's own
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
        method: Normaliser | Sequence[Normaliser] | ReciprocalRank | OpinionPool = z_score,
        depth: int = 50,
    ) -> Fused:
        """A fusion of retrievers over complete scores (see `searchlib.fused.Fused`)."""
        scorers = tuple(self._scorer(part) for part in parts)
        if not isinstance(method, ReciprocalRank | OpinionPool):
            method = (method,) * len(scorers) if callable(method) else tuple(method)
        shares = tuple(weights) if weights is not None else (1.0,) * len(scorers)
        return Fused("hybrid", scorers, shares, method, depth)

    def refined(
        self,
        retriever: str | Scorer = "hybrid",
        feedback: Feedback = Feedback(),  # noqa: B008  frozen
        *,
        first: str | Scorer | None = None,
    ) -> Refined | Fused:
        """A retriever whose queries learn from the best passages of a first search.

        `first`: who searches first (default: the retriever itself, without feedback).

        Raises:
            BadQuery: an unknown retriever, or one that is neither a field's nor a fusion of such.

        >>> engine.search("blues", retriever=engine.refined("bm25"))  # doctest: +SKIP
        """
        scorer = self._scorer(retriever)
        finder = scorer if first is None else self._scorer(first)
        return refined(scorer, FirstPass(finder, feedback.passages), feedback)

    def reranked(
        self,
        retriever: str | Scorer,
        reranker: Reranker | str | Path,
        *,
        depth: int = 50,
        passages: int = 3,
    ) -> Reranked:
        """A retriever whose best answers a cross-encoder orders (see `searchlib.reranked`).

        `reranker`: a Hugging Face sequence classifier, a folder or a name; or any Reranker.

        >>> engine.search("blues", retriever=engine.reranked("hybrid", "model"))  # doctest: +SKIP
        """
        if isinstance(reranker, str | Path):
            from .encoders.cross import CrossEncoder

            reranker = CrossEncoder(reranker, self._device)
        return Reranked(self._scorer(retriever), reranker, depth, passages)

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
        from .evaluation.records import problems

        return [*self.snapshot.verify(), *problems(self.path)]

    def splitter(self) -> Splitter:
        """How the documents that are here were cut into passages.

        Raises:
            ModelMismatch, ModelNotFound: it is not known, for want of the model that says so.
        """
        return make_splitter(self.settings, self._document_encoders())

    # -- encoders

    def _scorer(self, retriever: str | Scorer) -> Scorer:
        if not isinstance(retriever, str):
            return retriever
        known = self._scorers.get(retriever)
        if known is None or known.snapshot is not self.snapshot:
            known = self._scorers[retriever] = self.retriever(retriever)
        return known

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
                encoder = self._encoder(name)
                recorded = self.snapshot.fields[name].encoder
                check_fingerprint(name, recorded["fingerprint"], encoder, recorded["model"])
            self._caches[name] = QueryCache(encoder)
        return self._caches[name]

    def _encoder(self, name: str) -> Encoder:
        if name not in self._encoders:
            self._encoders[name] = make_encoder(name, self.settings, self._device, self._dense)
        return self._encoders[name]

    def _dense(self) -> Encoder | None:
        return self._encoder("dense") if "dense" in self.snapshot.fields else None

    def _document_encoders(self) -> dict[str, Encoder]:
        names = [name for name in ("bm25", "sparse", "dense") if name in self.snapshot.fields]
        return {name: self._query_cache(name).encoder for name in names}

    def _sources(self, passage: int) -> dict[str, str]:
        from .encoders.sparse import SparseEncoder
        from .provenance import term_sources

        sparse = self._query_cache("sparse").encoder
        assert isinstance(sparse, SparseEncoder)
        ids = np.array([passage], np.int64)
        record = self.snapshot.records(self.snapshot.documents_of(ids))[0]
        document = Document(record.id, record.text, record.title, record.metadata)
        number = int(self.snapshot.passage_number(ids)[0])
        passages = self.splitter()(document)
        if number >= len(passages):  # the text is not what was indexed
            raise Damaged(f"{self.path}: the text of {record.id!r} has changed; see verify")
        return term_sources(sparse, passages[number].text)

    def _analyzer(self) -> Analyzer:
        encoder = self._query_cache("bm25").encoder
        assert isinstance(encoder, Analyzer)
        return encoder

    @functools.cached_property
    def _lookup(self) -> LookupEncoder:
        from .encoders.lookup import LookupEncoder

        assert self.settings.sparse_model is not None
        return LookupEncoder(self.settings.sparse_model)


def _guide(part: str, parts: Sequence[str]) -> int | None:
    """The number of the part that a part should agree with: the expansion with the vectors."""
    return parts.index("dense") if part == "sparse" and "dense" in parts else None
