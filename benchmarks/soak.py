"""Does an index survive? Kills writers at random moments, and lets readers watch one at work.

Kills: a process that adds, replaces and deletes documents, a commit a step, gets SIGKILL, again
and again; half of the time it is the whole engine with BM25, half of the time the writer with
every kind of field. After each kill the index is opened, verified and compared, document by
document, with what a step leaves behind, and with the steps that the killed process had
reported as done; now and then files left behind are counted after the next writer was there.
Stress: processes that open the index and ask it, while one writes and merges; each answer must
be that of the step it came from.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from report import Result, judged, one_line_errors, parser, print_results, provenance, say
from soak_work import BUDGET, Contents, create, work, wrong_with

from indexes.directory import LOCK, FileDirectory
from indexes.errors import SearchlibError
from indexes.manifest import MANIFEST, read_manifest
from indexes.snapshot import Snapshot
from indexes.writer import Writer

LONGEST = 2.0  # seconds that a process may work before it is killed
EVERY = 10  # kills between two counts of files left behind
TASKS = {"words": True, "all fields": False}


def start(*arguments: object) -> subprocess.Popen[str]:
    """This script in a process of its own."""
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kill_soon(path: Path, task: str, rng: random.Random) -> int:
    """Lets a process work for a moment, kills it; how many steps it had reported as done."""
    child = start("--work", task, path)
    assert child.stdout is not None
    first = child.stdout.readline()
    time.sleep(LONGEST * rng.random() ** 3)  # more often in its first moments than much later
    child.send_signal(signal.SIGKILL)
    lines = [first, *child.stdout.read().splitlines(keepends=True)]
    if child.wait() != -signal.SIGKILL:
        raise SystemExit(f"the writer ended by itself with code {child.returncode}")
    whole = [line for line in lines if line.endswith("\n")]
    return int(whole[-1]) if whole else 0


def kills(count: int, seed: int) -> Iterator[Result]:
    """SIGKILLs survived, and what was lost; an index a task."""
    for place, (task, words_only) in enumerate(TASKS.items()):
        found: Counter[str] = Counter()
        contents = Contents()
        rng = random.Random(seed * 2 + place)
        todo = (count + 1 - place) // 2
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "index"
            create(path, words_only)
            for number in range(1, todo + 1):
                done = kill_soon(path, task, rng)
                found.update(examined(path, done, contents))
                if number % EVERY == 0 or number == todo:
                    found["leaked files"] += leaked(path)
                    say(f"{task}: {number} kills, generation {done}")
            with Snapshot.open(path) as snapshot:
                yield Result("searchlib", task, todo, "commits", snapshot.generation)
        yield Result("searchlib", task, todo, "kills", todo)
        for metric in ("lost commits", "half commits", "problems", "leaked files"):
            yield judged(Result("searchlib", task, todo, metric, found[metric]), "<= 0")


def examined(path: Path, done: int, contents: Contents) -> Iterator[str]:
    """What is wrong with the index after a kill: nothing, one hopes."""
    try:
        with Snapshot.open(path) as snapshot:
            step = contents.step_of(snapshot, done + 1)
            if step is None:
                wrong: str | None = f"generation {snapshot.generation} is no step"
            else:
                if step < done:
                    yield "lost commits"
                wrong = wrong_with(snapshot, contents.after(step))
            problems = snapshot.verify()
    except SearchlibError as error:
        wrong, problems = None, [str(error)]
    if wrong is not None:
        say(f"half a commit: {wrong}")
        yield "half commits"
    for problem in problems:
        say(f"problem: {problem}")
        yield "problems"


def leaked(path: Path) -> int:
    """How many files are there that the manifest does not name, after a writer was there."""
    Writer.open(path, BUDGET).close()
    named = read_manifest(FileDirectory(path)).files.keys() | {MANIFEST, LOCK}
    extra = {entry.name for entry in path.iterdir()} - named
    if extra:
        say(f"left behind: {sorted(extra)[:5]}")
    return len(extra)


def stress(seconds: float, readers: int) -> Iterator[Result]:
    """Readers beside a writer: how much was done, and how many answers were wrong."""
    for task, words_only in TASKS.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "index"
            create(path, words_only)
            writer = start("--work", task, path)
            watching = [start("--watch", seconds / 2, path) for _ in range(readers)]
            found: Counter[str] = Counter()
            for reader in watching:
                out, _ = reader.communicate()
                if reader.returncode:
                    found["errors"] += 1
                else:
                    found.update(json.loads(out))
            found["errors"] += writer.poll() is not None
            writer.kill()
            writer.communicate()
            with Snapshot.open(path) as snapshot:
                found["commits"] = snapshot.generation
                found["errors"] += len(snapshot.verify())
        for metric in ("commits", "openings", "answers"):
            yield Result("searchlib", f"{task}, stress", readers, metric, found[metric])
        for metric in ("errors", "wrong answers"):
            result = Result("searchlib", f"{task}, stress", readers, metric, found[metric])
            yield judged(result, "<= 0")


def watch(path: Path, seconds: float) -> None:
    """Opens the index and asks it again and again; prints counts, as JSON."""
    contents = Contents()
    found: Counter[str] = Counter()
    rng = random.Random(time.monotonic_ns())
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            with Snapshot.open(path) as snapshot:
                found["openings"] += 1
                step = contents.step_of(snapshot, snapshot.generation)
                for _ in range(rng.randint(1, 4)):  # also long after its files are unlinked
                    wrong: str | None = "no step"
                    if step is not None:
                        wrong = wrong_with(snapshot, contents.after(step))
                    found["answers"] += 1
                    found["wrong answers"] += wrong is not None
                    if wrong is not None:
                        say(f"wrong: {wrong}")
                    time.sleep(rng.random() * 0.05)
        except SearchlibError as error:
            say(f"error: {error}")
            found["errors"] += 1
    print(json.dumps(found))


def main() -> None:
    made = parser(__doc__ or "", "python benchmarks/soak.py --kills 200 --stress 60")
    made.add_argument("--kills", type=int, help="default: 200, or 20 with --quick")
    made.add_argument("--stress", type=float, help="seconds; default: 60, or 10 with --quick")
    made.add_argument("--readers", type=int, default=4, help="processes; default: %(default)s")
    made.add_argument("--seed", type=int, default=0, help="of the moments; default: %(default)s")
    made.add_argument("--work", nargs=2, metavar=("TASK", "INDEX"), help="used by itself")
    made.add_argument("--watch", nargs=2, metavar=("SECONDS", "INDEX"), help="used by itself")
    options = made.parse_args()
    with one_line_errors():
        if options.work:
            work(Path(options.work[1]), TASKS[options.work[0]])
        elif options.watch:
            watch(Path(options.watch[1]), float(options.watch[0]))
        else:
            say(json.dumps(provenance()))
            count = (20 if options.quick else 200) if options.kills is None else options.kills
            length = (10 if options.quick else 60) if options.stress is None else options.stress
            results = print_results(all_results(options, count, length), "survival")
            sys.exit(any(result.met is False for result in results))


def all_results(options: argparse.Namespace, count: int, length: float) -> Iterator[Result]:
    """Kills, then stress, as far as they are asked for."""
    if count:
        yield from kills(count, options.seed)
    if length:
        yield from stress(length, options.readers)


if __name__ == "__main__":
    main()
