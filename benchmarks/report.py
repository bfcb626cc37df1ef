"""What every benchmark prints: a table on a terminal, JSON Lines when piped, and how it came to be.

A result is one number: which system, at which task, at which size, measured how. A benchmark
prints them with `print_results`, and says on stderr where they come from with `provenance`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

from indexes.threads import cores

PACKAGES = (
    "searchlib",
    "numpy",
    "scipy",
    "torch",
    "transformers",
    "tokenizers",
    "faiss-cpu",
    "ir-measures",
    "sentence-transformers",
    "bm25s",
    "numba",
    "tantivy",
    "bmp",
    "pyseismic-lsr",
    "splade_index",
    "hnswlib",
    "usearch",
    "txtai",
)


@dataclass(frozen=True)
class Result:
    """One measured number."""

    system: str  # who: "bm25", "sentence-transformers"
    task: str  # at what: a collection's name, "encode documents"
    size: int | None  # how much of it: documents, queries; None where that means nothing
    metric: str  # with its unit: "nDCG@10", "documents/s", "peak MB"
    value: float
    target: str | None = None  # what it ought to be: ">= 2"
    met: bool | None = None  # whether it is

    def to_json(self) -> dict[str, object]:
        """The fields that have a value, and the size."""
        return {k: v for k, v in asdict(self).items() if v is not None or k == "size"}


def judged(result: Result, target: str) -> Result:
    """The result with its target, ">= 2" or "<= 4", and whether it is met.

    >>> judged(Result("searchlib", "growth", 1_000_000, "times", 3.5), "<= 4").met
    True
    """
    sign, bound = target.split()
    met = result.value >= float(bound) if sign == ">=" else result.value <= float(bound)
    return replace(result, target=target, met=met)


def print_results(results: Iterable[Result], title: str = "") -> list[Result]:
    """Prints the results and returns them.

    Piped: each at once, as a line {"system", "task", "size", "metric", "value"}, and "target"
    and "met" where there is a target. On a terminal: one table at the end, a column a metric.
    """
    kept: list[Result] = []
    piped = not sys.stdout.isatty()
    for result in results:
        kept.append(result)
        if piped:
            print(json.dumps(result.to_json(), ensure_ascii=False), flush=True)
    if not piped:
        _print_table(kept, title)
    return kept


def _print_table(results: list[Result], title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    metrics = list(dict.fromkeys(result.metric for result in results))
    table = Table(title=title or None, title_justify="left")
    for name in ("system", "task", "size"):
        table.add_column(name, justify="right" if name == "size" else "left")
    for metric in metrics:
        table.add_column(metric, justify="right")
    rows: dict[tuple[str, str, int | None], dict[str, str]] = {}
    for result in results:
        key = (result.system, result.task, result.size)
        rows.setdefault(key, {})[result.metric] = _cell(result)
    for (system, task, size), values in rows.items():
        cells = [values.get(metric, "") for metric in metrics]
        table.add_row(system, task, "" if size is None else f"{size:,}", *cells)
    Console(highlight=False, markup=False, emoji=False).print(table)


def _cell(result: Result) -> str:
    if result.target is None:
        return number(result.value)
    return f"{number(result.value)} ({result.target}: {'met' if result.met else 'MISSED'})"


def number(value: float) -> str:
    """The value with as many digits as say something.

    >>> number(12345.6), number(12.345), number(0.67891)
    ('12,346', '12.3', '0.679')
    """
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def provenance() -> dict[str, object]:
    """How a result came to be: command, commit, versions, machine, date."""
    return {
        "command": shlex.join(["python", _relative(sys.argv[0]), *sys.argv[1:]]),
        "commit": commit(),
        "versions": versions(),
        "machine": machine(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def commit() -> str:
    """The checkout's commit, with "+" if files differ from it; "unknown" outside git."""
    head, changed = _git("rev-parse", "--short=12", "HEAD"), _git("status", "--porcelain")
    return "unknown" if not head else head + ("+" if changed else "")


def versions() -> dict[str, str]:
    """Of Python and of the installed packages that results may depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, object]:
    """Processor, cores that may be used, memory in GiB, operating system."""
    return {
        "cpu": _cpu_name(),
        "cores": cores(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def say(text: str) -> None:
    """A line about how far the work has come, on stderr."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Ends the script with one line and exit code 1 for an error that its user can mend."""
    from searchlib import SearchlibError

    try:
        yield
    except SearchlibError as error:
        say(f"error: {error}")
        sys.exit(1)


def seconds(action: Callable[[], object], repeats: int) -> float:
    """Median wall time of `action` over `repeats` calls."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return median(times)


def parser(description: str, example: str) -> argparse.ArgumentParser:
    """The arguments of a benchmark: `--quick`, and an example at the end of its help.

    A bad option is one line and exit code 1: argparse's own way is a usage, and code 2.
    """
    made = argparse.ArgumentParser(
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--quick", action="store_true", help="under a minute: less data, rougher figures"
    )
    made.error = _refuse  # type: ignore[method-assign, assignment]
    return made


def _refuse(message: str) -> None:
    say(f"error: {message}")
    sys.exit(1)


def _git(*command: str) -> str:
    try:
        done = subprocess.run(
            ["git", *command], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _relative(script: str) -> str:
    # without the folders above the checkout, which mean nothing elsewhere
    path = Path(script)
    return f"benchmarks/{path.name}" if path.resolve().parent.name == "benchmarks" else path.name


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None
