"""The retrievers of an open index: its fields', fused, with feedback, and reranked."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from indexes.errors import Damaged
from indexes.similarity import Dot, Similarity
from indexes.snapshot import Snapshot
from indexes.types import Unit

from .adaptive import Trust
from .errors import BadQuery, check_query
from .feedback import Feedback
from .fused import Fused
from .fusion import Normaliser, z_score
from .methods import OpinionPool, ReciprocalRank
from .opened import Opened
from .protocols import Reranker
from .quoting import Quoting, quoted
from .refined import FirstPass, refined
from .reranked import Reranked
from .retrievers import FieldRetriever
from .scorer import Scorer
from .smoothing import Smoothing
from .types import Document

if TYPE_CHECKING:
    from .encoders.lookup import LookupEncoder
    from .spelling import Respelled, Speller

LOOKUP, STATIC = 1.5, 0.75
"""What "lookup" and "static" count in "instant", in weights of "sparse" and "dense" in "hybrid"
(benchmarks/adaptation.md)."""

HEEDING = ("hybrid", "instant")  # these heed what a query quotes, and respell it


class Retrieving(Opened):
    """What an open index is asked by."""

    def retriever(self, name: str) -> Scorer:
        """The retriever called `name`.

        "bm25", over whole documents; "bm25_passage", a document scoring as its best passage, as
        with the encoders; "sparse", learned expansion on both sides; "lookup", the same documents
        with inference-free queries; "dense"; "static", the same vectors with queries from a table;
        "hybrid", which fuses "bm25_passage", "sparse" and "dense", each trusted as far as its
        scores for the query warrant (an index without models has "bm25" for it); "instant", which
        fuses "bm25_passage", "lookup" and "static" likewise, as far as they are there, and runs no
        model. What is returned takes queries as they are; asked for by name, these two heed
        quotation marks and read slips as what was meant.

        Raises:
            BadQuery: there is none of that name in this index.
        """
        known = self._scorers.get(name)
        if known is not None and known.snapshot is self.snapshot:
            return known
        with self._changing:  # all parts of one commit
            if name not in self.retriever_names():
                there = ", ".join(self.retriever_names())
                raise BadQuery(f"unknown retriever {name!r}; this index has {there}")
            fusions = {"hybrid": self._hybrid, "instant": self._instant}
            known = fusions[name]() if name in fusions else self._field_retriever(name)
            self._scorers[name] = known
            return known

    def fused(
        self,
        parts: Sequence[str | Scorer],
        *,
        weights: Sequence[float] | None = None,
        method: Normaliser | Sequence[Normaliser] | ReciprocalRank | OpinionPool = z_score,
        depth: int = 50,
    ) -> Fused:
        """A fusion of retrievers over complete scores (see `searchlib.fused.Fused`)."""
        with self._changing:
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
    ) -> Scorer:
        """A retriever whose queries learn from the best passages of a first search.

        `first`: who searches first (default: the retriever itself, without feedback). "hybrid" and
        "instant" heed what a query quotes, as always.

        Raises:
            BadQuery: an unknown retriever, or one that is neither a field's nor a fusion of such.

        >>> engine.search("blues", retriever=engine.refined("bm25"))  # doctest: +SKIP
        """
        finder = self._heeding(retriever if first is None else first)
        made = refined(self._scorer(retriever), FirstPass(finder, feedback.passages), feedback)
        return self.quoting(made) if retriever in HEEDING else made

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
        return Reranked(self._heeding(retriever), reranker, depth, passages)

    def quoting(self, scorer: Scorer) -> Quoting:
        """The scorer, heeding what a query quotes, as "hybrid" and "instant" do."""
        return Quoting(scorer, replace(self._field_retriever("bm25"), snapshot=scorer.snapshot))

    def respelled(self, query: str, retriever: str | Scorer = "hybrid") -> Respelled:
        """A query as a retriever reads it: "hybrid" and "instant", and what `refined` and
        `reranked` make of these, read a word that no document has as one nearby that some have.

        A word in quotation marks stays as it is (see `searchlib.spelling`).

        Raises:
            BadQuery: an unknown retriever, or an empty query.

        >>> engine.respelled("travel expences").query  # doctest: +SKIP
        'travel expenses'
        """
        from .spelling import Respelled

        check_query(query)
        snapshot = self._scorer(retriever).snapshot
        if not self._heeds(retriever):
            return Respelled(query)
        return self._speller(snapshot).respelled(query)

    # -- inside

    def _scorer(self, retriever: str | Scorer) -> Scorer:
        if isinstance(retriever, str):
            return self.retriever(retriever)
        if not hasattr(retriever, "top_and_scores"):
            there = ", ".join(self.retriever_names())
            raise BadQuery(f"{retriever!r} is no retriever; this index has {there}")
        return retriever

    def _asked(
        self, retriever: str | Scorer, queries: Sequence[str]
    ) -> tuple[Scorer, Scorer, list[str]]:
        """The retriever, what it is for these queries, and how it reads them; of one commit.

        Those of HEEDING heed what they quote.
        """
        plain = self._scorer(retriever)
        if self._heeds(retriever):
            speller = self._speller(plain.snapshot)
            queries = [speller.respelled(query).query for query in queries]
        quotes = retriever in HEEDING and any(map(quoted, queries))
        return plain, self.quoting(plain) if quotes else plain, list(queries)

    def _heeding(self, retriever: str | Scorer) -> Scorer:
        """The retriever; those of HEEDING heed what a query quotes."""
        scorer = self._scorer(retriever)
        return self.quoting(scorer) if retriever in HEEDING else scorer

    def _heeds(self, retriever: str | Scorer) -> bool:
        """Whether it is one of HEEDING, or was made of one by `refined` or `reranked`."""
        if isinstance(retriever, Reranked):
            retriever = retriever.retriever
        return isinstance(retriever, Quoting) or retriever in HEEDING

    def _speller(self, snapshot: Snapshot) -> Speller:
        from .spelling import Speller

        with self._changing:
            if not self._spellers or self._spellers[0].snapshot is not snapshot:
                self._spellers[:] = [Speller(snapshot, self._analyzer(), self._model_knows())]
            return self._spellers[0]

    def _model_knows(self) -> Callable[[str], bool]:
        """Whether the index's sparse model, else its dense one, has a word as a whole."""
        from .encoders.dense import DenseEncoder

        if "sparse" in self.snapshot.fields:
            model: LookupEncoder | DenseEncoder = self._lookup
        elif isinstance(dense := self._dense(), DenseEncoder):
            model = dense
        else:
            return lambda word: False

        def knows(word: str) -> bool:  # subtle: loads the tokenizer, and does not hold the engine
            return model.tokenizer.knows(word)

        return knows

    def _hybrid(self) -> Scorer:
        settings = self.settings
        return self._trusted(
            "hybrid",
            {
                "bm25_passage": settings.bm25_weight,
                "sparse": settings.sparse_weight,
                "dense": settings.dense_weight,
            },
        )

    def _instant(self) -> Scorer:
        settings = self.settings
        return self._trusted(
            "instant",
            {
                "bm25_passage": settings.bm25_weight,
                "lookup": settings.sparse_weight * LOOKUP,
                "static": settings.dense_weight * STATIC,
            },
        )

    def _trusted(self, name: str, weights: Mapping[str, float]) -> Scorer:
        """The parts that are there, fused, trusted as far as each query warrants, and smoothed."""
        parts = [part for part in weights if part in self.retriever_names()]
        if len(parts) == 1:  # nothing to fuse: keep its scores as they are
            return self.retriever("bm25")
        fused = self.fused(parts, weights=[weights[p] for p in parts], method=OpinionPool())
        trust = Trust(tuple(_guide(part, parts) for part in parts))
        return replace(fused, name=name, trust=trust, smoothing=self._smoothing(parts))

    def _smoothing(self, parts: Sequence[str]) -> Smoothing | None:
        """By the vectors, if there are any."""
        for part in ("dense", "static"):  # either has the documents' vectors
            if self.settings.smoothing and part in parts:
                return Smoothing(self._field_retriever(part), self.settings.smoothing)
        return None

    def _field_retriever(self, name: str) -> FieldRetriever:
        similarity: Similarity | None = None
        fields: Mapping[Unit, str]
        if name == "bm25":
            fields = {"document": "bm25", "passage": "bm25_passage"}
        elif name == "bm25_passage":
            fields = {"document": "bm25_passage", "passage": "bm25_passage"}
        elif name == "lookup":
            fields = {"document": "sparse", "passage": "sparse"}
            similarity = Dot() if self._lookup.has_table else None  # the field's own
        elif name == "static":
            fields = {"document": "dense", "passage": "dense"}
        else:
            fields = {"document": name, "passage": name}
        sources = None
        if "sparse" in fields.values():
            sources = functools.partial(self._sources, self.snapshot)
        cache = self._query_cache("bm25" if name == "bm25_passage" else name)
        shares = self._static.shares if name == "static" and self._static is not None else None
        return FieldRetriever(name, self.snapshot, fields, cache, similarity, sources, shares)

    def _sources(self, snapshot: Snapshot, passage: int) -> dict[str, str]:
        from .encoders.sparse import SparseEncoder
        from .provenance import term_sources

        sparse = self._query_cache("sparse").encoder
        assert isinstance(sparse, SparseEncoder)
        ids = np.array([passage], np.int64)
        record = snapshot.records(snapshot.documents_of(ids))[0]
        document = Document(record.id, record.text, record.title, record.metadata)
        number = int(snapshot.passage_number(ids)[0])
        passages = self.splitter()(document)
        if number >= len(passages):  # the text is not what was indexed
            raise Damaged(f"{self.path}: the text of {record.id!r} has changed; see verify")
        return term_sources(sparse, passages[number].text)


def _guide(part: str, parts: Sequence[str]) -> int | None:
    """The number of the part that a part should agree with: the expansion with the vectors."""
    guide = {"sparse": "dense", "lookup": "static"}.get(part)
    return parts.index(guide) if guide in parts else None
