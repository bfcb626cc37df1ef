"""Does memory grow with the corpus? Peak resident memory of indexing synthetic documents.

Each size is indexed by a process of its own, from a generator, so that the documents themselves
take no memory. BM25 alone at 10,000 and 200,000 documents; with the neural fields at sizes that
take minutes. The figure includes the interpreter, the libraries and the models' weights.
"""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from report import Result, one_line_errors, parser, print_results, provenance, say

if TYPE_CHECKING:
    from searchlib import Document

VOCABULARY = 100_000
WORDS = 120  # a document
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
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def index_here(system: str, count: int, memory: int) -> None:
    """Indexes `count` documents in this process and prints what that took, as JSON."""
    from searchlib import Engine, Settings

    settings = Settings(dense_model=None, sparse_model=None) if system == "bm25" else Settings()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "synthetic.index"
        with Engine.create(path, settings, memory=memory) as engine:
            started = time.perf_counter()
            engine.add(documents(count))
            took = time.perf_counter() - started
            size = engine.info()["bytes"]
    print(json.dumps({"peak": peak_bytes(), "seconds": took, "index": size}))


def measure(sizes: dict[str, tuple[int, ...]], memory: int) -> Iterator[Result]:
    """Peak memory, rate and index size, a process a system and size."""
    for system, counts in sizes.items():
        for count in counts:
            say(f"{system}: {count:,} documents")
            child = subprocess.run(
                [sys.executable, __file__, "--child", system, str(count), "--memory", str(memory)],
                stdout=subprocess.PIPE,
                text=True,
                check=False,
            )
            if child.returncode:
                say(f"error: indexing {count:,} documents ended with code {child.returncode}")
                sys.exit(1)
            found = json.loads(child.stdout.splitlines()[-1])
            yield Result(system, "index", count, "peak MB", found["peak"] / 1e6)
            yield Result(system, "index", count, "documents/s", count / found["seconds"])
            yield Result(system, "index", count, "index MB", found["index"] / 1e6)


def main() -> None:
    made = parser(__doc__ or "", "python benchmarks/memory.py --memory 256000000")
    made.add_argument(
        "--memory", type=int, default=256 << 20,
        help="bytes that indexing may buffer; default: %(default)s",
    )  # fmt: skip
    made.add_argument("--only", choices=tuple(SIZES), help="only this system")
    made.add_argument("--sizes", type=int, nargs="+", help="documents, instead of the usual sizes")
    made.add_argument("--child", nargs=2, metavar=("SYSTEM", "DOCUMENTS"), help="used by itself")
    options = made.parse_args()
    with one_line_errors():
        if options.child:
            index_here(options.child[0], int(options.child[1]), options.memory)
            return
        say(json.dumps(provenance()))
        sizes: dict[str, tuple[int, ...]] = dict(QUICK_SIZES if options.quick else SIZES)
        if options.only:
            sizes = {options.only: sizes[options.only]}
        if options.sizes:
            sizes = {system: tuple(options.sizes) for system in sizes}
        print_results(measure(sizes, options.memory), "peak memory of indexing")


if __name__ == "__main__":
    main()
