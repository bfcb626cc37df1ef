"""How fast is dense search, against faiss, hnswlib and usearch at equal recall?

All systems in one process, in turn, over equal vectors, queries one at a time on one thread:
medians of the rounds, and the recall of the 10 best. Vectors are those of the default dense
model, of --lines or of this Python's docstrings; where more are wanted than there are lines, the
rest are mixtures of two. Encoded vectors are kept in --cache.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from dense_peers import PEERS, Engine, Float32s, ours, peers
from material import Material
from report import (
    Result,
    judged,
    one_line_errors,
    parser,
    print_results,
    provenance,
    say,
)
from rounds import ROUNDS, Times, quantiles, query_times, turns

from searchlib.encoders.dense import DenseEncoder
from searchlib.errors import BadQuery

SIZE, QUICK_SIZE, QUICK_LINES = 100_000, 20_000, 1000
ASKED, QUICK_ASKED = 200, 100
QUICK_PEERS = ("faiss",)  # graphs take minutes to build
K = 10
RECALL = 0.99  # what a peer must reach to be compared with
TEXTS_AT_ONCE = 5000
CACHE = Path("build/bench")


def dense_rows(
    quick: bool = False,
    *,
    lines: Path | None = None,
    queries: Path | None = None,
    size: int | None = None,
    rounds: int | None = None,
    names: Sequence[str] | None = None,
    cache: Path = CACHE,
) -> Iterator[Result]:
    """Times, recalls, build times and sizes of all systems, and how we stand to the best peer.

    `lines`, `queries`: texts, one a line. `size`: vectors. `rounds`: measured ones (default: 5,
    `quick` 2). `names`: peers (default: all, `quick` without graphs).
    """
    size = size or (QUICK_SIZE if quick else SIZE)
    asked = QUICK_ASKED if quick else ASKED
    rounds = rounds or (2 if quick else ROUNDS)
    material = Material(lines=lines, queries=queries, cache=cache, quick=quick)
    texts = material.real_texts[: QUICK_LINES if quick else size]
    vectors = mixed(_encoded(texts, cache), size)
    asked_vectors = _encoded(material.all_questions[:asked], cache)
    names = names if names is not None else (QUICK_PEERS if quick else tuple(PEERS))
    with tempfile.TemporaryDirectory() as folder:
        say(f"indexing {size:,} vectors")
        engines = list(ours(Path(folder), vectors, asked_vectors))
        engines += peers(names, vectors, asked_vectors)
        yield from compare(engines, vectors, asked_vectors, rounds)


def compare(
    engines: Sequence[Engine], vectors: Float32s, queries: Float32s, rounds: int
) -> Iterator[Result]:
    """Single queries of all engines in turn; batches of those that take them."""
    size, task = len(vectors), f"dense, k = {K}"
    times = query_times({e.name: partial(_ask, e) for e in engines}, len(queries), rounds)
    recalls = {e.name: recall(e, vectors, queries) for e in engines}
    for engine in engines:
        yield from quantiles(engine.name, task, size, times[engine.name])
        if "filter" not in engine.name:
            yield Result(engine.name, task, size, f"recall@{K}", recalls[engine.name])
        yield Result(engine.name, task, size, "build_s", engine.seconds)
        yield Result(engine.name, task, size, "MB", engine.megabytes)
    yield from verdicts(times, recalls, size)
    for threads in (1, 2):
        actions = {e.name: partial(e.batch, K) for e in engines if e.batch is not None}
        with on_cores(threads):
            found = turns(actions, max(1, rounds // 2), threads)
        for name, (wall, _) in found.items():
            many = f"dense, batch, {threads} thread{'s' * (threads > 1)}"
            yield Result(name, many, size, "qps", len(queries) / wall)


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """This thread, and those that it starts, on so many cores, where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def verdicts(times: Times, recalls: dict[str, float], size: int) -> Iterator[Result]:
    """We against the fastest peer of at least our recall, or RECALL; a filter against none."""
    own, median = "searchlib", {name: float(np.median(found)) for name, found in times.items()}
    equal = [
        name
        for name, value in recalls.items()
        if not name.startswith(own) and value >= min(RECALL, recalls[own])
    ]
    yield judged(Result(own, "dense", size, f"recall@{K}", recalls[own]), f">= {RECALL}")
    if equal:
        best = min(equal, key=median.__getitem__)
        task = f"dense, times as fast as {best}"
        yield judged(Result(own, task, size, "ratio", median[best] / median[own]), ">= 1")
    filtered = median[own] / median[f"{own} 0.1% filter"]
    task = "dense, 0.1% filter, times as fast as unfiltered"
    yield judged(Result(own, task, size, "ratio", filtered), ">= 1")


