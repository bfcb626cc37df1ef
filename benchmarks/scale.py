"""What grows with the collection, and how fast? Building, size, memory and query times by size.

Every size is built by one process and asked by another, so that peak memory is its own. BM25
is made of texts; sparse vectors are given (what encoding takes is in encode.py), dense ones are
projections to 64 dimensions, of models' usual 384. Documents come from files, a batch at a
time. Results are printed, and written as JSON and a plot.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import scale_data
from material import Material, add_options
from memory import peak_bytes
from numpy.typing import NDArray
from report import Result, one_line_errors, parser, print_results, provenance, say
from rounds import query_times

from indexes.manifest import TermField, VectorField
from indexes.similarity import BM25, Dot
from indexes.snapshot import Snapshot
from indexes.types import Record, TermVectors
from indexes.writer import MEMORY_BUDGET, Writer
from searchlib.errors import BadQuery
from searchlib.fused import Fused
from searchlib.fusion import z_score
from searchlib.query_cache import QueryCache
from searchlib.retrievers import FieldRetriever

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
QUICK_SIZES = (1_000, 3_000, 10_000)
FIELDS = {"bm25": "bm25_passage", "sparse": "sparse", "dense": "dense"}
QUANTILES = (50, 95, 99)


class Ready:
    """An encoder that knows its queries, named "0", "1", ..., beforehand."""

    fingerprint = ""

    def __init__(self, rows: Sequence[TermVectors] | NDArray[np.float32]) -> None:
        self._rows = rows

    def encode_query(self, texts: Sequence[str]) -> TermVectors | NDArray[np.float32]:
        """The rows of the named queries."""
        if isinstance(self._rows, np.ndarray):
            return self._rows[[int(text) for text in texts]]
        return TermVectors.of([self._rows[int(text)].row(0) for text in texts])

    encode_document = encode_query


def build(documents: Path, count: int, index: Path, memory: int) -> dict[str, float]:
    """Indexes `count` documents in this process; seconds, bytes, peak bytes."""
    from searchlib.encoders.analyzer import Analyzer

    fields: list[TermField | VectorField] = [
        TermField("bm25_passage", "count", "passage", BM25()),
        TermField("sparse", "impact", "passage", Dot()),
        VectorField("dense", scale_data.DIM, "passage", "auto"),
    ]
    analyzer, first, before = Analyzer(), 0, peak_bytes()
    took = used = 0.0
    with Writer.create(index, fields, memory_budget=memory) as writer:
        for texts, sparse, dense in scale_data.read(documents, count):
            started, cpu = time.perf_counter(), time.process_time()
            records = [
                Record(str(first + i), "", text, passages=((0, len(text)),))
                for i, text in enumerate(texts)
            ]
            counts = analyzer.encode_document(texts)
            writer.add(records, {"bm25_passage": counts, "sparse": sparse, "dense": dense})
            took += time.perf_counter() - started
            used += time.process_time() - cpu
            first += len(texts)
        started, cpu = time.perf_counter(), time.process_time()
        writer.commit()
        took += time.perf_counter() - started
        used += time.process_time() - cpu
    with Snapshot.open(index) as snapshot:
        sizes, segments = snapshot.field_bytes(), snapshot.n_segments
        total = snapshot.nbytes
    found = {"build s": took, "build CPU s": used, "index MB": total / 1e6}
    found.update({f"{name} MB": sizes[field] / 1e6 for name, field in FIELDS.items()})
    found["segments"] = segments
    found["peak MB"] = peak_bytes() / 1e6
    found["peak MB before"] = before / 1e6
    return found


def ask(queries: Path, index: Path, rounds: int) -> dict[str, float]:
    """Query times of every retriever over an index, k = 10, in milliseconds; memory."""
    lines = [json.loads(line) for line in queries.read_text().splitlines()]
    rows: dict[str, Sequence[TermVectors] | NDArray[np.float32]] = {
        "bm25": [TermVectors.of([line[0]]) for line in lines],
        "sparse": [TermVectors.of([line[1]]) for line in lines],
        "dense": np.array([line[2] for line in lines], np.float32),
    }
    started = time.perf_counter()
    with Snapshot.open(index) as snapshot:
        found = {"open ms": 1000 * (time.perf_counter() - started)}
        parts = tuple(
            FieldRetriever(
                name,
                snapshot,
                {"document": field, "passage": field},
                QueryCache(Ready(rows[name]), len(lines)),
            )
            for name, field in FIELDS.items()
        )
        hybrid = Fused("hybrid", parts, (1.0,) * 3, (z_score,) * 3, 100)
        asks: dict[str, Callable[[int], object]] = {
            **{part.name: partial(_top, part) for part in parts},
            hybrid.name: partial(_top, hybrid),
        }
        times = query_times(asks, len(lines), rounds)
    for name, seconds in times.items():
        for quantile in QUANTILES:
            found[f"{name} p{quantile}_ms"] = 1000 * float(np.percentile(seconds, quantile))
    found["peak MB of queries"] = peak_bytes() / 1e6
    return found


def _top(scorer: FieldRetriever | Fused, i: int) -> object:
    return scorer.top([str(i)], 10, None, "document")


def measure(options: argparse.Namespace, sizes: Sequence[int]) -> Iterator[Result]:
    """Every figure at every size."""
    material = Material.given(options)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        documents, queries = folder / "documents", folder / "queries.jsonl"
        documents.mkdir()
        say(f"making {max(sizes):,} documents")
        scale_data.write(documents, material, max(sizes))
        scale_data.write_queries(queries, material, 100 if options.quick else 300)
        del material
        for size in sizes:
            index = folder / f"{size}.index"
            say(f"{size:,} documents: building")
            built = _child(["build", documents, size, index, options.memory])
            say(f"{size:,} documents: {built['build s']:.1f} s; asking")
            asked = _child(["ask", queries, index, options.rounds])
            for label, value in (*built.items(), *asked.items()):
                system, _, metric = label.rpartition(" ") if "_ms" in label else ("", "", label)
                yield Result(f"searchlib {system}".strip(), "scale", size, metric, value)


def _child(arguments: list[object]) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        say(f"error: {arguments[0]} ended with code {done.returncode}")
        sys.exit(1)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _as_child(what: str, *arguments: str) -> None:
    if what == "build":
        documents, count, index, memory = arguments
        found = build(Path(documents), int(count), Path(index), int(memory))
    else:
        queries, index, rounds = arguments
        found = ask(Path(queries), Path(index), int(rounds))
    print(json.dumps(found))


def write(results: Sequence[Result], out: Path, made_by: dict[str, object]) -> None:
    """Puts the results into scale.json and scale.png."""
    from scale_plot import draw

    out.mkdir(parents=True, exist_ok=True)
    lines = {"provenance": made_by, "results": [result.to_json() for result in results]}
    (out / "scale.json").write_text(json.dumps(lines, indent=1) + "\n")
    draw(results, out / "scale.png")


def main() -> None:
    made = parser(
        __doc__ or "", "python benchmarks/scale.py --sizes 10000 100000 --out build/scale"
    )
    made.add_argument("--sizes", nargs="+", type=int, metavar="N", help="documents")
    made.add_argument("--rounds", type=int, default=5, help="of queries; default: %(default)s")
    made.add_argument(
        "--memory", type=int, default=MEMORY_BUDGET,
        help="bytes that indexing may buffer; default: %(default)s",
    )  # fmt: skip
    add_options(made)
    made.add_argument("--folder", type=Path, help="for indexes, thrown away (default: temporary)")
    made.add_argument("--out", type=Path, default=Path("build/scale"), help="for results")
    made.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = made.parse_args()
    with one_line_errors():
        if options.child:
            _as_child(*options.child)
            return
        sizes = sorted(options.sizes or (QUICK_SIZES if options.quick else SIZES))
        if sizes[0] < 100:
            raise BadQuery(f"illegal size {sizes[0]}, must be at least 100 documents")
        made_by = provenance()
        say(json.dumps(made_by))
        results = print_results(measure(options, sizes), "growth with the collection")
        write(results, options.out, made_by)
        say(f"written to {options.out}")


if __name__ == "__main__":
    main()
