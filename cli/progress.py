"""How far a long work has come, on stderr: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

SECONDS_BETWEEN_LINES = 10.0
UNCHANGED = "unchanged"  # searchlib.indexing's word


class Progress:
    """A context manager to be called with (done, total, note); shows rate and time left.

    What is noted as UNCHANGED took no work: rate and time left count from there on. So they do
    where less is done than before: the next part of the work has begun.

    >>> with Progress("documents") as progress:
    ...     progress(100, 5000)
    """

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self._start = self._last = time.monotonic()
        self._before = 0  # done without work
        self._done = 0
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, done: int, total: int | None, note: str = "") -> None:
        if note == UNCHANGED or done < self._done:
            self._start, self._before = time.monotonic(), done
        self._done = done
        if sys.stderr.isatty():
            self._draw(done, total, note)
        elif time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            sys.stderr.write(self._line(done, total, note) + "\n")
            sys.stderr.flush()

    def say(self, line: str) -> None:
        """A line of its own, above the bar."""
        if self._bar is not None:
            self._bar.console.print(line, highlight=False, markup=False)
        else:
            sys.stderr.write(line + "\n")

    def _line(self, done: int, total: int | None, note: str) -> str:
        seconds = max(time.monotonic() - self._start, 1e-9)
        rate = (done - self._before) / seconds
        parts = [f"{done:,}" + (f" of {total:,}" if total else "") + f" {self.unit}"]
        if rate:
            parts.append(f"{rate:,.1f}/s")
        if total and rate:
            parts.append(f"{duration((total - done) / rate)} left")
        return ", ".join(parts + [note] * bool(note))

    def _draw(self, done: int, total: int | None, note: str) -> None:
        if self._bar is None:
            from rich import progress
            from rich.console import Console

            columns = (
                progress.BarColumn(),
                progress.TextColumn("{task.fields[line]}", markup=False),
            )
            self._bar = progress.Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("", total=total, line="")
            self._bar.start()
        assert self._task is not None
        self._bar.update(
            self._task, completed=done, total=total, line=self._line(done, total, note)
        )


def duration(seconds: float) -> str:
    """`45 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
