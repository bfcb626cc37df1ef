"""One writer: who else writes is named; a dead one's lock is none; readers need none."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from index_cases import all_answers, create, record

from indexes.errors import Locked, StorageFailed
from indexes.lock import HELD, LOCK, locked
from indexes.manifest import MANIFEST
from indexes.snapshot import Snapshot
from indexes.writer import Writer

HOLD = """
import errno, fcntl, sys
from indexes.lock import locked
from pathlib import Path
def unable(*arguments):
    raise OSError(errno.ENOTSUP, "Operation not supported")
if sys.argv[2] == "without flock":
    fcntl.flock = unable
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
KINDS = ["with flock", "without flock"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whether the file system has locks."""
    name: str = request.param
    if name == "without flock":
        monkeypatch.setattr(fcntl, "flock", unable)
    return name


def unable(*arguments: object) -> None:
    raise OSError(errno.ENOTSUP, "Operation not supported")


@contextlib.contextmanager
def holder(root: Path, kind: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root), kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


def test_another_process_is_named(tmp_path: Path, kind: str) -> None:
    with holder(tmp_path, kind) as other:
        with pytest.raises(Locked) as caught, locked(tmp_path):
            pass
        assert re.search(
            rf"process {other.pid} on \S+ since \d{{4}}-\d\d-\d\dT\d\d:\d\d", str(caught.value)
        )
        assert "\n" not in str(caught.value)
    with locked(tmp_path):  # it has ended
        pass
    assert not (tmp_path / HELD).exists()


def test_a_killed_process_holds_nothing(tmp_path: Path, kind: str) -> None:
    with holder(tmp_path, kind) as other:
        other.send_signal(signal.SIGKILL)
        other.wait()
    assert (tmp_path / (LOCK if kind == "with flock" else HELD)).stat().st_size > 0
    with locked(tmp_path):
        pass


def test_a_forked_process_neither_keeps_nor_ends_it(tmp_path: Path, kind: str) -> None:
    """One lives on for longer than the block in which it was forked, one leaves that block."""
    reading, writing = os.pipe()
    with locked(tmp_path):
        living = os.fork()
        if not living:
            os.close(writing)
            os.read(reading, 1)  # until the parent closes its end
            os._exit(0)
    with locked(tmp_path):
        pass
    os.close(writing)
    os.close(reading)
    os.waitpid(living, 0)
    with contextlib.ExitStack() as held:
        held.enter_context(locked(tmp_path))
        leaving = os.fork()
        if not leaving:
            try:
                held.close()
            finally:
                os._exit(0)
        os.waitpid(leaving, 0)
        with pytest.raises(Locked), locked(tmp_path):
            pass


def test_a_holder_without_a_name_may_be_a_thread(tmp_path: Path) -> None:
    """It has the lock, and did not write yet who it is."""
    with (tmp_path / LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(Locked, match="or another thread of this one"), locked(tmp_path):
            pass


def test_an_index_is_made_and_changed(tmp_path: Path, kind: str) -> None:
    create(tmp_path / "i", [record("a", "red")])
    with Writer.open(tmp_path / "i") as writer:
        with pytest.raises(Locked, match=f"process {os.getpid()} "):
            Writer.open(tmp_path / "i")
        writer.delete(["a"])
        writer.commit()
    assert {path.name for path in (tmp_path / "i").iterdir()} == {MANIFEST, LOCK}


def test_another_host_is_never_called_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can tell from here: the message says what to do."""
    monkeypatch.setattr(fcntl, "flock", unable)
    owner = {"pid": 2**22 + 1, "host": "elsewhere", "since": "2026-01-01T00:00:00+00:00"}
    (tmp_path / HELD).write_text(json.dumps(owner))
    with pytest.raises(Locked, match=f"on elsewhere since .* remove .*{HELD}"), locked(tmp_path):
        pass
    for garbled in ("", "{}", "[1]", '{"pid": "x", "host": "y", "since": 1}', "\0"):
        (tmp_path / HELD).write_text(garbled)
        with pytest.raises(Locked, match=r"another process.* remove"), locked(tmp_path):
            pass
    (tmp_path / HELD).unlink()
    with locked(tmp_path):
        pass


def test_two_that_find_the_same_dead_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One is faster; the other gives back what it took away."""
    from indexes import lock

    monkeypatch.setattr(fcntl, "flock", unable)
    dead = json.dumps({"pid": 2**22 + 1, "host": os.uname().nodename, "since": "x"}).encode()
    (tmp_path / HELD).write_bytes(dead)
    real = lock._take_away
    faster = json.dumps({"pid": os.getpid(), "host": os.uname().nodename, "since": "y"}).encode()

    def overtaken(path: Path, stale: bytes) -> bool:
        path.write_bytes(faster)
        return real(path, stale)

    monkeypatch.setattr(lock, "_take_away", overtaken)
    with pytest.raises(Locked), locked(tmp_path):
        pass
    assert (tmp_path / HELD).read_bytes() == faster
    assert {path.name for path in tmp_path.iterdir()} == {HELD, LOCK}


def test_a_refusal_that_is_none_of_locking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", broken)
    with pytest.raises(StorageFailed, match="cannot lock"), locked(tmp_path):
        pass


@pytest.fixture
def read_only() -> Iterator[Path]:
    """An index in a folder that this process may read only; as nobody, should it be root."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        create(root / "i", [record("a", "red fish"), record("b", "blue")])
        for path in [*(root / "i").iterdir(), root / "i", root]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        was_root = os.geteuid() == 0
        if was_root:
            os.seteuid(65534)
        try:
            yield root / "i"
        finally:
            if was_root:
                os.seteuid(0)
            for path in (root, root / "i"):
                path.chmod(0o755)


def test_a_read_only_folder_is_searched_and_not_written(read_only: Path) -> None:
    before = sorted(path.name for path in read_only.iterdir())
    with Snapshot.open(read_only) as snapshot:
        assert all_answers(snapshot)["bm25 ['red']"].keys() == {"a"}
        assert snapshot.records(snapshot.lookup(["b"]))[0].text == "blue"
        assert snapshot.verify() == []
    with pytest.raises(StorageFailed) as caught:
        Writer.open(read_only)
    assert str(caught.value) == f"cannot write to {read_only}: no permission"
    with pytest.raises(StorageFailed, match=r"cannot make the folder .*: no permission"):
        create(read_only.parent / "new", [])
    assert sorted(path.name for path in read_only.iterdir()) == before
