"""The log of a training: JSON Lines, one a check, and a picture of it where matplotlib is there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from indexes.refusals import refusals

from ..errors import BadInput
from ..protocols import Progress
from .artefacts import write_whole

Entry = Mapping[str, Any]
"""One line: `step` and figures by name, such as loss, flops, terms, lr, seconds, ndcg."""


class TrainingLog:
    """Lines appended to a file as they come; a run that goes on overwrites what it does again.

    The first line written says from which step on: older lines of that step and later ones go.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "log.jsonl")
    >>> with TrainingLog(path) as log:
    ...     log.write({"step": 1, "loss": 0.5})
    >>> read_log(path)
    [{'step': 1, 'loss': 0.5}]
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO | None = None

    def write(self, entry: Entry) -> None:
        """Append a line, on the disk at once. Raises StorageFailed."""
        with refusals(f"write {self.path}"):
            if self._file is None:
                kept = [old for old in read_log(self.path) if old["step"] < entry["step"]]
                write_whole(self.path, "".join(map(_line, kept)).encode())
                self._file = self.path.open("a", encoding="utf-8")
            self._file.write(_line(entry))
            self._file.flush()

    def close(self) -> None:
        """Let go of the file."""
        if self._file is None:
            return
        with refusals(f"write {self.path}"):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@contextmanager
def logged(
    path: Path, steps: int, on_progress: Progress, note: str = "training"
) -> Iterator[Callable[[dict[str, float]], None]]:
    """What a training of so many steps reports to: a log at `path`, and the user."""
    with TrainingLog(path) as log:

        def report(entry: dict[str, float]) -> None:
            log.write(entry)
            on_progress(int(entry["step"]), steps, note)

        yield report


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log, oldest first; a last line that a crash cut short is left out.

    Raises BadInput, naming the line, if another is damaged.
    """
    if not path.is_file():
        return []
    lines = path.read_bytes().split(b"\n")
    entries = []
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            entry = json.loads(line)
            if not isinstance(entry["step"], int):
                raise ValueError("step")
        except (ValueError, KeyError, TypeError):
            if number == len(lines):
                break
            raise BadInput(f"{path}:{number}: not a line of a training log") from None
        entries.append(entry)
    return entries


def plot_log(entries: Sequence[Mapping[str, Any]], path: Path) -> bool:
    """Draw every figure of a log against the step, as PNG; False without matplotlib or entries."""
    names = dict.fromkeys(
        name
        for entry in entries
        for name, value in entry.items()
        if name not in ("step", "seconds", "lr") and isinstance(value, int | float)
    )
    if not names:
        return False
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(
        len(names), 1, sharex=True, squeeze=False, figsize=(7, 1.8 * len(names)),
        layout="constrained",
    )  # fmt: skip
    for panel, name in zip(panels[:, 0], names, strict=True):
        points = [
            (entry["step"], entry[name])
            for entry in entries
            if isinstance(entry.get(name), int | float)
        ]
        panel.plot(*zip(*points, strict=True), "o-", markersize=3, linewidth=1)
        panel.set_ylabel(name)
        panel.grid(alpha=0.3, linewidth=0.5)
    panels[-1, 0].set_xlabel("step")
    with refusals(f"write {path}"):
        figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return True


def _line(entry: Entry) -> str:
    return json.dumps(dict(entry)) + "\n"
