"""Does Ctrl-C end every command at once? Interrupts real processes at random moments.

Each long command is started again and again, with the default models, on a copy of what it works
on, and gets SIGINT (a part of them a second one, or SIGTERM) at a moment of its time. It must end
within two seconds, with one line, no traceback and code 130 (143 for SIGTERM), or die of the
signal; the index must verify, hold each document that it held, old or new, and open to the next
writer; and nothing may be left behind: no temporary file, no half of an index or of a model. A
machine that does other things as well is not fast, so the two seconds are judged by processor
time; the wall time stands beside.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from interrupts_work import COMMANDS, ROOT, Command, make_templates, set_up, texts_of
from report import Result, judged, one_line_errors, parser, print_results, provenance, say

from indexes.directory import LOCK, FileDirectory
from indexes.errors import SearchlibError
from indexes.manifest import MANIFEST, read_manifest
from indexes.snapshot import Snapshot
from indexes.writer import Writer

LIMIT = 2.0  # seconds
LONGEST = 30.0  # that a command may go on; a signal comes before
HANGS = 120.0
START = "import sys; from cli.__main__ import main; open(sys.argv.pop(1), 'x').close(); main()"
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
TICK = os.sysconf("SC_CLK_TCK")
KEPT = (MANIFEST, LOCK, "successor")  # the last: what a re-encoding goes on from
FAULTS = ("tracebacks", "wrong codes", "not one line", "problems", "lost documents", "left behind")


@dataclass(frozen=True)
class End:
    """How a process ended after its signal."""

    signal: signal.Signals
    code: int  # less than 0: it died of the signal
    said: str
    wall: float  # seconds since the signal
    processor: float  # of them, at work on a core; cores add up


class Process:
    """A command in a process of its own."""

    def __init__(self, place: Path, command: Command) -> None:
        self.place = place
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(place / "tmp")}
        with (place / "out").open("w") as out, (place / "err").open("w") as err:
            self._child = subprocess.Popen(
                [sys.executable, "-c", START, "started", *command.arguments],
                cwd=place, env=environment, stdout=out, stderr=err, stdin=subprocess.DEVNULL,
                # subtle: what a shell starts in the background ignores SIGINT, and so do its heirs
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
            )  # fmt: skip
        while not (place / "started").exists() and self._child.poll() is None:
            time.sleep(0.002)

    def work(self, seconds: float | None = None) -> bool:
        """Let it work; whether it works on."""
        try:
            self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            return True
        return False

    def end(self, number: signal.Signals, again: float | None) -> End:
        """Send the signal, and `again` seconds later a second time; wait for the end."""
        before = self._processor()
        started = time.monotonic()
        self._child.send_signal(number)
        if again is not None:
            time.sleep(again)
            os.kill(self._child.pid, number)  # subtle: it may be a zombie, but nobody else's
        while True:
            pid, status, used = os.wait4(self._child.pid, os.WNOHANG)
            wall = time.monotonic() - started
            if pid:
                break
            if wall > HANGS:
                self._child.kill()
            time.sleep(0.002)
        self._child.returncode = code = os.waitstatus_to_exitcode(status)
        processor = used.ru_utime + used.ru_stime - before
        said = (self.place / "err").read_text()
        return End(number, code, said, wall, processor)

    def _processor(self) -> float:
        fields = Path(f"/proc/{self._child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK


def interrupts(times: int, seed: int, only: list[str] | None) -> Iterator[Result]:
    """What came of so many signals a command."""
    with tempfile.TemporaryDirectory() as folder:
        templates = Path(folder) / "templates"
        templates.mkdir()
        make_templates(templates)
        for command in COMMANDS:
            if only is None or command.name.split()[0] in only:
                yield from of_command(templates, command, times, seed)


def of_command(templates: Path, command: Command, times: int, seed: int) -> Iterator[Result]:
    rng = random.Random(f"{seed} {command.name}")
    place = templates.with_name("place")
    set_up(templates, place, command)
    started = time.monotonic()
    whole_run = Process(place, command)
    if whole_run.work(LONGEST):
        whole_run.end(signal.SIGKILL, None)
    whole = time.monotonic() - started
    after = texts_of(place / command.index) if command.index else {}
    before = texts_of(templates / command.index) if command.index else {}
    shutil.rmtree(place)
    found: Counter[str] = Counter()
    ends: list[End] = []
    for _ in range(times):
        set_up(templates, place, command)
        process = Process(place, command)
        if process.work(rng.random() * whole):
            number = signal.SIGTERM if rng.random() < 0.25 else signal.SIGINT
            again = 0.3 * rng.random() ** 2 if rng.random() < 0.33 else None
            end = process.end(number, again)
            ends.append(end)
            found["again"] += again is not None
            found["SIGTERM"] += number == signal.SIGTERM
            for fault in faults(place, command, end, before, after):
                found[fault.partition(":")[0]] += 1
                say(f"{command.name}: {fault}")
        shutil.rmtree(place)
    task = command.name
    yield Result("searchlib", task, times, f"seconds in full, up to {LONGEST:g}", whole)
    yield Result("searchlib", task, times, "interrupted", len(ends))
    yield Result("searchlib", task, times, "of them twice", found["again"])
    yield Result("searchlib", task, times, "of them SIGTERM", found["SIGTERM"])
    if ends:
        slowest = max(end.wall for end in ends)
        yield Result("searchlib", task, times, "slowest end, seconds", slowest)
        most = max(min(end.processor, end.wall) for end in ends)
        busiest = Result("searchlib", task, times, "most processor seconds to the end", most)
        yield judged(busiest, f"<= {LIMIT:g}")
    for fault in FAULTS:
        yield judged(Result("searchlib", task, times, fault, found[fault]), "<= 0")


def faults(
    place: Path, command: Command, end: End, before: dict[str, str], after: dict[str, str]
) -> Iterator[str]:
    """What is wrong after an end: nothing, one hopes."""
    done = end.code == 0  # it was about to end anyway
    if "Traceback" in end.said or "Exception ignored" in end.said:
        yield f"tracebacks: {end.said[-1500:]}"
    if not done and end.code not in (CODES[end.signal], -end.signal):
        yield f"wrong codes: {end.code}, {end.said[-300:]}"
    lines = [line for line in end.said.splitlines() if line.startswith("searchlib: ")]
    if len(lines) > 1 or (end.code > 0 and not lines):
        yield f"not one line: {end.said[-300:]!r}"
    for name in {command.index, command.made} - {None}:
        path = place / str(name)
        if (path / MANIFEST).exists():
            yield from _wrong_with(path, command, before, after)
        elif name == command.index:
            yield f"lost documents: {name} is gone"
        elif path.exists() and not _is_birth(path) and not any(path.glob("**/*.safetensors")):
            yield f"left behind: {name} with {sorted(os.listdir(path))}"
    stray = [
        entry.name
        for entry in (place / "tmp").iterdir()
        if not entry.name.startswith("torchinductor_")  # torch's own, made when it is imported
    ]
    stray += [entry.name for entry in place.iterdir() if entry.name.startswith(".")]
    if stray:
        yield f"left behind: {stray}"


def _is_birth(path: Path) -> bool:
    """An index whose first commit did not come about: a lock, and a place to begin anew."""
    return all(entry.name == LOCK for entry in path.iterdir())


def _wrong_with(
    path: Path, command: Command, before: dict[str, str], after: dict[str, str]
) -> Iterator[str]:
    try:
        with Snapshot.open(path) as snapshot:
            for problem in snapshot.verify():
                yield f"problems: {problem}"
        held = texts_of(path)
        if command.made != path.name:
            if not command.may_delete and before.keys() - held.keys():
                yield f"lost documents: {len(before.keys() - held.keys())}"
            if odd := [id for id in held if held[id] not in (before.get(id), after.get(id))]:
                yield f"problems: {len(odd)} documents that nobody wrote, {odd[0]}"
        Writer.open(path, 1 << 20).close()
        manifest = read_manifest(FileDirectory(path))
        extra = {entry.name for entry in path.iterdir()} - manifest.files.keys()
        extra = {name for name in extra if name not in KEPT and "sync" not in name}
        if extra:
            yield f"left behind: {sorted(extra)[:5]}"
    except SearchlibError as error:
        yield f"problems: {error}"


def main() -> None:
    made = parser(__doc__ or "", "python benchmarks/interrupts.py --times 20 --only index merge")
    made.add_argument("--times", type=int, help="signals a command; default: 20, 3 with --quick")
    made.add_argument("--only", nargs="+", metavar="COMMAND", help="index, add, sync, ...")
    made.add_argument("--seed", type=int, default=0, help="of the moments; default: %(default)s")
    options = made.parse_args()
    with one_line_errors():
        import json

        say(json.dumps(provenance()))
        times = options.times or (3 if options.quick else 20)
        found = interrupts(times, options.seed, options.only)
        sys.exit(any(result.met is False for result in print_results(found, "interrupted")))


if __name__ == "__main__":
    main()
