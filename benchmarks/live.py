"""Does an index stay fast while it lives? Many small commits against one large one.

One index is made by many commits of a few documents, another of the same documents by a single
one. Compared: query times at the end, and at the moment with the most segments near the end.
Stated: what a commit takes, and how many bytes were written for each that is there at the end.
BM25 is made of texts; sparse vectors are given, dense ones are projections to 64 dimensions.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import scale_data
from material import Material, add_options
from numpy.typing import NDArray
from report import Result, judged, one_line_errors, parser, print_results, provenance, say
from rounds import query_times
from scale import FIELDS, Ready

from indexes.directory import FileDirectory
from indexes.manifest import FieldSpec, TermField, VectorField
from indexes.similarity import BM25, Dot
from indexes.snapshot import Snapshot
from indexes.types import Record, TermVectors
from indexes.writer import MEMORY_BUDGET, Writer
from searchlib.encoders.analyzer import Analyzer
from searchlib.errors import BadQuery
from searchlib.fused import Fused
from searchlib.fusion import z_score
from searchlib.query_cache import QueryCache
from searchlib.retrievers import FieldRetriever

COMMITS, QUICK_COMMITS = 1000, 100
DOCUMENTS = 20  # a commit
NEAR_THE_END = 0.8  # from this share of the commits on, the worst moment is looked for
SPECS: list[FieldSpec] = [
    TermField("bm25_passage", "count", "passage", BM25()),
    TermField("sparse", "impact", "passage", Dot()),
    VectorField("dense", scale_data.DIM, "passage", "auto"),
]
AT_THE_END, AT_WORST = "<= 1.25", "<= 3"

Rows = dict[str, TermVectors | NDArray[np.float32]]


@dataclass(frozen=True)
class Documents:
    """Records and rows of all documents; `part` gives those from one number to another."""

    records: list[Record]
    counts: TermVectors
    sparse: TermVectors
    dense: NDArray[np.float32]

    @staticmethod
    def made(folder: Path, material: Material, count: int) -> Documents:
        """`count` documents, through files in `folder`, as benchmarks/scale.py makes them."""
        folder.mkdir()
        scale_data.write(folder, material, count)
        batches = list(scale_data.read(folder, count))
        texts = [text for batch in batches for text in batch[0]]
        records = [
            Record(str(i), "", text, passages=((0, len(text)),)) for i, text in enumerate(texts)
        ]
        sparse = batches[0][1]
        if len(batches) > 1:
            ends = [np.diff(batch[1].indptr) for batch in batches]
            sparse = TermVectors(
                sparse.terms,
                np.append(0, np.cumsum(np.concatenate(ends))),
                np.concatenate([batch[1].indices for batch in batches]),
                np.concatenate([batch[1].values for batch in batches]),
            )
        counts = Analyzer().encode_document(texts)
        return Documents(records, counts, sparse, np.concatenate([batch[2] for batch in batches]))

    def part(self, start: int, stop: int) -> tuple[list[Record], Rows]:
        """What `Writer.add` takes."""
        return self.records[start:stop], {
            "bm25_passage": self.counts.select(start, stop),
            "sparse": self.sparse.select(start, stop),
            "dense": self.dense[start:stop],
        }


class CountingDirectory(FileDirectory):
    """A folder that counts the bytes of all files written to it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.written = 0

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        """As `FileDirectory.create`."""
        with super().create(name) as file:
            yield file
            self.written += file.tell()

    @contextlib.contextmanager
    def build(self, name: str) -> Iterator[Path]:
        """As `FileDirectory.build`."""
        with super().build(name) as path:
            yield path
            self.written += path.stat().st_size

    def replace(self, name: str, data: bytes) -> None:
        """As `FileDirectory.replace`."""
        super().replace(name, data)
        self.written += len(data)


@dataclass
class Life:
    """What became of an index made by many commits, and how it went."""

    index: Path
    worst: Path  # a copy from the moment with the most segments near the end
    worst_documents: int = 0
    segments: list[int] = field(default_factory=list)  # after each commit
    seconds: list[float] = field(default_factory=list)  # of each commit
    finishing: float = 0.0  # seconds that `Writer.finish` and closing took
    written: int = 0  # bytes


