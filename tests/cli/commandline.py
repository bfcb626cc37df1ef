"""What the tests of the command line share: small notes, and results of a command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
if str(ROOT) not in sys.path:  # `pytest` alone; `python -m pytest` has it
    sys.path.append(str(ROOT))

NOTES = (
    {"id": "note-1", "title": "Leaves", "text": "Plants eat light: leaves turn sunlight, water "
     "and air into sugar.", "year": 2003, "lang": "en", "tags": ["biology", "light"]},
    {"id": "note-2", "title": "Bread", "text": "Yeast makes the dough rise while it rests. The "
     "oven does the rest.", "year": 1999, "lang": "en", "tags": ["kitchen"]},
    {"id": "note-3", "title": "Marées", "text": "The moon pulls the sea; twice a day the water "
     "comes and goes. Sunlight has no part in it.", "year": 2010, "lang": "fr", "tags": []},
    {"id": "note-4", "title": "Roots", "text": "A plant drinks with its roots. Water climbs up "
     "the stem to the leaves.", "year": 2001, "lang": "en", "tags": ["biology"]},
)  # fmt: skip
WORDS_ONLY = ("--no-dense", "--no-sparse")


@dataclass(frozen=True)
class Result:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """stdout as JSON Lines."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> str:
        """The one line on stderr that begins with `searchlib: `; fails if there is not just one."""
        lines = [line for line in self.err.splitlines() if line.startswith("searchlib: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        assert "this is a bug" not in self.err
        return lines[0]


Run = Callable[..., Result]


def next_or_eof(lines: Iterator[str]) -> str:
    try:
        return next(lines)
    except StopIteration:
        raise EOFError from None


def process(
    *arguments: object, cwd: Path, before: Callable[[], None] | None = None, stdin: bytes = b""
) -> Result:
    """Runs a command line in a process of its own; `before` runs in it first."""
    done = subprocess.run(
        [sys.executable, "-m", "cli", *(str(argument) for argument in arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        input=stdin,
        capture_output=True,
        preexec_fn=before,
        check=False,
    )
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


def write_jsonl(path: Path, *records: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), "utf-8")
    return path
