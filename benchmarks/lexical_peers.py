"""BM25 over equal tokens: searchlib's engine room, tantivy and bm25s.

All are given the terms that searchlib's analyzer makes of the texts, all use k1 = 1.2 and
b = 0.75, which tantivy does not let one choose, and all rank by Lucene's formula. As with
`sparse_peers`, queries are prepared before the clock starts.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from engine_room import BUDGET, RECORDS_AT_ONCE, Ours, Searcher
from numpy.typing import NDArray
from report import say
from rounds import at_most, compiled_once, installed
from sparse_peers import spread

from indexes.manifest import TermField
from indexes.similarity import BM25
from indexes.snapshot import Snapshot
from indexes.types import Record, TermVectors
from indexes.writer import Writer
from searchlib.encoders.analyzer import Analyzer

Ints = NDArray[np.int64]
Csr = Any
K1, B = 1.2, 0.75
PEERS = ("tantivy", "bm25s-numba")
HEAP = 1 << 30  # bytes of tantivy's writer: one segment


@dataclass(frozen=True)
class Terms:
    """Texts and queries as terms: lists, and our counts in batches."""

    documents: list[list[str]]
    queries: list[list[str]]
    batches: list[TermVectors]  # of RECORDS_AT_ONCE documents

    @staticmethod
    def of(texts: Sequence[str], queries: Sequence[str]) -> Terms:
        """All analysed; queries without terms are left out."""
        analyzer = Analyzer()
        starts = range(0, len(texts), RECORDS_AT_ONCE)
        return Terms(
            [analyzer.terms(text) for text in texts],
            [terms for terms in map(analyzer.terms, queries) if terms],
            [analyzer.encode_document(texts[s : s + RECORDS_AT_ONCE]) for s in starts],
        )


@dataclass
class Tantivy:
    """tantivy, documents and queries made of ready terms."""

    searcher: Any
    queries: list[Any]
    build: tuple[float, float]
    nbytes: int
    name: str = "tantivy"

    def ask(self, i: int, k: int) -> Any:
        return self.searcher.search(self.queries[i], limit=k, count=False)

    def rows(self, answer: Any) -> Ints:
        addresses = [address for _, address in answer.hits]
        return np.array(self.searcher.fast_field_values("row", addresses), np.int64).reshape(-1)

    def batch(self, k: int, threads: int) -> object:
        return spread(lambda i: self.ask(i, k), len(self.queries), threads)


@dataclass
class Bm25s:
    """bm25s with its numba backend."""

    retriever: Any
    queries: list[list[str]]
    build: tuple[float, float]
    nbytes: int
    name: str = "bm25s-numba"

    def ask(self, i: int, k: int) -> Any:
        return self._search(self.queries[i : i + 1], k, 1)

    def rows(self, answer: Any) -> Ints:
        ids, scores = answer
        return np.asarray(ids[0][scores[0] > 0], np.int64)

    def batch(self, k: int, threads: int) -> object:
        return self._search(self.queries, k, threads)

    def _search(self, queries: list[list[str]], k: int, threads: int) -> Any:
        return self.retriever.retrieve(queries, k=k, n_threads=threads, show_progress=False)


def ours(path: Path, terms: Terms) -> Ours:
    """Our index of the counts, written to `path` and opened."""
    build = write_counts(path, terms.batches)
    queries = [TermVectors.of([_counts(query)]) for query in terms.queries]
    return Ours(Snapshot.open(path), queries, build, "bm25")


def write_counts(path: Path, batches: Sequence[TermVectors]) -> tuple[float, float]:
    """Writes an index of counts, documents named "0", "1", ...; wall and CPU seconds."""
    started, used = time.perf_counter(), time.process_time()
    field = TermField("bm25", "count", "document", BM25(K1, B))
    with Writer.create(path, [field], memory_budget=BUDGET) as writer:
        first = 0
        for batch in batches:
            records = [Record(str(i), "", "") for i in range(first, first + len(batch))]
            writer.add(records, {"bm25": batch})
            first += len(batch)
        writer.commit()
    return time.perf_counter() - started, time.process_time() - used


def peers(folder: Path, terms: Terms, without: Collection[str] = ()) -> Iterator[Searcher]:
    """Those that are installed, each built on one thread."""
    if "tantivy" not in without and installed("tantivy", "tantivy"):
        yield _tantivy(folder / "tantivy", terms)
    if "bm25s-numba" not in without and installed("bm25s", "bm25s") and installed("numba", "numba"):
        yield _bm25s(folder / "bm25s", terms)


def _tantivy(path: Path, terms: Terms) -> Tantivy:
    import tantivy

    path.mkdir(parents=True)
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("text", stored=False, tokenizer_name="whitespace", index_option="freq")
    builder.add_unsigned_field("row", stored=False, indexed=False, fast=True)
    schema = builder.build()
    index = tantivy.Index(schema, path=str(path))
    started, used = time.perf_counter(), time.process_time()
    writer = index.writer(heap_size=HEAP, num_threads=1)
    for row, words in enumerate(terms.documents):
        document = tantivy.Document()
        document.add_text("text", " ".join(words))
        document.add_unsigned("row", row)
        writer.add_document(document)
    writer.commit()
    writer.wait_merging_threads()
    build = time.perf_counter() - started, time.process_time() - used
    index.reload()
    searcher = index.searcher()
    say(f"tantivy: {searcher.num_segments} segments")
    either = tantivy.Occur.Should
    queries = [
        tantivy.Query.boolean_query(
            [
                (either, tantivy.Query.term_query(schema, "text", word, index_option="freq"))
                for word in words
            ]
        )
        for words in terms.queries
    ]
    return Tantivy(searcher, queries, build, _bytes(path))


def _bm25s(path: Path, terms: Terms) -> Bm25s:
    import bm25s
    from bm25s.numba import retrieve_utils

    compiled_once(
        retrieve_utils._retrieve_internal_jitted_serial,
        retrieve_utils._retrieve_internal_jitted_parallel,
    )
    with at_most(1):
        started, used = time.perf_counter(), time.process_time()
        retriever = bm25s.BM25(k1=K1, b=B, method="lucene", backend="numba")
        retriever.index(terms.documents, show_progress=False)
        build = time.perf_counter() - started, time.process_time() - used
    retriever.save(str(path), show_progress=False)
    return Bm25s(retriever, terms.queries, build, _bytes(path))


def impacts(terms: Terms) -> tuple[Csr, Csr]:
    """The oracle's matrices: X.T of BM25 impacts (terms, documents), and the queries' counts."""
    from scipy.sparse import csr_matrix, vstack

    column: dict[str, int] = {}
    parts = []
    for batch in terms.batches:
        known = np.array([column.setdefault(term, len(column)) for term in batch.terms], np.int64)
        parts.append((batch.values, known[batch.indices], batch.indptr))
    width = len(column)
    counts = vstack([csr_matrix(part, (len(part[2]) - 1, width)) for part in parts], format="csr")
    count = counts.shape[0]
    lengths = np.asarray(counts.sum(axis=1)).reshape(-1)
    frequency = np.bincount(counts.indices, minlength=width)
    idf = np.log1p((count - frequency + 0.5) / (frequency + 0.5))
    norm = np.repeat(K1 * (1 - B + B * lengths / lengths.mean()), np.diff(counts.indptr))
    counts.data = idf[counts.indices] * counts.data / (counts.data + norm)
    asked = [_counts([word for word in words if word in column]) for words in terms.queries]
    indptr = np.cumsum([0, *map(len, asked)])
    indices = [column[word] for query in asked for word in query]
    values = [value for query in asked for value in query.values()]
    queries = csr_matrix((np.array(values, np.float64), indices, indptr), (len(asked), width))
    return counts.T.tocsr(), queries


def _counts(words: Sequence[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for word in words:
        found[word] = found.get(word, 0.0) + 1.0
    return found


def _bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
