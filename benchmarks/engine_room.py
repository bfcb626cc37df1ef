"""searchlib's engine room as a benchmark asks it: through Writer and Snapshot, arrays in, rows out.

`Searcher` is what every compared system looks like. Whatever a system needs of a query is
prepared before the clock starts; what it returns is turned into row numbers after it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from dataclasses import field as attribute
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from report import Result, judged

from indexes.manifest import TermField, VectorField
from indexes.similarity import Dot
from indexes.snapshot import Snapshot
from indexes.types import Record, TermVectors
from indexes.writer import Writer

Ints = NDArray[np.int64]
Csr = Any
OURS = "searchlib"
BUDGET = 4 << 30  # bytes: one segment
RECORDS_AT_ONCE = 20_000

SEVERAL = 100_000  # documents from which on the targets of building and size hold


class Searcher(Protocol):
    """One system with an index of the documents and the queries at hand."""

    @property
    def name(self) -> str: ...

    @property
    def build(self) -> tuple[float, float]:
        """Wall and CPU seconds."""

    @property
    def nbytes(self) -> int:
        """Bytes on disk, or in memory where nothing is on disk."""

    def ask(self, i: int, k: int) -> Any:
        """The system's own answer to query i: what is timed."""

    def rows(self, answer: Any) -> Ints:
        """Row numbers of an answer."""

    def batch(self, k: int, threads: int) -> object:
        """All queries answered on so many threads."""


@dataclass
class Ours:
    """A field of an index on disk, searched through its snapshot."""

    snapshot: Snapshot
    queries: list[TermVectors]
    build: tuple[float, float]
    field: str = "sparse"
    name: str = OURS
    parts: dict[int, list[TermVectors]] = attribute(default_factory=dict)

    @property
    def nbytes(self) -> int:
        return self.snapshot.nbytes

    @property
    def structure_nbytes(self) -> int:
        """Bytes of the inverted file alone: peers keep neither ids nor documents."""
        return self.snapshot.field_bytes()[self.field]

    def ask(self, i: int, k: int) -> Any:
        return self.snapshot.search(self.field, self.queries[i], k)[0]

    def rows(self, answer: Any) -> Ints:
        ids: Ints = answer.ids
        return ids

    def batch(self, k: int, threads: int) -> object:
        if threads not in self.parts:  # in the unmeasured round
            parts = [self.queries[part::threads] for part in range(threads)]
            self.parts[threads] = [joined(some) for some in parts]
        search = partial(self._all, k)
        if threads == 1:
            return search(self.parts[1][0])
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(search, self.parts[threads]))

    def _all(self, k: int, queries: TermVectors) -> object:
        return self.snapshot.search(self.field, queries, k)


def joined(queries: Sequence[TermVectors]) -> TermVectors:
    """Queries as one batch over shared columns."""
    return TermVectors.of([query.row(0) for query in queries])


def row_queries(queries: Csr, terms: Sequence[str]) -> list[TermVectors]:
    """One TermVectors a query, naming its own terms only, as an encoder gives it."""
    columns, weights = (
        split_rows(part, queries.indptr) for part in (queries.indices, queries.data)
    )
    return [
        TermVectors(
            [terms[column] for column in some],
            np.array([0, len(some)], np.int64),
            np.arange(len(some), dtype=np.int32),
            np.asarray(values, np.float32),
        )
        for some, values in zip(columns, weights, strict=True)
    ]


def write_rows(
    path: Path,
    fields: Sequence[TermField | VectorField],
    rows: dict[str, TermVectors | NDArray[np.float32]],
    texts: Sequence[str] = (),
    groups: int = 0,
) -> tuple[float, float]:
    """Writes an index of documents "0", "1", ... with one passage each; wall and CPU seconds.

    `groups`: put document i into group i % groups by its metadata.
    """
    count = len(next(iter(rows.values())))
    started, used = time.perf_counter(), time.process_time()
    with Writer.create(path, fields, memory_budget=BUDGET) as writer:
        for start in range(0, count, RECORDS_AT_ONCE):
            stop = min(count, start + RECORDS_AT_ONCE)
            records = [
                Record(
                    str(i),
                    "",
                    texts[i] if texts else "",
                    {"group": i % groups} if groups else {},
                    passages=((0, len(texts[i]) if texts else 0),),
                )
                for i in range(start, stop)
            ]
            writer.add(
                records,
                {
                    name: some[start:stop]
                    if isinstance(some, np.ndarray)
                    else some.select(start, stop)
                    for name, some in rows.items()
                },
            )
        writer.commit()
    return time.perf_counter() - started, time.process_time() - used


def term_vectors(rows: Csr, terms: Sequence[str]) -> TermVectors:
    """A CSR matrix as `indexes` takes it."""
    return TermVectors(terms, rows.indptr.astype(np.int64), rows.indices, rows.data)


def ours(path: Path, documents: Csr, queries: Csr) -> Ours:
    """Our index of the documents, written to `path` and opened."""
    terms = [str(column) for column in range(documents.shape[1])]
    fields = [TermField("sparse", "impact", "passage", Dot())]
    build = write_rows(path, fields, {"sparse": term_vectors(documents, terms)})
    return Ours(Snapshot.open(path), row_queries(queries, terms), build)


def bare(path: Path, count: int) -> tuple[float, float]:
    """Writes as many documents without any term: what ids and records take of `ours`."""
    none = np.empty(0, np.int32)
    empty = TermVectors([], np.zeros(count + 1, np.int64), none, none.astype(np.float32))
    return write_rows(path, [TermField("sparse", "impact", "passage", Dot())], {"sparse": empty})


def structures(task: str, made: Ours, size: int, postings: int, folder: Path) -> Iterator[Result]:
    """Our building and size without what ids, records and the documents' store take."""
    empty = bare(folder / f"{task} {size} bare.index", size)
    took = max(made.build[1] - empty[1], 1e-9)
    rate = Result(f"{OURS}, structures", f"{task}: build", size, "docs/s/core", size / took)
    yield judged(rate, ">= 300000") if size >= SEVERAL and postings < 80 * size else rate
    share = made.structure_nbytes / postings
    held = Result(f"{OURS}, structures", f"{task}: size", size, "bytes/posting", share)
    yield judged(held, "<= 5.5") if size >= SEVERAL else held


def split_rows(values: NDArray[Any], indptr: NDArray[Any]) -> list[NDArray[Any]]:
    """The entries of each row of a CSR matrix, from its `indices` or `data`."""
    return np.split(values, indptr[1:-1])
