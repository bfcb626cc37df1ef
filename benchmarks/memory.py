"""Does indexing keep to its memory? Peak memory of indexing and searching synthetic documents.

Each size is indexed by a process of its own, from a generator, so that the documents themselves
take no memory, and then searched by another. What counts is memory that only the process has
(anonymous: not the index's mapped files, which the system may take back at any time), beyond
what indexing a single document takes: interpreter, libraries and models. BM25 alone at 10,000
and 200,000 documents; with the neural fields at sizes that take minutes.

With `--limited` each is done again under a limit that the system keeps (RLIMIT_DATA: private
memory that can be written to, used or not): what a single document takes and the allowed memory,
no byte more.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from report import Result, judged, one_line_errors, parser, print_results, provenance, say

from searchlib.config import DENSE_MODEL, SPARSE_MODEL

if TYPE_CHECKING:
    from searchlib import Document, Settings

VOCABULARY = 100_000
WORDS = 120  # a document
QUERIES = 200
SEARCHING = 64_000_000  # bytes that searching may hold
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
    asked: int  # what it had asked the system for, used or not: what RLIMIT_DATA limits


def peaks_of(command: Sequence[str], **options: Any) -> Peaks:
    """Runs a command, with `options` of Popen, and watches its memory, 200 times a second.

    Raises CalledProcessError where it fails. Linux only.
    """
    own = resident = asked = 0
    with subprocess.Popen(command, **options) as child:
        while child.poll() is None:
            with suppress(OSError, ValueError):
                status = Path(f"/proc/{child.pid}/status").read_text()
                found = dict(line.split(":", 1) for line in status.splitlines())
                if "VmHWM" in found:  # it runs still
                    own = max(own, _bytes(found["RssAnon"]))
                    resident = max(resident, _bytes(found["VmHWM"]))
                    asked = max(asked, _bytes(found["VmData"]))
            time.sleep(0.005)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, list(command))
    return Peaks(own, resident, asked)


def _bytes(kilobytes: str) -> int:
    return int(kilobytes.split(maxsplit=1)[0]) * 1024


def index_here(path: Path, settings: Settings, count: int, memory: int) -> None:
    """Indexes `count` documents in this process and says how fast that was."""
    from searchlib import Engine

    with Engine.create(path, settings, memory=memory) as engine:
        started = time.perf_counter()
        engine.add(documents(count))
        say(f"{count / (time.perf_counter() - started):,.0f} documents a second")


def settings_of(system: str, options: argparse.Namespace) -> Settings:
    """Those of an index with the models that were named, or without any."""
    from searchlib import Settings

    if system == "bm25":
        return Settings(dense_model=None, sparse_model=None)
    return Settings(dense_model=options.dense_model, sparse_model=options.sparse_model)


def search_here(path: Path, system: str) -> None:
    """Asks an index queries of one to eight words, in this process."""
    from searchlib import Engine

    rng = random.Random(1)
    with Engine.open(path) as engine:
        for number in range(QUERIES):
            words = " ".join(f"w{int(rng.paretovariate(0.7)):x}" for _ in range(1 + number % 8))
            engine.search(words, 100, retriever="bm25" if system == "bm25" else "hybrid")


def measure(sizes: dict[str, tuple[int, ...]], options: argparse.Namespace) -> Iterator[Result]:
    """Peak memory of indexing and of searching, processes a system and size."""
    models = [f"--dense-model={options.dense_model}", f"--sparse-model={options.sparse_model}"]
    allowed = {"index": options.memory, "search": SEARCHING}
    for system, counts in sizes.items():
        with tempfile.TemporaryDirectory() as folder:
            alone: dict[str, Peaks] = {}
            for count in (1, *counts):
                say(f"{system}: {count:,} documents")
                path = Path(folder) / f"{count}.index"
                for task in ("index", "search"):
                    command = [sys.executable, __file__, f"--{task}", str(path), system]
                    if task == "index":
                        command += [str(count), "--memory", str(options.memory), *models]
                    peaks = run(command, f"{task} of {count:,} documents")
                    alone.setdefault(task, peaks)
                    yield Result(system, task, count, "peak MB", peaks.resident / 1e6)
                    grown = (peaks.own - alone[task].own) / 1e6
                    result = Result(system, task, count, "own MB beyond one document", grown)
                    yield judged(result, f"<= {allowed[task] / 1e6:g}")
                    if options.limited and count > 1:
                        shutil.move(path, aside := path.with_suffix(".aside"))
                        if task == "search":
                            shutil.copytree(aside, path)
                        limit = alone[task].asked + allowed[task]
                        within = int(is_done_within(command, limit))
                        result = Result(system, task, count, "done within the limit", within)
                        yield judged(result, ">= 1")
                        shutil.rmtree(path, ignore_errors=True)
                        shutil.move(aside, path)
                size = sum(file.stat().st_size for file in path.iterdir())
                yield Result(system, "index", count, "index MB", size / 1e6)


def run(command: Sequence[str], what: str) -> Peaks:
    """`peaks_of`, or the end where it fails."""
    try:
        return peaks_of(command)
    except subprocess.CalledProcessError as error:
        say(f"error: {what} ended with {error.returncode}")
        sys.exit(1)


def is_done_within(command: Sequence[str], limit: int) -> bool:
    """Whether a command ends well that the system gives no more private memory than this."""
    import resource

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    done = subprocess.run(command, check=False, preexec_fn=limited, stdout=subprocess.DEVNULL)
    return done.returncode == 0


def main() -> None:
    made = parser(__doc__ or "", "python benchmarks/memory.py --memory 256000000")
    made.add_argument(
        "--memory", type=int, default=256 << 20,
        help="bytes that indexing may hold; default: %(default)s",
    )  # fmt: skip
    made.add_argument(
        "--limited", action="store_true", help="do it once more under a limit of the system"
    )
    made.add_argument("--dense-model", default=DENSE_MODEL, help="default: %(default)s")
    made.add_argument("--sparse-model", default=SPARSE_MODEL, help="default: %(default)s")
    made.add_argument("--only", choices=tuple(SIZES), help="only this system")
    made.add_argument("--sizes", type=int, nargs="+", help="documents, instead of the usual sizes")
    made.add_argument("--index", nargs=3, metavar=("INDEX", "SYSTEM", "N"), help="used by itself")
    made.add_argument("--search", nargs=2, metavar=("INDEX", "SYSTEM"), help="used by itself")
    options = made.parse_args()
    with one_line_errors():
        if options.index:
            path, system, count = options.index
            index_here(Path(path), settings_of(system, options), int(count), options.memory)
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
        results = print_results(measure(sizes, options), "peak memory")
        sys.exit(any(result.met is False for result in results))


if __name__ == "__main__":
    main()
