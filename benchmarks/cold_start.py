"""How long until the first answer? Wall time of one-shot commands, each a fresh process.

Against it, what merely importing torch and transformers takes. Rounds are interleaved, so that
a busy machine is busy for all; the median of the rounds is reported, after one round unmeasured.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from report import Result, one_line_errors, parser, print_results, provenance, say

IMPORTS = "import torch, transformers"
QUERY = "how do rivers freeze in winter"
SUBJECTS = ("river", "engine", "violin", "market", "planet", "harvest", "bridge", "memory")
VERBS = ("freezes", "grows", "breaks", "travels", "sounds", "costs", "turns", "rests")
PLACES = ("in winter", "under load", "at night", "by the sea", "in a crowd", "over years")


def make_index(path: Path, documents: int) -> None:
    """A small index with all representations."""
    from searchlib import Document, Engine, Settings

    sentences = [f"The {s} {v} {p}." for s in SUBJECTS for v in VERBS for p in PLACES]
    with Engine.create(path, Settings()) as engine:
        engine.add(
            Document(
                f"d{n}",
                " ".join(sentences[(n * 7 + i * 31) % len(sentences)] for i in range(4)),
                title=f"Note {n}",
            )
            for n in range(documents)
        )


def searchlib_command() -> list[str]:
    """The installed `searchlib` beside this Python, else the module."""
    script = Path(sys.executable).parent / "searchlib"
    return [str(script)] if script.exists() else [sys.executable, "-m", "searchlib.cli"]


def timed(command: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of the command in a fresh process; ends the script if it fails."""
    before = os.times()
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    took = time.perf_counter() - started
    after = os.times()
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        say(f"error: {' '.join(command)} ended with code {done.returncode}: {last}")
        sys.exit(1)
    cpu = after.children_user + after.children_system
    return took, cpu - before.children_user - before.children_system


def measure(program: list[str], index: Path, documents: int, rounds: int) -> Iterator[Result]:
    """Median wall seconds of every command."""
    search = [*program, "search", str(index), QUERY, "--retriever"]
    commands = {
        "searchlib --help": [*program, "--help"],
        "searchlib search, bm25": [*search, "bm25"],
        "searchlib search, lookup": [*search, "lookup"],
        "searchlib search, dense": [*search, "dense"],
        "searchlib search, hybrid": [*search, "hybrid"],
        f"python -c '{IMPORTS}'": [sys.executable, "-c", IMPORTS],
        "python -c pass": [sys.executable, "-c", "pass"],
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for round_number in range(rounds + 1):
        say(f"round {round_number} of {rounds}")
        for name, command in commands.items():
            took = timed(command)
            if round_number:
                times[name].append(took)
    for name, found in times.items():
        size = documents if "search," in name else None
        wall, cpu = zip(*found, strict=True)
        yield Result(name, "cold start", size, "seconds (median)", median(wall))
        yield Result(name, "cold start", size, "seconds (least)", min(wall))
        yield Result(name, "cold start", size, "CPU seconds (median)", median(cpu))


def main() -> None:
    made = parser(__doc__ or "", "python benchmarks/cold_start.py --rounds 9")
    made.add_argument("--rounds", type=int, help="measured runs of each command (default: 7)")
    made.add_argument("--documents", type=int, help="in the index (default: 2000)")
    made.add_argument("--program", help="what to run (default: searchlib beside this Python)")
    options = made.parse_args()
    rounds = options.rounds or (2 if options.quick else 7)
    program = shlex.split(options.program) if options.program else searchlib_command()
    documents = options.documents or (200 if options.quick else 2000)
    with one_line_errors(), tempfile.TemporaryDirectory() as folder:
        say(json.dumps(provenance()))
        path = Path(folder) / "small.index"
        make_index(path, documents)
        print_results(measure(program, path, documents, rounds), "cold start")


if __name__ == "__main__":
    main()
