"""Dense search engines over equal vectors, each behind one call; ours through its public API."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from report import say
from rounds import at_most, installed

from indexes.manifest import VectorField
from indexes.snapshot import Snapshot
from indexes.types import Record
from indexes.writer import Writer

Float32s = NDArray[np.float32]
Rows = NDArray[np.int64]
Ask = Callable[[int, int], Rows]  # query number, k -> rows, best first
Batch = Callable[[int], object]  # k: all queries at once

LINKS, EF_CONSTRUCTION = 32, 100  # of every graph
EF_SEARCH = (64, 128, 256, 512)
K_FACTORS = (10, 20, 50)  # of k rows refined exactly
GROUPS = 1000  # a filter lets one of them through: 0.1%
RECORDS_AT_ONCE = 10_000


@dataclass(frozen=True)
class Engine:
    """One engine at one setting: `seconds` to build, `megabytes` in memory or on disk."""

    name: str
    ask: Ask
    seconds: float
    megabytes: float
    batch: Batch | None = None


def ours(folder: Path, vectors: Float32s, queries: Float32s) -> Iterator[Engine]:
    """Our index of one field: as it comes, exact, and with a filter of 0.1%."""
    started = time.perf_counter()
    snapshot = _index(folder, vectors)
    took = time.perf_counter() - started
    megabytes = snapshot.field_bytes()["dense"] / 1e6
    number = {"where": None, "exact": False}
    few = snapshot.select("group = 7")
    for name, options in (
        ("searchlib", number),
        ("searchlib exact", {**number, "exact": True}),
        ("searchlib 0.1% filter", {**number, "where": few}),
    ):
        yield Engine(
            name,
            partial(_ask_ours, snapshot, queries, options),
            took,
            megabytes,
            partial(_batch_ours, snapshot, queries, options),
        )


def _index(folder: Path, vectors: Float32s) -> Snapshot:
    path = folder / f"dense-{len(vectors)}.index"
    field = VectorField("dense", vectors.shape[1], "document")
    with Writer.create(path, [field], memory_budget=2**34) as writer:
        for start in range(0, len(vectors), RECORDS_AT_ONCE):
            rows = vectors[start : start + RECORDS_AT_ONCE]
            numbers = range(start, start + len(rows))
            records = [Record(str(i), "", "", {"group": i % GROUPS}) for i in numbers]
            writer.add(records, {"dense": rows})
        writer.commit()
    return Snapshot.open(path)


def _ask_ours(
    snapshot: Snapshot, queries: Float32s, options: dict[str, Any], i: int, k: int
) -> Rows:
    # a document's number is its row: one segment, in the order of adding
    return snapshot.search("dense", queries[i : i + 1], k, **options)[0].ids


def _batch_ours(snapshot: Snapshot, queries: Float32s, options: dict[str, Any], k: int) -> object:
    return snapshot.search("dense", queries, k, **options)


def _module(name: str) -> Any:
    return import_module(name)  # peers have no types


def faiss_flat(vectors: Float32s, queries: Float32s) -> Iterator[Engine]:
    """Every vector compared: as float32, and as one byte a number."""
    for name, recipe in (("faiss Flat", "Flat"), ("faiss SQ8", "SQ8")):
        index, took = _faiss(recipe, vectors)
        yield _of_faiss(name, index, None, took, queries)


def faiss_fast_scan(vectors: Float32s, queries: Float32s) -> Iterator[Engine]:
    """4-bit product quantisation with exact refinement, as we do it."""
    faiss = _module("faiss")
    subspaces = vectors.shape[1] // 4
    index, took = _faiss(f"PQ{subspaces}x4fs,RFlat", vectors)
    for factor in K_FACTORS:
        options = faiss.IndexRefineSearchParameters(k_factor=factor)
        name = f"faiss PQ{subspaces}x4fs refine {factor}"
        yield _of_faiss(name, index, options, took, queries)


def faiss_graph(vectors: Float32s, queries: Float32s) -> Iterator[Engine]:
    """HNSW."""
    faiss = _module("faiss")
    started = time.perf_counter()
    index = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = EF_CONSTRUCTION
    index.add(vectors)
    took = time.perf_counter() - started
    for ef in EF_SEARCH:
        options = faiss.SearchParametersHNSW(efSearch=ef)
        yield _of_faiss(f"faiss HNSW{LINKS} ef {ef}", index, options, took, queries)


def _faiss(recipe: str, vectors: Float32s) -> tuple[Any, float]:
    faiss = _module("faiss")
    started = time.perf_counter()
    index = faiss.index_factory(vectors.shape[1], recipe, faiss.METRIC_INNER_PRODUCT)
    with at_most(1):  # on a busy machine more threads wait for each other, for minutes
        index.train(vectors[:20_000])
        index.add(vectors)
    return index, time.perf_counter() - started


def _of_faiss(name: str, index: Any, options: Any, seconds: float, queries: Float32s) -> Engine:
    faiss = _module("faiss")

    def ask(i: int, k: int) -> Rows:
        rows: Rows = index.search(queries[i : i + 1], k, params=options)[1][0]
        return rows

    def batch(k: int) -> object:
        return index.search(queries, k, params=options)

    megabytes = len(faiss.serialize_index(index)) / 1e6
    return Engine(name, ask, seconds, megabytes, batch)


def hnswlib_graph(vectors: Float32s, queries: Float32s) -> Iterator[Engine]:
    """hnswlib's HNSW."""
    hnswlib = _module("hnswlib")
    started = time.perf_counter()
    index = hnswlib.Index(space="ip", dim=vectors.shape[1])
    index.init_index(len(vectors), EF_CONSTRUCTION, LINKS // 2)
    index.add_items(vectors, num_threads=os.cpu_count() or 1)
    took = time.perf_counter() - started
    megabytes = index.index_file_size() / 1e6

    for ef in EF_SEARCH:

        def ask(i: int, k: int, ef: int = ef) -> Rows:
            index.set_ef(max(ef, k))
            rows: Rows = index.knn_query(queries[i], k, num_threads=1)[0][0]
            return rows.astype(np.int64)

        yield Engine(f"hnswlib ef {ef}", ask, took, megabytes)


def usearch_graph(vectors: Float32s, queries: Float32s) -> Iterator[Engine]:
    """usearch's HNSW."""
    started = time.perf_counter()
    index = _module("usearch.index").Index(
        ndim=vectors.shape[1], metric="ip", dtype="f32", connectivity=LINKS // 2,
        expansion_add=EF_CONSTRUCTION,
    )  # fmt: skip
    index.add(np.arange(len(vectors)), vectors, threads=os.cpu_count() or 1)
    took = time.perf_counter() - started
    megabytes = index.serialized_length / 1e6

    for ef in EF_SEARCH:

        def ask(i: int, k: int, ef: int = ef) -> Rows:
            index.expansion_search = max(ef, k)
            rows: Rows = np.asarray(index.search(queries[i], k, threads=1).keys).astype(np.int64)
            return rows

        yield Engine(f"usearch ef {ef}", ask, took, megabytes)


Peer = Callable[[Float32s, Float32s], Iterator[Engine]]
PEERS: dict[str, tuple[str, str, Sequence[Peer]]] = {  # name -> module, package, its engines
    "faiss": ("faiss", "faiss-cpu", (faiss_flat, faiss_fast_scan)),
    "faiss-hnsw": ("faiss", "faiss-cpu", (faiss_graph,)),
    "hnswlib": ("hnswlib", "hnswlib", (hnswlib_graph,)),
    "usearch": ("usearch", "usearch", (usearch_graph,)),
}


def peers(names: Sequence[str], vectors: Float32s, queries: Float32s) -> Iterator[Engine]:
    """The engines of the peers named, as far as they are installed."""
    for name in names:
        module, package, makers = PEERS[name]
        if not installed(module, package):
            continue
        for make in makers:
            say(f"building {name}: {make.__doc__}")
            yield from make(vectors, queries)