def recall(engine: Engine, vectors: Float32s, queries: Float32s) -> float:
    """Mean share of the k best rows that an engine finds; equal products count as equal."""
    found = []
    for i, query in enumerate(queries):
        products = vectors @ query
        least = np.partition(products, len(products) - K)[len(products) - K]
        rows = engine.ask(i, K)
        found.append(min(K, int((products[rows] >= least - 1e-6).sum())) / K)
    return float(np.mean(found))


def mixed(vectors: Float32s, count: int) -> Float32s:
    """`count` vectors of length 1: the real ones first, then mixtures of two, unequally."""
    real, rng = vectors[:count], np.random.default_rng(0)
    missing = count - len(real)
    made = real[rng.integers(0, len(real), missing)]
    made += (
        rng.uniform(0.2, 0.9, (missing, 1)).astype(np.float32)
        * (real[rng.integers(0, len(real), missing)])
    )
    made /= np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-9)
    return np.concatenate([real, made])


def _ask(engine: Engine, i: int) -> object:
    return engine.ask(i, K)


def _encoded(texts: Sequence[str], cache: Path) -> Float32s:
    """The texts' vectors by the default dense model, kept in `cache`."""
    encoder = DenseEncoder()
    content = "\n".join([encoder.fingerprint, *texts]).encode()
    path = cache / f"dense-{hashlib.blake2b(content, digest_size=8).hexdigest()}.npy"
    if path.is_file():
        kept: Float32s = np.load(path, allow_pickle=False)
        return kept
    parts = []
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        say(f"encoding {start:,} of {len(texts):,} texts")
        parts.append(encoder.encode_document(texts[start : start + TEXTS_AT_ONCE]))
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.concatenate(parts))
    return np.concatenate(parts)


def arguments() -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__ or "", "python benchmarks/dense.py --lines lines.txt --queries q.txt")
    made.add_argument("--lines", type=Path, help="texts, one a line (.xz: compressed)")
    made.add_argument("--queries", type=Path, help="queries, one a line")
    made.add_argument("--size", type=int, help=f"vectors; default: {SIZE:,}")
    made.add_argument("--rounds", type=int, help=f"measured rounds; default: {ROUNDS}")
    made.add_argument("--peers", nargs="*", help=f"of {', '.join(PEERS)}; default: all")
    made.add_argument("--cache", type=Path, default=CACHE, help="default: %(default)s")
    return made.parse_args()


def check(options: argparse.Namespace) -> None:
    """Raises BadQuery for options that make no sense."""
    for unknown in set(options.peers or ()) - set(PEERS):
        raise BadQuery(f"unknown peer {unknown!r}; there are {', '.join(PEERS)}")
    if options.rounds is not None and options.rounds < 1:
        raise BadQuery(f"illegal rounds: {options.rounds}, must be at least 1")
    if options.size is not None and options.size < 1000:
        raise BadQuery(f"illegal size {options.size}, must be at least 1000 vectors")


def main() -> None:
    options = arguments()
    with one_line_errors():
        check(options)
        say(json.dumps(provenance()))
        rows = dense_rows(
            options.quick,
            lines=options.lines,
            queries=options.queries,
            size=options.size,
            rounds=options.rounds,
            names=options.peers,
            cache=options.cache,
        )
        print_results(rows, "dense")


if __name__ == "__main__":
    main()
