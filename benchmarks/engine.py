"""How fast is the engine room, against whoever else does the same?

Peers and searchlib in one process, in turn, over equal vectors and equal terms; medians of the
rounds; one thread, but where a task says two. Each ratio stands beside the target that we set
ourselves, met or missed. Without files, the material is this Python's docstrings.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import lexical_peers
import lexical_tasks
import sparse_peers
import sparse_tasks
import whole_tasks
from material import Material, add_options
from report import Result, one_line_errors, parser, print_results, provenance, say
from workplace import NAMES, QUICK_SIZES, SIZES, Workplace

from searchlib.errors import BadQuery, ModelNotFound, NotFound

TASKS: dict[str, Callable[[Workplace], Iterator[Result]]] = {
    "sparse": sparse_tasks.sparse,
    "growth": sparse_tasks.growth,
    "bm25": lexical_tasks.bm25,
    "hybrid": whole_tasks.hybrid,
    "filters": whole_tasks.filters,
    "open": whole_tasks.opening,
    "text": lexical_tasks.text,
    "share": whole_tasks.share,
    "oneshot": whole_tasks.oneshot,
    "dense": whole_tasks.dense,
    "encode": whole_tasks.encode,
    "collections": sparse_tasks.collections,
    "txtai": whole_tasks.txtai,
}
PEERS = (*sparse_peers.PEERS, *lexical_peers.PEERS)
SLOW = ("dense", "encode", "collections", "txtai")  # not with --quick, but by name
SECONDS_OF_QUICK = 35.0  # then no further task is begun


def arguments() -> argparse.Namespace:
    """The command line."""
    made = parser(
        f"{__doc__}\ntasks: {', '.join(TASKS)}",
        "python benchmarks/engine.py --tasks sparse bm25 --sizes 10000 100000",
    )
    made.add_argument(
        "--tasks", nargs="+", metavar="TASK",
        help=f"only these (default: all; with --quick all but {', '.join(SLOW)})",
    )  # fmt: skip
    made.add_argument(
        "--sizes", nargs="+", type=int, metavar="N",
        help=f"documents (default: {' '.join(map(str, SIZES))})",
    )  # fmt: skip
    made.add_argument(
        "--lengths", nargs="+", choices=tuple(NAMES), metavar="LENGTH",
        help="of documents, in the task sparse: short (40 terms), passage (200 terms); "
        "default: both, with --quick short",
    )  # fmt: skip
    made.add_argument(
        "--without", nargs="+", default=[], metavar="PEER",
        help=f"leave out these, of {', '.join(PEERS)}",
    )  # fmt: skip
    made.add_argument("--rounds", type=int, default=5, help="measured rounds; default: %(default)s")
    add_options(made)
    made.add_argument("--data", type=Path, help="a folder of BEIR folders, for `collections`")
    made.add_argument("--folder", type=Path, help="for indexes, thrown away (default: temporary)")
    return made.parse_args()


def check(options: argparse.Namespace) -> list[str]:
    """The tasks to do. Raises BadQuery, NotFound for options that make no sense."""
    wanted = options.tasks or [name for name in TASKS if not (options.quick and name in SLOW)]
    for unknown in set(wanted) - set(TASKS):
        raise BadQuery(f"unknown task {unknown!r}; there are {', '.join(TASKS)}")
    for unknown in set(options.without) - set(PEERS):
        raise BadQuery(f"unknown peer {unknown!r}; there are {', '.join(PEERS)}")
    for size in options.sizes or ():
        if size < 100:
            raise BadQuery(f"illegal size {size}, must be at least 100 documents")
    if options.rounds < 1:
        raise BadQuery(f"illegal rounds: {options.rounds}, must be at least 1")
    for folder in (options.data, options.folder):
        if folder is not None and not folder.is_dir():
            raise NotFound(f"{folder}: no such folder")
    return wanted


def run(place: Workplace, wanted: list[str]) -> None:
    """The tasks, one after the other; a table each on a terminal."""
    started = time.monotonic()
    if place.quick and not set(SLOW) & set(wanted):
        say(f"--quick leaves out {', '.join(SLOW)}; name them with --tasks")
    for name in wanted:
        took = time.monotonic() - started
        if place.quick and took > SECONDS_OF_QUICK:
            say(f"{name}: left out, {took:.0f} s of --quick are over; name it with --tasks")
            continue
        say(f"task {name}")
        try:
            print_results(TASKS[name](place), name)
        except ModelNotFound as error:
            say(f"{name}: left out: {error}")


def main() -> None:
    options = arguments()
    os.environ.setdefault("NUMBA_CACHE_DIR", str(options.cache.resolve() / "numba"))
    with one_line_errors():
        wanted = check(options)
        material = Material.given(options)
        say(json.dumps(provenance()))
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            place = Workplace(
                material,
                Path(folder),
                options.sizes or (QUICK_SIZES if options.quick else SIZES),
                options.rounds,
                options.quick,
                options.data,
                options.without,
                options.lengths or (("short",) if options.quick else tuple(NAMES)),
            )
            run(place, wanted)


if __name__ == "__main__":
    main()
