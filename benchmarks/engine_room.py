"""searchlib's engine room as a benchmark asks it: through Writer and Snapshot, arrays in, rows out.

`Searcher` is what every compared system looks like. Whatever a system needs of a query is
prepared before the clock starts; what it returns is turned into row numbers after it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from report import Result, judged
from rounds import turns

from indexes.builder import PostingsBuilder
from indexes.inversion import Kind
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
    together: TermVectors | None = None

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
        if self.together is None:  # in the unmeasured round
            self.together = joined(self.queries)
        return self.snapshot.search(self.field, self.together, k)


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


def structures(
    task: str, made: Ours, batches: Sequence[TermVectors], kind: Kind, rounds: int
) -> Iterator[Result]:
    """Posting lists made of vectors in memory, by one core; and their bytes in our index.

    Peers make no more than that: they keep neither ids nor documents.
    """
    size = sum(map(len, batches))
    postings = sum(len(batch.values) for batch in batches)

    def build() -> object:
        builder = PostingsBuilder(kind)
        for batch in batches:
            builder.add(batch)
        return builder.build()

    _, used = turns({"build": build}, rounds)["build"]
    rate = Result(f"{OURS}, structures", f"{task}: build", size, "docs/s/core", size / used)
    yield judged(rate, ">= 300000") if size >= SEVERAL and postings < 80 * size else rate
    share = made.structure_nbytes / postings
    held = Result(f"{OURS}, structures", f"{task}: size", size, "bytes/posting", share)
    yield judged(held, "<= 5.5") if size >= SEVERAL else held


def split_rows(values: NDArray[Any], indptr: NDArray[Any]) -> list[NDArray[Any]]:
    """The entries of each row of a CSR matrix, from its `indices` or `data`."""
    return np.split(values, indptr[1:-1])
