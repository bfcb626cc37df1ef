"""What a filter costs: the documents selected for the first time, again, and the search within.

    python benchmarks/filters.py /tmp/filters.index

100,000 short documents of random words, each with a number, a text of many, a text
of few, a list and a date as metadata; filters that select all of them to one in a thousand.
Milliseconds, medians: `first` in a snapshot just opened (SQL), `second` (the fields' columns are
read), `third` (a filter not asked before, of the same fields), `search` BM25 of three words, k 10,
within the selection.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from searchlib import Document, Engine, Settings

DOCUMENTS = 100_000
ROUNDS = 5
QUERY = ["word10 word100 word1000"]
SHARES = (1.0, 0.1, 0.01, 0.001)


def make(path: Path) -> None:
    """The index, unless it is there."""
    if path.exists():
        return
    rng = random.Random(1)
    words = [f"word{n}" for n in range(5000)]
    weights = [1 / (n + 1) for n in range(5000)]
    with Engine.create(path, Settings(dense_model=None, sparse_model=None)) as engine:
        engine.add(
            Document(
                f"d{n}",
                " ".join(rng.choices(words, weights, k=30)),
                metadata={
                    "number": rng.randrange(1000),
                    "name": f"name {rng.randrange(100_000):06d}",
                    "lang": rng.choice(["en", "fr", "de", "nl"]),
                    "tags": rng.sample(["a", "b", "c", "d", "e"], k=2),
                    "published": f"{rng.randrange(1900, 2025)}-{rng.randrange(1, 13):02d}-01",
                },
            )
            for n in range(DOCUMENTS)
        )


def timed(work: Callable[[], object]) -> float:
    """Milliseconds."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def filters(share: float) -> dict[str, str]:
    """A filter a field that selects about this share."""
    return {
        "number <": f"number < {round(1000 * share)}",
        "name <": f"name < 'name {round(100_000 * share):06d}'",
        "list and date": f"tags = 'a' and published >= '1900' and number < {round(1000 * share)}",
    }


def measure(path: Path, where: str) -> tuple[int, list[float]]:
    """How many are selected; first, second, third and search, in milliseconds."""
    times: list[list[float]] = [[], [], [], []]
    for _ in range(ROUNDS):
        with Engine.open(path) as engine:
            engine.rank(["word7"], 10, retriever="bm25")
            select = engine.snapshot.select
            times[0].append(timed(partial(select, where)))
            times[1].append(timed(partial(select, f"({where})")))
            times[2].append(timed(partial(select, f"(({where}))")))
            count = len(engine.snapshot.select(where))
            engine.rank(QUERY, 10, retriever="bm25", where=where)
            times[3].append(timed(partial(engine.rank, QUERY, 10, retriever="bm25", where=where)))
    return count, [statistics.median(part) for part in times]


def main(path: Path) -> None:
    """Print a table."""
    make(path)
    print("| filter | share | selected | first ms | second ms | third ms | search ms |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for share in SHARES:
        for name, where in filters(share).items():
            count, times = measure(path, where)
            shown = " | ".join(f"{time:.2f}" for time in times)
            print(f"| {name} | {share:.1%} | {count} | {shown} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