def many(documents: Documents, commits: int, folder: Path, memory: int) -> Life:
    """Makes an index by many commits."""
    life = Life(folder / "many.index", folder / "worst.index")
    directory = CountingDirectory(life.index)
    with Writer.create(directory, SPECS, memory_budget=memory) as writer:
        for number in range(commits):
            records, rows = documents.part(DOCUMENTS * number, DOCUMENTS * (number + 1))
            started = time.perf_counter()
            writer.add(records, rows)
            writer.commit()
            life.seconds.append(time.perf_counter() - started)
            life.segments.append(_segments(life.index))
            near_the_end = number >= NEAR_THE_END * commits
            if near_the_end and life.segments[-1] >= max(life.segments[-number // 5 :]):
                life.worst_documents = DOCUMENTS * (number + 1)
                shutil.rmtree(life.worst, ignore_errors=True)
                shutil.copytree(life.index, life.worst, copy_function=os.link)
        started = time.perf_counter()
        writer.finish()
    life.finishing = time.perf_counter() - started
    life.written = directory.written
    return life


def once(documents: Documents, count: int, index: Path, memory: int) -> tuple[float, int]:
    """Makes an index of the first documents by one commit: seconds, bytes written."""
    directory = CountingDirectory(index)
    started = time.perf_counter()
    with Writer.create(directory, SPECS, memory_budget=memory) as writer:
        writer.add(*documents.part(0, count))
        writer.commit()
    return time.perf_counter() - started, directory.written


def measure(options: argparse.Namespace, folder: Path) -> Iterator[Result]:
    """Every figure."""
    material = Material.given(options)
    commits = options.commits or (QUICK_COMMITS if options.quick else COMMITS)
    total, task = commits * DOCUMENTS, f"{commits:,} commits"
    say(f"making {total:,} documents")
    documents = Documents.made(folder / "documents", material, total)
    queries = folder / "queries.jsonl"
    scale_data.write_queries(queries, material, 100 if options.quick else 300)
    say(f"{commits:,} commits of {DOCUMENTS} documents")
    life = many(documents, commits, folder, options.memory)
    say(f"one commit of {total:,} documents, one of {life.worst_documents:,}")
    took, written = once(documents, total, folder / "once.index", options.memory)
    once(documents, life.worst_documents, folder / "once-worst.index", options.memory)
    say("asking")
    yield from _commits(life, task, total)
    yield Result("one commit", task, total, "s", took)
    yield Result("one commit", task, total, "MB written", written / 1e6)
    yield Result("all", task, total, "written / one commit's", life.written / written)
    for moment, indexes, size, target in (
        ("at the end", (life.index, folder / "once.index"), total, AT_THE_END),
        ("worst", (life.worst, folder / "once-worst.index"), life.worst_documents, AT_WORST),
    ):
        times = asked(queries, indexes, options.rounds)
        for name in (*FIELDS, "hybrid"):
            ours, theirs = (1000 * float(np.median(found[name])) for found in times)
            yield Result(name, moment, size, "segments", _segments(indexes[0]))
            yield Result(name, moment, size, "p50_ms", ours)
            yield Result(name, moment, size, "p50_ms of one commit", theirs)
            yield judged(Result(name, moment, size, "times", ours / theirs), target)


def _commits(life: Life, task: str, total: int) -> Iterator[Result]:
    for quantile in (50, 95, 100):
        value = 1000 * float(np.percentile(life.seconds, quantile))
        metric = "max ms" if quantile == 100 else f"p{quantile} ms"
        yield Result("a commit", task, total, metric, value)
    yield Result("all", task, total, "s", sum(life.seconds) + life.finishing)
    yield Result("all", task, total, "finish ms", 1000 * life.finishing)
    yield Result("all", task, total, "MB written", life.written / 1e6)
    yield Result("all", task, total, "most segments", max(life.segments))
    yield Result("all", task, total, "mean segments", float(np.mean(life.segments)))


def asked(
    queries: Path, indexes: tuple[Path, ...], rounds: int
) -> list[dict[str, NDArray[np.float64]]]:
    """Seconds of each query, k = 10: for each index, by retriever; all of them in turn."""
    lines = [json.loads(line) for line in queries.read_text().splitlines()]
    with contextlib.ExitStack() as stack:
        asks: dict[str, Callable[[int], object]] = {}
        for number, index in enumerate(indexes):
            snapshot = stack.enter_context(Snapshot.open(index))
            for name, scorer in _scorers(snapshot, lines).items():
                asks[f"{number} {name}"] = partial(_top, scorer)
        times = query_times(asks, len(lines), rounds)
    return [
        {name: times[f"{number} {name}"] for name in (*FIELDS, "hybrid")}
        for number in range(len(indexes))
    ]


def _scorers(snapshot: Snapshot, lines: list[list[object]]) -> Mapping[str, FieldRetriever | Fused]:
    rows = {
        "bm25": [TermVectors.of([line[0]]) for line in lines],  # type: ignore[list-item]
        "sparse": [TermVectors.of([line[1]]) for line in lines],  # type: ignore[list-item]
        "dense": np.array([line[2] for line in lines], np.float32),
    }
    parts = tuple(
        FieldRetriever(
            name,
            snapshot,
            {"document": spec, "passage": spec},
            QueryCache(Ready(rows[name]), len(lines)),  # type: ignore[arg-type]
        )
        for name, spec in FIELDS.items()
    )
    hybrid = Fused("hybrid", parts, (1.0,) * 3, (z_score,) * 3, 100)
    return {**{part.name: part for part in parts}, "hybrid": hybrid}


def _top(scorer: FieldRetriever | Fused, i: int) -> object:
    return scorer.top([str(i)], 10, None, "document")


def _segments(index: Path) -> int:
    manifest = json.loads((index / "manifest.json").read_bytes())
    return len(manifest["segments"])


def main() -> None:
    made = parser(__doc__ or "", "python benchmarks/live.py --commits 300")
    made.add_argument("--commits", type=int, help=f"of {DOCUMENTS} documents; default: {COMMITS}")
    made.add_argument("--rounds", type=int, default=5, help="of queries; default: %(default)s")
    made.add_argument(
        "--memory", type=int, default=MEMORY_BUDGET,
        help="bytes that indexing may buffer; default: %(default)s",
    )  # fmt: skip
    add_options(made)
    made.add_argument("--folder", type=Path, help="for indexes, thrown away (default: temporary)")
    options = made.parse_args()
    with one_line_errors():
        if options.commits is not None and options.commits < 10:
            raise BadQuery(f"illegal commits: {options.commits}, must be at least 10")
        say(json.dumps(provenance()))
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            print_results(measure(options, Path(folder)), "a live index")


if __name__ == "__main__":
    main()
