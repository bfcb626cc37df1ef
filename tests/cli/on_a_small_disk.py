"""Every command that writes, on a disk that is full or read-only: one line, nothing lost.

Run by `test_full_disk.py` where a disk of a few megabytes, in memory, is mounted at $SMALL_DISK.
Once there is space, the command works.
"""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from commandline import WORDS_ONLY, Run, write_jsonl

COUNT = 300  # documents in the index

Command = tuple[str, ...]
WRITING: dict[str, Command] = {
    "add": ("add", "INDEX", "more.jsonl"),
    "index": ("index", "INDEX", "more.jsonl"),
    "update": ("update", "INDEX", "--where", "number < 200", "--set", "colour=green"),
    "delete": ("delete", "INDEX", "--where", "number < 100"),
    "sync": ("sync", "INDEX", "files"),
    "reencode": ("reencode", "INDEX", "--sparse-model", "SPARSE"),
    "merge": ("merge", "INDEX"),
    "vacuum": ("vacuum", "INDEX"),
    "eval": ("eval", "INDEX", "--queries", "queries.jsonl", "--qrels", "qrels.tsv", "--record"),
}


class Disk:
    """The small disk, which this test has for itself."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextlib.contextmanager
    def filled(self, room: int = 0) -> Iterator[None]:
        """Within the block there are `room` bytes left."""
        gc.collect()  # what was removed and is still open would make room later
        ballast = self.root / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while file.write(bytes(4096)) == 4096:
                pass
        os.truncate(ballast, max(0, ballast.stat().st_size - room))
        try:
            yield
        finally:
            ballast.unlink()

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        """Within the block nothing can be written."""
        self._remount("ro")
        try:
            yield
        finally:
            self._remount("rw")

    def _remount(self, how: str) -> None:
        gc.collect()  # what a failed test holds open for writing
        subprocess.run(["mount", "-o", f"remount,{how}", self.root], check=True)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """The disk; the documents are elsewhere, in the current folder."""
    (tmp_path / "files").mkdir()
    monkeypatch.chdir(tmp_path)
    texts = {n: f"salt w{n % 97} x{n} " * 20 for n in range(COUNT * 2)}
    notes = [{"id": f"n{n}", "text": text, "number": n} for n, text in texts.items()]
    write_jsonl(Path("notes.jsonl"), *notes[:COUNT])
    write_jsonl(Path("more.jsonl"), *notes[COUNT - 50 :])
    write_jsonl(Path("files/more.jsonl"), *notes[COUNT:])
    write_jsonl(Path("queries.jsonl"), {"_id": "q", "text": "salt x7"})
    Path("qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq\tn7\t1\n")
    root = Path(os.environ["SMALL_DISK"])
    assert root.is_mount()
    yield Disk(root)
    for path in root.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture
def index(cli: Run, disk: Disk) -> Path:
    """An index on the disk: two segments, one with dead and changed documents."""
    path = disk.root / "i.index"
    assert cli("index", path, "notes.jsonl", *WORDS_ONLY).code == 0
    assert cli("delete", path, "n299").code == 0
    assert cli("update", path, "n298", "--set", "colour=red").code == 0
    return path


def state(cli: Run, index: Path) -> tuple[object, ...]:
    """What a commit consists of; the index must be sound."""
    assert cli("verify", index).lines == []
    info = cli("info", index).lines[0]
    found = cli("search", index, "x7", "-k", "5").lines
    return info["generation"], info["documents"], [(hit["id"], hit["score"]) for hit in found]


def refused(cli: Run, command: Command, *words: str) -> None:
    result = cli(*command)
    assert result.code == 1, (command, result)
    assert any(word in result.error for word in words), result.error
    assert "damaged" not in result.error


def filled_in(command: Command, index: Path, sparse: Path) -> Command:
    places = {"INDEX": str(index), "SPARSE": str(sparse)}
    return tuple(places.get(part, part) for part in command)


@pytest.mark.parametrize("name", WRITING)
def test_on_a_full_disk(cli: Run, disk: Disk, index: Path, tiny_sparse: Path, name: str) -> None:
    command = filled_in(WRITING[name], index, tiny_sparse)
    before = state(cli, index)
    # files of more than a page are refused half-way
    for room in (0, 4096, 16384):
        with disk.filled(room):
            if room == 0:
                refused(cli, command, "no space left")
            elif (result := cli(*command)).code == 1:
                assert "no space left" in result.error
            else:
                break  # it fitted in
        assert state(cli, index) == before
    assert cli(*command).code == 0
    assert state(cli, index) != before or name in ("merge", "vacuum", "eval")
    assert not [path for path in index.iterdir() if path.name.endswith(".replacing")]


@pytest.mark.parametrize("name", WRITING)
def test_on_a_read_only_disk(
    cli: Run, disk: Disk, index: Path, tiny_sparse: Path, name: str
) -> None:
    command = filled_in(WRITING[name], index, tiny_sparse)
    before = state(cli, index)
    with disk.read_only():
        refused(cli, command, "read-only")
        assert state(cli, index) == before  # to be read it is there
    assert state(cli, index) == before
    assert cli(*command).code == 0


@pytest.mark.parametrize("room", [0, 20_000])
def test_making_an_index_on_a_full_disk(cli: Run, disk: Disk, room: int) -> None:
    path = disk.root / "new.index"
    command = ("index", str(path), "notes.jsonl", *WORDS_ONLY)
    with disk.filled(room):
        refused(cli, command, "no space left")
    with disk.read_only():
        refused(cli, command, "read-only")
    assert cli(*command).code == 0
    assert state(cli, path)[1] == COUNT


def test_a_full_disk_costs_the_cache_and_nothing_else(
    cli: Run, disk: Disk, tmp_path: Path, tiny_sparse: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = disk.root / "vectors.db"
    made = ("--sparse-model", tiny_sparse, "--no-dense", "--cache", cache)
    assert cli("index", "one.index", "queries.jsonl", *made).code == 0
    for path, problem in ((cache, 0), (disk.root / "new.db", 1)):
        with disk.filled():
            command = ("index", f"{problem}.index", "notes.jsonl", *made[:3], "--cache", path)
            result = cli(*command)
            assert result.code == problem, result
            if problem:
                assert "cannot write vector cache" in result.error
                assert "no space left" in result.error
        assert cli(*command).lines[0]["added"] == (COUNT if problem else 0)
    assert "going on without it" in caplog.text


def test_a_full_disk_of_temporary_files() -> None:
    """Ids met in a run are in a temporary file, as soon as there are many."""
    from indexes.errors import StorageFailed
    from searchlib.intake import SeenIds

    seen = SeenIds()
    seen._db.execute("PRAGMA max_page_count = 3")
    with pytest.raises(StorageFailed, match="cannot write a temporary file: no space left"):
        seen.repeated([(f"{n} " + "x" * 900, "here") for n in range(100)])
    seen.close()
