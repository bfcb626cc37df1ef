"""Who else searches learned-sparse vectors: systems made of the same matrix as ours.

- scipy: q @ X.T, a gather of rows of the transposed CSR matrix, and argpartition; exact.
- splade-index: its numba kernel, called with ready token ids, without its encoding; exact.
- BMP: block-max pruning (Mallia et al. 2024), blocks of 16, alpha = beta = 1, 8-bit weights,
  documents in similarity order, as it needs them.
- Seismic: approximate (Bruch et al. 2024), 2,000 postings a list; `query_cut`, `heap_factor`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field as attribute
from pathlib import Path
from typing import Any

import numpy as np
from engine_room import Csr, Ints, Searcher, row_queries, split_rows
from report import say
from rounds import at_most, compiled_once, installed
from similarity_order import similarity_order

EXACT = ("scipy", "splade-index", "BMP")
PEERS = ("splade-index", "BMP", "Seismic")
BLOCK_SIZE = 16  # of BMP
N_POSTINGS = 2000  # of Seismic
CUTS = ((5, 0.7), (10, 1.0), (10, 0.8), (10, 0.7), (20, 0.8), (20, 0.6), (40, 0.6))
USUAL = (10, 0.8)
MOST_POSTINGS_OF_SEISMIC = 100_000_000  # long rows take it 3 CPU seconds per 100,000 postings
MOST_POSTINGS_OF_BMP = 60_000_000  # it takes about 45 bytes a posting, in memory too


@dataclass
class Scipy:
    """q @ X.T row by row of X.T."""

    postings: Csr  # X.T as CSR: (terms, documents)
    queries: Csr
    build: tuple[float, float]
    name: str = "scipy"
    one: list[Csr] = attribute(default_factory=list)

    def __post_init__(self) -> None:
        self.one = [self.queries[i] for i in range(self.queries.shape[0])]
        self.nbytes = self.postings.data.nbytes + self.postings.indices.nbytes

    def ask(self, i: int, k: int) -> Any:
        return self._best(self.one[i] @ self.postings, k)

    def rows(self, answer: Any) -> Ints:
        return np.asarray(answer, np.int64)

    def batch(self, k: int, threads: int) -> object:
        return spread(lambda i: self.ask(i, k), len(self.one), threads)

    @staticmethod
    def _best(scores: Csr, k: int) -> Any:
        if scores.nnz > k:
            best = np.argpartition(scores.data, scores.nnz - k)[scores.nnz - k :]
        else:
            best = np.arange(scores.nnz)
        return scores.indices[best[np.argsort(-scores.data[best])]]


@dataclass
class SpladeIndex:
    """splade-index's numba retrieval over the same CSC arrays that it would make."""

    postings: Csr
    queries: Csr
    build: tuple[float, float]
    name: str = "splade-index"

    def __post_init__(self) -> None:
        from splade_index.numba import retrieve_utils

        compiled_once(retrieve_utils._retrieve_internal_jitted_parallel)
        self._retrieve = retrieve_utils._retrieve_numba_functional
        self.nbytes = self.postings.data.nbytes + self.postings.indices.nbytes
        self._scores = {
            "data": self.postings.data,
            "indices": self.postings.indices,
            "indptr": self.postings.indptr,
            "num_docs": self.postings.shape[1],
        }
        self._terms = split_rows(self.queries.indices, self.queries.indptr)
        self._weights = split_rows(self.queries.data, self.queries.indptr)

    def ask(self, i: int, k: int) -> Any:
        return self._search(self._terms[i : i + 1], self._weights[i : i + 1], k, 1)

    def rows(self, answer: Any) -> Ints:
        ids, scores = answer
        return np.asarray(ids[0][scores[0] > 0], np.int64)

    def batch(self, k: int, threads: int) -> object:
        return self._search(self._terms, self._weights, k, threads)

    def _search(self, terms: list[Any], weights: list[Any], k: int, threads: int) -> Any:
        most = min(k, self.postings.shape[1])
        return self._retrieve(
            terms, weights, self._scores, k=most, n_threads=threads, show_progress=False
        )


@dataclass
class Bmp:
    """BMP's searcher, with its index in a folder."""

    searcher: Any
    queries: list[dict[str, float]]
    build: tuple[float, float]
    nbytes: int
    name: str = "BMP"

    def ask(self, i: int, k: int) -> Any:
        return self.searcher.search(self.queries[i], k=k, alpha=1.0, beta=1.0)

    def rows(self, answer: Any) -> Ints:
        return np.array([int(id) for id in answer[0]], np.int64)

    def batch(self, k: int, threads: int) -> object:
        return spread(lambda i: self.ask(i, k), len(self.queries), threads)


