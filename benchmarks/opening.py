"""Opens an index in a process of its own and asks it: seconds, and resident memory after each.

Used by engine.py; prints one JSON object.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np


def resident() -> int:
    """Bytes of this process in memory now; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    import resource

    return pages * resource.getpagesize()


def opened(index: Path, queries: Path, field: str) -> dict[str, float]:
    """Opens the index and asks the queries of a file of {term: weight} lines."""
    from indexes.snapshot import Snapshot
    from indexes.types import TermVectors

    asked = [json.loads(line) for line in queries.read_text().splitlines()]
    found = {"resident before": float(resident())}
    started = time.perf_counter()
    snapshot = Snapshot.open(index)
    found["open"] = time.perf_counter() - started
    found["resident open"] = float(resident())
    started = time.perf_counter()
    snapshot.search(field, TermVectors.of(asked[:1]), 10)
    found["first query"] = time.perf_counter() - started
    found["resident 1"] = float(resident())
    times = []
    for query in asked:
        row = TermVectors.of([query])
        started = time.perf_counter()
        snapshot.search(field, row, 10)
        times.append(time.perf_counter() - started)
    found["query"] = float(np.median(times))
    found[f"resident {len(asked)}"] = float(resident())
    found["index"] = float(snapshot.nbytes)
    return found


def in_a_process(index: Path, queries: list[dict[str, float]], field: str) -> dict[str, float]:
    """What `opened` finds in a fresh process.

    Raises:
        RuntimeError: it failed.
    """
    lines = index.with_suffix(".queries")
    lines.write_text("\n".join(map(json.dumps, queries)))
    done = subprocess.run(
        [sys.executable, __file__, str(index), str(lines), field],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"opening {index} failed: {done.stderr.strip()[-300:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    print(json.dumps(opened(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])))
