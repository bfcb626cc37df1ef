"""BM25 against tantivy and bm25s: query time, rankings, batches, building from terms and texts."""

from __future__ import annotations

from collections.abc import Iterator

import lexical_peers
from comparison import Comparison
from engine_room import OURS, Searcher, structures
from ingest import ingest_rows
from oracle import Oracle
from report import Result, judged, say
from rounds import ratio
from workplace import Workplace

DEPTHS = (10, 100, 1000)
SEVERAL = 50_000  # documents from which on the targets hold
FROM_TEXT = 100_000
TARGETS = (  # the peer, the quantile of times, how many times as fast
    ("tantivy", 50, ">= 1.2"),
    ("tantivy", 95, ">= 2"),
    ("bm25s-numba", 50, ">= 2"),
    ("bm25s-numba", 95, ">= 2"),
)


def bm25(place: Workplace) -> Iterator[Result]:
    """Every system over the first lines, and over all of them."""
    for size in _sizes(place):
        say(f"bm25: analysing {size:,} lines")
        questions = place.material.all_questions[: 2 * place.asked]
        terms = lexical_peers.Terms.of(place.material.texts(size), questions)
        folder = place.folder / f"bm25-{size}"
        folder.mkdir(parents=True)
        made = lexical_peers.ours(folder / "ours.index", terms)
        systems: dict[str, Searcher] = {OURS: made}
        for peer in lexical_peers.peers(folder, terms, place.without):
            systems[peer.name] = peer
        yield from _builds(systems, terms, size)
        yield from structures("bm25", made, terms.batches, "count", place.rounds)
        oracle, asked = Oracle(*lexical_peers.impacts(terms)), len(terms.queries)
        compared = Comparison(systems, oracle, size, asked, place.rounds)
        for k in DEPTHS:
            say(f"bm25: {size:,} documents, k={k}")
            yield from _queries(compared, k)
        for threads in place.threads:
            yield from _batches(compared, threads)


def _sizes(place: Workplace) -> list[int]:
    if place.quick:
        return [5_000]
    # of given lines no more than there are: real ones only
    most = len(place.material.real_texts) if place.material.lines else max(place.sizes)
    return sorted({min(size, most) for size in place.sizes})


def _builds(
    systems: dict[str, Searcher], terms: lexical_peers.Terms, size: int
) -> Iterator[Result]:
    postings = sum(len(batch.values) for batch in terms.batches)
    for name, system in systems.items():
        yield Result(name, "bm25: build", size, "docs/s/core", size / system.build[1])
        yield Result(name, "bm25: size", size, "bytes/posting", system.nbytes / postings)
        yield Result(name, "bm25: size", size, "MB", system.nbytes / 1e6)


def _queries(compared: Comparison, k: int) -> Iterator[Result]:
    task, size = f"bm25, k={k}", compared.size
    times, results = compared.queries(task, k)
    yield from results
    stated = k == 10 and size >= SEVERAL
    for peer, quantile, target in TARGETS:
        if peer in times:
            value, _ = ratio(times, OURS, [peer], quantile)
            made = Result(OURS, task, size, f"p{quantile} x {peer}", value)
            yield judged(made, target) if stated else made


def _batches(compared: Comparison, threads: int) -> Iterator[Result]:
    found = list(compared.batches("bm25", threads))
    yield from found
    rates = {result.system: result.value for result in found}
    if "bm25s-numba" in rates:
        value = rates[OURS] / rates["bm25s-numba"]
        made = Result(OURS, found[0].task, compared.size, "x bm25s-numba", value)
        yield judged(made, ">= 1") if compared.size >= SEVERAL else made


def text(place: Workplace) -> Iterator[Result]:
    """Building from text, tokenising included: see `ingest`."""
    size = 2_000 if place.quick else min(FROM_TEXT, max(place.sizes))
    yield from ingest_rows(place.material.texts(size), place.rounds)
