"""Does indexing keep to its memory? Peak memory of indexing and searching synthetic documents.

Each size is indexed by a process of its own, from a generator, so that the documents themselves
take no memory, and then searched by another. What counts is memory that only the process has
(anonymous: not the index's mapped files, which the system may take back at any time), beyond
what indexing a single document takes: interpreter, libraries and models. BM25 alone at 10,000
and 200,000 documents; with the neural fields at sizes that take minutes.
"""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from report import Result, judged, one_line_errors, parser, print_results, provenance, say

if TYPE_CHECKING:
    from searchlib import Document

VOCABULARY = 100_000
WORDS = 120  # a document
QUERIES = 200
SIZES = {"bm25": (10_000, 200_000), "bm25 + sparse + dense": (500, 2_500)}
QUICK_SIZES = {"bm25": (1_000, 10_000), "bm25 + sparse + dense": (50, 200)}


def documents(count: int) -> Iterator[Document]:
    """Documents of words drawn by Zipf's law; the same for the same count."""
    from searchlib import Document

    rng = random.Random(0)
    words = [f"w{rank:x}" for rank in range(VOCABULARY)]
    cumulative = list(itertools.accumulate(1 / (rank + 1) for rank in range(VOCABULARY)))
    for number in range(count):
        drawn = rng.choices(words, cum_weights=cumulative, k=WORDS)
        yield Document(f"d{number}", " ".join(drawn), metadata={"number": number})


def peak_bytes() -> int:
    """The largest resident memory that this process has had."""
    try:
        # subtle: ru_maxrss of a child starts at its parent's peak on Linux; VmHWM does not
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return _bytes(line.partition(":")[2])
    except OSError:
        pass
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class Peaks(NamedTuple):
    """The most memory that a process had, bytes."""

    own: int  # anonymous: its own, which nobody can take back
    resident: int  # all of it, pages of files that it has mapped included


def peaks_of(command: Sequence[str], **options: Any) -> Peaks:
    """Runs a command, with `options` of Popen, and watches its memory, 200 times a second.

    Raises CalledProcessError where it fails. Linux only.
    """
    own = resident = 0
    with subprocess.Popen(command, **options) as child:
        while child.poll() is None:
            with suppress(OSError, ValueError):
                status = Path(f"/proc/{child.pid}/status").read_text()
                found = dict(line.split(":", 1) for line in status.splitlines())
                if "VmHWM" in found:  # it runs still
                    own = max(own, _bytes(found["RssAnon"]))
                    resident = max(resident, _bytes(found["VmHWM"]))
            time.sleep(0.005)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, list(command))
    return Peaks(own, resident)


def _bytes(kilobytes: str) -> int:
    return int(kilobytes.split(maxsplit=1)[0]) * 1024


def index_here(path: Path, system: str, count: int, memory: int) -> None:
    """Indexes `count` documents in this process and prints what that took, as JSON."""
    from searchlib import Engine, Settings

    settings = Settings(dense_model=None, sparse_model=None) if system == "bm25" else Settings()
    with Engine.create(path, settings, memory=memory) as engine:
        started = time.perf_counter()
        engine.add(documents(count))
        say(f"{count / (time.perf_counter() - started):,.0f} documents a second")


def search_here(path: Path, system: str) -> None:
    """Asks an index queries of one to eight words, in this process."""
    from searchlib import Engine

    rng = random.Random(1)
    with Engine.open(path) as engine:
        for number in range(QUERIES):
            words = " ".join(f"w{int(rng.paretovariate(0.7)):x}" for _ in range(1 + number % 8))
            engine.search(words, 100, retriever="bm25" if system == "bm25" else "hybrid")


def measure(sizes: dict[str, tuple[int, ...]], memory: int) -> Iterator[Result]:
    """Peak memory of indexing and of searching, processes a system and size."""
    for system, counts in sizes.items():
        with tempfile.TemporaryDirectory() as folder:
            alone: dict[str, Peaks] = {}
            for count in (1, *counts):
                say(f"{system}: {count:,} documents")
                path = Path(folder) / f"{count}.index"
                for task in ("index", "search"):
                    more = [str(count), "--memory", str(memory)] if task == "index" else []
                    command = [sys.executable, __file__, f"--{task}", str(path), system, *more]
                    try:
                        peaks = peaks_of(command)
                    except subprocess.CalledProcessError as error:
                        say(f"error: {task} of {count:,} documents ended with {error.returncode}")
                        sys.exit(1)
                    alone.setdefault(task, peaks)
                    yield Result(system, task, count, "peak MB", peaks.resident / 1e6)
                    grown = (peaks.own - alone[task].own) / 1e6
                    result = Result(system, task, count, "own MB beyond one document", grown)
                    limit = memory / 1e6 if task == "index" else 64.0
                    yield judged(result, f"<= {limit:g}")
                size = sum(file.stat().st_size for file in path.iterdir())
                yield Result(system, "index", count, "index MB", size / 1e6)


def main() -> None:
    made = parser(__doc__ or "", "python benchmarks/memory.py --memory 256000000")
    made.add_argument(
        "--memory", type=int, default=256 << 20,
        help="bytes that indexing may hold; default: %(default)s",
    )  # fmt: skip
    made.add_argument("--only", choices=tuple(SIZES), help="only this system")
    made.add_argument("--sizes", type=int, nargs="+", help="documents, instead of the usual sizes")
    made.add_argument("--index", nargs=3, metavar=("INDEX", "SYSTEM", "N"), help="used by itself")
    made.add_argument("--search", nargs=2, metavar=("INDEX", "SYSTEM"), help="used by itself")
    options = made.parse_args()
    with one_line_errors():
        if options.index:
            path, system, count = options.index
            index_here(Path(path), system, int(count), options.memory)
            return
        if options.search:
            search_here(Path(options.search[0]), options.search[1])
            return
        say(json.dumps(provenance()))
        sizes: dict[str, tuple[int, ...]] = dict(QUICK_SIZES if options.quick else SIZES)
        if options.only:
            sizes = {options.only: sizes[options.only]}
        if options.sizes:
            sizes = {system: tuple(options.sizes) for system in sizes}
        results = print_results(measure(sizes, options.memory), "peak memory")
        sys.exit(any(result.met is False for result in results))


if __name__ == "__main__":
    main()
