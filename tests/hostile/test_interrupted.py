"""Ctrl-C at any moment of any command: an end within seconds, one line, the last commit intact."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from indexes.snapshot import Snapshot
from indexes.store import Store
from indexes.store_writing import filling, write_store

ROOT = Path(__file__).resolve().parents[2]
START = "import sys; from cli.__main__ import main; print('started', flush=True); main()"
SECONDS = 10  # two on a machine that has nothing else to do
WORDS_ONLY = ("--no-dense", "--no-sparse")
COMMANDS = (
    ("index", "other.index", "notes.jsonl", *WORDS_ONLY),
    ("add", "notes.index", "changed.jsonl"),
    ("delete", "notes.index", *(f"n{number}" for number in range(500))),
    ("search", "notes.index", "salt"),
    ("verify", "notes.index"),
)


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", START, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # subtle: what a shell starts in the background ignores SIGINT, and so do its heirs
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_ctrl_c_at_any_moment(tmp_path: Path, command: tuple[str, ...]) -> None:
    texts = {f"n{number}": f"salt w{number % 97} " * 30 for number in range(2000)}
    for name, word in (("notes", "salt"), ("changed", "pepper")):
        lines = (json.dumps({"id": i, "text": t.replace("salt", word)}) for i, t in texts.items())
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    made = start(tmp_path, "index", "notes.index", "notes.jsonl", *WORDS_ONLY)
    assert made.communicate()[0]
    rng = random.Random(0)
    for _ in range(4):
        child = start(tmp_path, *command)
        assert child.stdout is not None
        assert child.stdout.readline() == "started\n"
        time.sleep(rng.random() ** 2)
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=SECONDS)
        # subtle: where Python notices it in code that it makes itself, it dies of the signal
        # a later round may find that an earlier one had deleted all
        late = child.returncode == 1 and "nothing deleted" in said
        assert late or child.returncode in (0, 130, -signal.SIGINT), said
        assert "Traceback" not in said
        assert sum(line.startswith("searchlib: ") for line in said.splitlines()) <= 1
        with Snapshot.open(tmp_path / "notes.index") as snapshot:
            assert snapshot.verify() == []
            assert snapshot.n_documents in (2000, 1500)


ENDLESS = (
    "WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted"
    " WHERE n < 100000000000) SELECT count(*) FROM counted"
)


@contextlib.contextmanager
def ctrl_c_soon() -> Iterator[None]:
    """Ctrl-C comes a moment after the block began, and must end it within seconds."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    started = time.monotonic()
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - started < SECONDS


def test_ctrl_c_within_a_statement_that_reads(tmp_path: Path) -> None:
    write_store(tmp_path / "s", [])
    store = Store(tmp_path / "s", 0)
    with ctrl_c_soon():
        store._query(ENDLESS)
    assert store.counts() == (0, 0)


def test_ctrl_c_within_a_statement_that_writes(tmp_path: Path) -> None:
    with ctrl_c_soon(), filling(tmp_path / "s") as database:
        database.conn.execute(f"CREATE TABLE t AS {ENDLESS}")