@dataclass
class Seismic:
    """Seismic's index in memory; `cut` is (query_cut, heap_factor)."""

    index: Any
    terms: list[Any]
    weights: list[Any]
    build: tuple[float, float]
    nbytes: int
    cut: tuple[int, float] = USUAL
    name: str = "Seismic"

    def ask(self, i: int, k: int) -> Any:
        return self.index.search(
            "q", self.terms[i], self.weights[i], k=k, query_cut=self.cut[0], heap_factor=self.cut[1]
        )

    def rows(self, answer: Any) -> Ints:
        return np.array([int(id) for _, _, id in answer], np.int64)

    def batch(self, k: int, threads: int) -> object:
        return self.index.batch_search(
            np.array(["q"] * len(self.terms), self.terms[0].dtype), self.terms, self.weights,
            k=k, query_cut=self.cut[0], heap_factor=self.cut[1], num_threads=threads,
        )  # fmt: skip


def peers(
    path: Path, documents: Csr, queries: Csr, without: Collection[str] = ()
) -> Iterator[Searcher]:
    """Those that are installed, each built on one thread; scipy always, as the oracle's."""
    with at_most(1):
        started, used = time.perf_counter(), time.process_time()
        postings = documents.T.tocsr()
        build = time.perf_counter() - started, time.process_time() - used
        yield Scipy(postings, queries, build)
        if (
            "splade-index" not in without
            and installed("splade_index", "splade_index")
            and installed("numba", "numba")
        ):
            yield SpladeIndex(postings, queries, build)
        if "BMP" not in without and installed("bmp", "bmp"):
            if documents.nnz <= MOST_POSTINGS_OF_BMP:
                yield _bmp(path, documents, queries)
            else:
                say(f"BMP: {documents.nnz:,} postings would take it too much memory; left out")
        if "Seismic" not in without and installed("seismic", "pyseismic-lsr"):
            if documents.nnz <= MOST_POSTINGS_OF_SEISMIC:
                yield _seismic(path, documents, queries)
            else:
                say(f"Seismic: building {documents.nnz:,} postings takes too long; left out")


def _bmp(path: Path, documents: Csr, queries: Csr) -> Bmp:
    from bmp import Indexer, Searcher

    started, used = time.perf_counter(), time.process_time()
    order = similarity_order(documents)
    impacts = np.maximum(1, np.rint(documents.data * (255 / documents.data.max()))).astype(int)
    names = np.array([str(column) for column in range(documents.shape[1])], object)
    indexer = Indexer(str(path), bsize=BLOCK_SIZE, compress_range=False)
    for row in order.tolist():
        part = slice(documents.indptr[row], documents.indptr[row + 1])
        terms = names[documents.indices[part]].tolist()
        indexer.add_document(str(row), dict(zip(terms, impacts[part].tolist(), strict=True)))
    indexer.finish()
    build = time.perf_counter() - started, time.process_time() - used
    asked = [query.row(0) for query in row_queries(queries, names.tolist())]
    return Bmp(Searcher(str(path)), asked, build, path.stat().st_size)


def _seismic(path: Path, documents: Csr, queries: Csr) -> Seismic:
    from seismic import SeismicDataset, SeismicIndex, get_seismic_string

    started, used = time.perf_counter(), time.process_time()
    dataset = SeismicDataset(dim=documents.shape[1])
    dataset.add_documents_by_id(
        [str(i) for i in range(documents.shape[0])],
        documents.indices.astype(np.int64),
        documents.data,
        documents.indptr.astype(np.int64),
    )
    with _chatter_to_stderr():
        index = SeismicIndex.build_from_dataset(dataset, n_postings=N_POSTINGS, num_threads=1)
        build = time.perf_counter() - started, time.process_time() - used
        index.save(str(path))
    nbytes = sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
    kind = get_seismic_string()
    terms = [part.astype(str).astype(kind) for part in split_rows(queries.indices, queries.indptr)]
    return Seismic(index, terms, split_rows(queries.data, queries.indptr), build, nbytes)


@contextmanager
def _chatter_to_stderr() -> Iterator[None]:
    """What native code writes to stdout goes to stderr: stdout is for results."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def spread(ask: Callable[[int], Any], count: int, threads: int) -> list[Any]:
    """All queries answered, one after the other or on several threads."""
    if threads == 1:
        return [ask(i) for i in range(count)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(ask, range(count)))
