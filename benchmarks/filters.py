"""What metadata cost: filters, facets and sorting, asked for the first time and again.

    python benchmarks/filters.py /tmp/filters.index

100,000 short documents of random words, each with a number, a text of many, a text
of few, a list, a date and a time with a zone as metadata; filters that select all of them to one
in a thousand. Milliseconds of the thread's own time, medians: `first` in a snapshot just opened,
`again` (a filter not asked before, of the same fields), `search` BM25 of three words, k 10, within
the selection. Then what making the index took, and what of that and of its bytes is columns'.
"""

from __future__ import annotations

import io
import random
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from indexes.arrays import write_arrays
from indexes.column_building import Part, build_columns, combined_columns
from indexes.column_file import column_arrays
from indexes.columns import Columns
from indexes.snapshot import Snapshot
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
                    "seen": f"2024-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}"
                    f"T{rng.randrange(24):02d}:{rng.randrange(60):02d}:00+02:00",
                },
            )
            for n in range(DOCUMENTS)
        )


def timed(work: Callable[[], object]) -> float:
    """Milliseconds of the thread's own time: other processes do not count."""
    start = time.thread_time()
    work()
    return (time.thread_time() - start) * 1000


def filters(share: float) -> dict[str, str]:
    """A filter a field that selects about this share."""
    return {
        "number <": f"number < {round(1000 * share)}",
        "name <": f"name < 'name {round(100_000 * share):06d}'",
        "list and date": f"tags = 'a' and published >= '1900' and number < {round(1000 * share)}",
    }


def measure(path: Path, where: str) -> tuple[int, list[float]]:
    """How many are selected; first, again and search, in milliseconds."""
    times: list[list[float]] = [[], [], []]
    for _ in range(ROUNDS):
        with Engine.open(path) as engine:
            engine.rank(["word7"], 10, retriever="bm25")
            select = engine.snapshot.select
            times[0].append(timed(partial(select, where)))
            times[1].append(timed(partial(select, f"({where})")))
            count = len(engine.snapshot.select(where))
            engine.rank(QUERY, 10, retriever="bm25", where=where)
            times[2].append(timed(partial(engine.rank, QUERY, 10, retriever="bm25", where=where)))
    return count, [statistics.median(part) for part in times]


def asked(path: Path, ask: Callable[[Snapshot], object]) -> list[float]:
    """The first time and again, in milliseconds."""
    times: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        with Snapshot.open(path) as snapshot:
            for part in times:
                part.append(timed(partial(ask, snapshot)))
    return [statistics.median(part) for part in times]


def building(path: Path) -> tuple[float, float, int]:
    """Seconds that columns take to be made and written, and to be merged; their bytes."""
    with Snapshot.open(path) as snapshot:
        sizes = [file.stat().st_size for file in path.glob("*.columns")]
        [segment] = snapshot._segments
        _, texts = segment.store.metadata(0, DOCUMENTS)
        chunk = 10_000

        def made() -> Columns:
            starts = range(0, len(texts), chunk)
            chunks = ((np.arange(s, s + chunk), texts[s : s + chunk]) for s in starts)
            return build_columns(len(texts), chunks)

        def written() -> None:
            write_arrays(io.BytesIO(), column_arrays(made()))

        columns = segment.documents.columns.all()
        half = np.where(np.arange(DOCUMENTS) % 2, np.arange(DOCUMENTS), -1)
        other = np.where(half < 0, np.arange(DOCUMENTS), -1)
        parts = [Part(columns, half), Part(columns, other)]
        merged = statistics.median(
            timed(partial(combined_columns, DOCUMENTS, parts)) for _ in range(ROUNDS)
        )
        return statistics.median(timed(written) for _ in range(ROUNDS)), merged, sum(sizes)


def main(path: Path) -> None:
    """Print tables."""
    took = timed(partial(make, path))
    print("| filter | share | selected | first ms | again ms | search ms |")
    print("|---|--:|--:|--:|--:|--:|")
    for share in SHARES:
        for name, where in filters(share).items():
            count, times = measure(path, where)
            shown = " | ".join(f"{time:.2f}" for time in times)
            print(f"| {name} | {share:.1%} | {count} | {shown} |")
    print("\n| asked | first ms | again ms |\n|---|--:|--:|")
    for field in ("number", "name", "lang", "tags", "published", "seen", "id", "title"):
        for what, ask in (
            ("facets", partial(Snapshot.facets, field=field)),
            ("sort", partial(Snapshot.sort, field=field, k=10)),
            ("sort -", partial(Snapshot.sort, field=f"-{field}", k=10)),
        ):
            shown = " | ".join(f"{time:.2f}" for time in asked(path, ask))
            print(f"| {what} {field} | {shown} |")
    seconds, merged, size = building(path)
    whole = sum(file.stat().st_size for file in path.iterdir())
    print(f"\nmaking the index: {took:.0f} ms (0: it was there); columns {seconds:.0f} ms of it,")
    print(f"merging them {merged:.0f} ms; {size:,} of {whole:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
