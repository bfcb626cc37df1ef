"""Ctrl-C at any moment of any command: an end within seconds, one line, the last commit intact.

`benchmarks/interrupts.py` does the same with the default models, many times. How long an end takes
is told in processor time, which does not grow when a machine does other things as well; measured
it is 0.1 to 0.6 seconds of the two that are allowed.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
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
from indexes.store_writing import filling, write_tables

ROOT = Path(__file__).resolve().parents[2]
START = "import sys; from cli.__main__ import main; print('started', flush=True); main()"
LIMIT = 2.0  # seconds on processors
SECONDS = 20  # that an end may take on a machine that has other things to do: else it hangs
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
DOCUMENTS = 2000
WORDS_ONLY = ("--no-dense", "--no-sparse")
COMMANDS = (
    ("index", "other.index", "notes.jsonl", *WORDS_ONLY),
    ("add", "notes.index", "changed.jsonl"),
    ("sync", "notes.index", "folder"),
    ("update", "notes.index", "--where", "number >= 0", "--set", "seen=true"),
    ("delete", "notes.index", *(f"n{number}" for number in range(500))),
    ("merge", "notes.index"),
    ("vacuum", "notes.index"),
    ("search", "notes.index", "salt"),
    ("eval", "notes.index", "--queries", "queries.tsv", "--qrels", "qrels.tsv"),
    ("verify", "notes.index"),
)


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the commands work on; the index is of two segments."""
    folder = tmp_path_factory.mktemp("templates")
    write(folder / "notes.jsonl", DOCUMENTS, "salt")
    write(folder / "some.jsonl", DOCUMENTS // 2, "salt")
    write(folder / "changed.jsonl", DOCUMENTS, "pepper")
    write(folder / "few.jsonl", 40, "the cat in a garden")
    (folder / "folder").mkdir()
    write(folder / "folder" / "some.jsonl", DOCUMENTS // 2, "pepper")
    (folder / "queries.tsv").write_text("".join(f"q{n}\tsalt w{n}\n" for n in range(300)))
    (folder / "qrels.tsv").write_text("".join(f"q{n}\t0\tn{n}\t1\n" for n in range(300)))
    for source in ("some", "notes"):
        start(folder, "index", "notes.index", f"{source}.jsonl", *WORDS_ONLY).communicate()
    return folder


def write(path: Path, count: int, word: str) -> None:
    lines = (
        {"id": f"n{number}", "text": f"{word} w{number % 97} " * 30, "number": number}
        for number in range(count)
    )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


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


def interrupt(
    folder: Path, *arguments: str, after: float, by: signal.Signals, again: float | None = None
) -> str:
    """What a command says that gets the signal so many seconds after its start, or a second one.

    It must end in time, with the right code and one line; "" where it was done before.
    """
    child = start(folder, *arguments)
    assert child.stdout is not None
    assert child.stdout.readline() == "started\n"
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(after)
    before = processor_seconds(child.pid)
    child.send_signal(by)
    if again is not None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(again)
        child.send_signal(by)
    used = 0.0
    deadline = time.monotonic() + SECONDS
    while child.poll() is None:
        assert time.monotonic() < deadline, "it does not end"
        used = max(used, processor_seconds(child.pid) - before)
        time.sleep(0.005)
    _, said = child.communicate()
    assert used < LIMIT, f"{used} seconds"
    # subtle: where it was about to end, of the first signal too, it dies of one
    assert child.returncode in (0, CODES[by], -by), said
    assert "Traceback" not in said
    lines = [line for line in said.splitlines() if line.startswith("searchlib: ")]
    assert (child.returncode == CODES[by]) <= len(lines) <= 1, said
    return lines[0] if lines else ""


def processor_seconds(pid: int) -> float:
    """How long a process's threads have been at work; 0 where no /proc tells."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_ctrl_c_at_any_moment(templates: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    shutil.copytree(templates, tmp_path, dirs_exist_ok=True)
    rng = random.Random(command[0])
    for number, again in ((2, None), (2, 0.05), (15, None)):
        by = signal.Signals(number)
        interrupt(tmp_path, *command, after=rng.random() ** 2, by=by, again=again)
        with Snapshot.open(tmp_path / "notes.index") as snapshot:
            assert snapshot.verify() == []
            assert snapshot.n_documents in (DOCUMENTS, DOCUMENTS - 500)
        if deleted := DOCUMENTS - snapshot.n_documents:
            assert (command[0], deleted) == ("delete", 500)
            break
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    "command", [("index", "few.index", "few.jsonl"), ("adapt", "few.jsonl", "--out", "made")],
    ids=lambda command: command[0],
)  # fmt: skip
def test_ctrl_c_while_models_work(
    templates: Path, tmp_path: Path, command: tuple[str, ...], tiny_sparse: Path, tiny_dense: Path
) -> None:
    models = ("--dense-model", str(tiny_dense), "--sparse-model", str(tiny_sparse))
    shutil.copy(templates / "few.jsonl", tmp_path)
    for after in (0.7, 3.0):
        interrupt(tmp_path, *command, *models, after=after, by=signal.SIGINT)
    if (tmp_path / "few.index" / "manifest.json").exists():
        with Snapshot.open(tmp_path / "few.index") as snapshot:
            assert snapshot.verify() == []
    assert not (tmp_path / "made").exists()
    assert not list(tmp_path.glob(".*"))


def test_a_signal_that_is_ignored_stays_so(templates: Path, tmp_path: Path) -> None:
    """As of `nohup` and of what a shell starts in the background."""
    program = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {START}"
    child = subprocess.Popen(
        [sys.executable, "-c", program, "index", "new.index", "notes.jsonl", *WORDS_ONLY],
        cwd=templates,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),  # noqa: PLW1509
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "started\n"
    child.send_signal(signal.SIGTERM)
    child.send_signal(signal.SIGINT)
    said = child.communicate(timeout=60)
    assert child.returncode == 0, said


CALLBACK = """
import signal, time, weakref
from cli.signals import heeded

class Something: pass

with heeded():
    it = Something()
    reference = weakref.ref(it, lambda dead: [signal.raise_signal({number}), time.sleep(1)])
    del it
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [2, 15])
def test_a_signal_within_a_callback_is_not_lost(number: int) -> None:
    """Python says "Exception ignored in", and goes on."""
    done = subprocess.run(
        [sys.executable, "-c", CALLBACK.format(number=number)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
        text=True,
        timeout=50,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (done.returncode, done.stderr) == (128 + number, "searchlib: interrupted\n")


IMPORTS = """
import sys
from cli.signals import heeded
with heeded():
    import first
    while True: pass
"""
CLASS = """
import signal

class Field:
    def __set_name__(self, owner, name):
        signal.raise_signal({number})
        sum(range(9))

class Record:
    field = Field()

print("made")
{then}
print("end")
"""


@pytest.mark.parametrize("number", [2, 15])
@pytest.mark.parametrize(("then", "said"), [("", "made\nend\n"), ("import second", "made\n")])
def test_a_signal_within_an_import(tmp_path: Path, number: int, then: str, said: str) -> None:
    """Python says RuntimeError where a class is being made; before the next module it is safe."""
    (tmp_path / "first.py").write_text(CLASS.format(number=number, then=then))
    (tmp_path / "second.py").write_text("print('second')")
    assert ending(IMPORTS, tmp_path) == (128 + number, said)


def test_sigterm_within_an_import_where_ctrl_c_is_ignored(tmp_path: Path) -> None:
    """As of what a shell starts in the background."""
    (tmp_path / "first.py").write_text(CLASS.format(number=15, then=""))
    ignoring = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n{IMPORTS}"
    assert ending(ignoring, tmp_path) == (143, "made\nend\n")


@pytest.mark.parametrize("then", ["while True: pass", "signal.raise_signal(2)"])
def test_an_import_that_does_not_end_is_left(tmp_path: Path, then: str) -> None:
    """After a second, or at a further signal."""
    (tmp_path / "first.py").write_text(CLASS.format(number=2, then=then))
    assert ending(IMPORTS, tmp_path) == (130, "made\n")


def test_a_command_that_an_import_runs(tmp_path: Path) -> None:
    program = "from cli.signals import heeded\nwith heeded():\n    import signal\n"
    (tmp_path / "first.py").write_text(f"{program}    signal.raise_signal(2)\n    print('on')")
    assert ending("import first", tmp_path) == (130, "")


EXTENSION = """
import os, sys
from cli.signals import heeded

calls = made = 0

def count(frame, event, what):
    global calls, made
    if event in ("c_call", "c_return") and getattr(what, "__name__", "") == "create_dynamic":
        made += 1 if event == "c_call" else -1
    calls += event == "call" and made > 0
    if calls == {call}:
        sys.setprofile(None)
        print("within")
        os.kill(os.getpid(), 2)

with heeded():
    sys.setprofile(count)
    import torch
    print("imported")
"""


@pytest.mark.parametrize("call", [100, 1000, 5000, 20000])
def test_a_signal_within_the_import_of_an_extension(tmp_path: Path, call: int) -> None:
    """PyTorch's imports modules itself: an exception in these is lost, or it calls abort."""
    assert ending(EXTENSION.format(call=call), tmp_path) == (130, "within\n")


LATE = """
import signal, sys
import cli.__main__, cli.app, cli.signals
number, code = {number}, {code}

class Late:
    def __enter__(self):
        self.block = cli.signals.heeded()
        self.block.__enter__()
    def __exit__(self, *error):
        signal.raise_signal(number)

cli.__main__.heeded = Late

def run():
    if code == 130:
        sys.stderr.write("searchlib: interrupted\\n")
    sys.exit(code)

cli.app.main = run
cli.__main__.main()
"""


@pytest.mark.parametrize("number", [2, 15])
@pytest.mark.parametrize("code", [0, 130])  # of a command that was done, or interrupted before
def test_a_signal_when_all_is_over(tmp_path: Path, number: int, code: int) -> None:
    """Between the end of the block and that of what heeds signals: the line is said once."""
    assert ending(LATE.format(number=number, code=code), tmp_path) == (128 + number, "")


WAITING = """
import os, threading
from concurrent.futures import ThreadPoolExecutor
from cli.signals import heeded

def work():
    import torch
    matrix = torch.zeros(400, 400)
    print("begun")
    threading.Timer(0.1, os.kill, (os.getpid(), {number})).start()
    while True:
        torch.mm(matrix, matrix)

with heeded(), ThreadPoolExecutor(1) as pool:
    pool.submit(work)
"""


@pytest.mark.parametrize("number", [2, 15])
def test_a_signal_while_a_thread_is_waited_for(tmp_path: Path, number: int) -> None:
    """Python takes it for ended; PyTorch, at work in it, would call abort when the process ends."""
    assert ending(WAITING.format(number=number), tmp_path) == (128 + number, "begun\n")


def ending(program: str, folder: Path) -> tuple[int, str]:
    """The exit code of a program that says "interrupted", and what else it said."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"},
        check=False,
        capture_output=True,
        text=True,
        timeout=50,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert done.stderr == "searchlib: interrupted\n"
    return done.returncode, done.stdout


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
    write_tables(tmp_path / "s", [], [], [])
    store = Store(tmp_path / "s", 0)
    with ctrl_c_soon():
        store._query(ENDLESS)
    assert store.counts() == (0, 0)


def test_ctrl_c_within_a_statement_that_writes(tmp_path: Path) -> None:
    with ctrl_c_soon(), filling(tmp_path / "s") as database:
        database.conn.execute(f"CREATE TABLE t AS {ENDLESS}")
