"""The writer: upserts, deletes, commits, crashes, full disks. The folder is the old or the new."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import index_cases as cases
import numpy as np
import pytest
from crashing import Died, DyingDirectory, LitteringDirectory
from index_cases import FIELDS, create, query, record, rows

from indexes.directory import LOCK, FileDirectory, refusals
from indexes.errors import IndexExists, Locked, NoIndex, StorageFailed
from indexes.manifest import MANIFEST, read_manifest
from indexes.snapshot import Snapshot
from indexes.types import Record, TermVectors, Update
from indexes.writer import Writer

DOCS = [
    record("a", "red fish", "blue fish", year=1),
    record("b/☃", "one fish two fish", year=2),
    record("c", "old bird", year=3),
]


def add(writer: Writer, *records: Record) -> None:
    writer.add(records, rows(records))


def ids(path: Path) -> set[str]:
    with Snapshot.open(path) as snapshot:
        return set(snapshot.all_ids())


# --- what it does


def test_nothing_is_visible_before_commit(tmp_path: Path) -> None:
    with Writer.create(tmp_path / "i", FIELDS, {"x": 1}) as writer:
        assert ids(tmp_path / "i") == set()
        add(writer, *DOCS)
        assert ids(tmp_path / "i") == set()
        assert writer.commit({"x": 2}) == 1
        assert ids(tmp_path / "i") == {"a", "b/☃", "c"}
        assert writer.settings == {"x": 2}
    with Snapshot.open(tmp_path / "i") as snapshot:
        assert snapshot.settings == {"x": 2}
        assert list(snapshot.fields.values()) == FIELDS


def test_commit_without_changes_writes_nothing(tmp_path: Path) -> None:
    create(tmp_path / "i", DOCS)
    before = (tmp_path / "i" / MANIFEST).read_bytes()
    with Writer.open(tmp_path / "i") as writer:
        assert writer.commit() == 1
        assert writer.commit({}) == 1
    assert (tmp_path / "i" / MANIFEST).read_bytes() == before


@pytest.mark.parametrize("budget", [1, 2**28])
def test_upsert_replaces_wherever_the_old_one_is(tmp_path: Path, budget: int) -> None:
    """In the committed segments, in the buffer, and within one call."""
    with Writer.create(tmp_path / "i", FIELDS, {}, budget) as writer:
        add(writer, record("a", "first"), record("b", "first"))
        writer.commit()
        add(writer, record("a", "second"), record("c", "first"))
        add(writer, record("c", "second"), record("d", "x"), record("d", "second"))
        writer.commit()
    with Snapshot.open(tmp_path / "i") as snapshot:
        assert cases.answers(snapshot, "bm25", query("first")).keys() == {"b"}
        assert cases.answers(snapshot, "bm25", query("second")).keys() == {"a", "c", "d"}
        assert snapshot.n_documents == 4
        assert snapshot.verify() == []


@pytest.mark.parametrize("budget", [1, 2**28])
def test_delete_counts_each_document_once(tmp_path: Path, budget: int) -> None:
    with Writer.create(tmp_path / "i", FIELDS, {}, budget) as writer:
        add(writer, *DOCS)
        writer.commit()
        add(writer, DOCS[0], record("new", "x"))
        assert writer.delete(["a", "a", "new", "absent", "\ud800"]) == 2
        assert writer.delete(["a"]) == 0
        writer.commit()
        assert ids(tmp_path / "i") == {"b/☃", "c"}
        assert writer.delete(["b/☃", "c"]) == 2
        writer.commit()
    assert ids(tmp_path / "i") == set()
    assert {path.name for path in (tmp_path / "i").iterdir()} == {MANIFEST, LOCK}


def test_rollback_forgets_everything(tmp_path: Path) -> None:
    create(tmp_path / "i", DOCS)
    before = set((tmp_path / "i").iterdir())
    with Writer.open(tmp_path / "i", memory_budget=1) as writer:
        add(writer, record("d", "x"))
        writer.delete(["a"])
        writer.rollback()
        assert writer.commit() == 1
        add(writer, record("e", "x"))
        writer.delete(["b/☃"])  # and no commit
    assert ids(tmp_path / "i") == {"a", "b/☃", "c"}
    assert set((tmp_path / "i").iterdir()) == before


def test_the_buffer_is_bounded(tmp_path: Path) -> None:
    budget = 50_000
    with Writer.create(tmp_path / "i", FIELDS, {}, budget) as writer:
        largest = 0
        for n in range(300):
            add(writer, record(f"d{n}", "red fish " * 50))
            largest = max(largest, writer.nbytes)
        writer.commit()
    assert 10_000 < largest < 1.2 * budget
    assert len(ids(tmp_path / "i")) == 300


def test_many_commits_leave_few_segments_and_files(tmp_path: Path) -> None:
    with Writer.create(tmp_path / "i", FIELDS) as writer:
        for n in range(40):
            add(writer, record(f"d{n}", "red fish"))
            writer.commit()
    with Snapshot.open(tmp_path / "i") as snapshot:
        assert snapshot.n_segments <= 3
        assert snapshot.n_documents == 40
        assert snapshot.verify() == []
    manifest = read_manifest(FileDirectory(tmp_path / "i"))
    files = {path.name for path in (tmp_path / "i").iterdir()}
    assert files == manifest.files.keys() | {MANIFEST, LOCK}


def test_merge_leaves_one_segment_and_no_deleted_text(tmp_path: Path) -> None:
    create(tmp_path / "i", DOCS)
    with Writer.open(tmp_path / "i") as writer:
        add(writer, record("d", "x"))
        writer.commit()
        writer.delete(["c"])
        writer.merge()
    with Snapshot.open(tmp_path / "i") as snapshot:
        assert snapshot.n_segments == 1
        assert snapshot.verify() == []
    for path in (tmp_path / "i").iterdir():
        assert b"old bird" not in path.read_bytes()


def test_equal_fields_share_one_file(tmp_path: Path) -> None:
    """One passage a document: whole documents and passages have the same BM25 rows."""
    create(tmp_path / "i", [record("a", "red fish"), record("b", "blue")])
    create(tmp_path / "j", DOCS)
    [one] = read_manifest(FileDirectory(tmp_path / "i")).segments
    [two] = read_manifest(FileDirectory(tmp_path / "j")).segments
    assert one.parts["bm25"] == one.parts["bm25_passage"]
    assert two.parts["bm25"] != two.parts["bm25_passage"]


@pytest.mark.parametrize("id", ["☃", "🐟/../x", "a/b", "a\0b", "'; DROP TABLE documents; --", " "])
def test_any_id_is_an_id(tmp_path: Path, id: str) -> None:
    create(tmp_path / "i", [record(id, "red"), record(id + "x", "red")])
    with Writer.open(tmp_path / "i") as writer:
        assert writer.delete([id + "x"]) == 1
        writer.merge()
    with Snapshot.open(tmp_path / "i") as snapshot:
        assert list(snapshot.all_ids()) == [id]
        assert snapshot.lookup([id]).tolist() == [0]
        assert snapshot.ids(np.array([0])) == [id]


def test_texts_that_utf8_cannot_hold(tmp_path: Path) -> None:
    """Lone surrogates become U+FFFD, one for one; NUL is a character like any other."""
    strange = Record(
        "a", "t\ud800", "x\udfff\0y🐟", {"k\ud800": "v\udc00"}, b"\0h", ((0, 2), (2, 5))
    )
    create(tmp_path / "i", [strange])
    with Writer.open(tmp_path / "i") as writer:
        add(writer, record("b", "x"))
        writer.merge()
    with Snapshot.open(tmp_path / "i") as snapshot:
        [read] = snapshot.records(snapshot.lookup(["a"]))
    assert read == Record("a", "t�", "x�\0y🐟", {"k�": "v�"}, b"\0h", ((0, 2), (2, 5)))


# --- what it refuses


@pytest.mark.parametrize("documents", [DOCS, []], ids=["some documents", "an empty index"])
def test_a_closed_writer_does_nothing(tmp_path: Path, documents: list[Record]) -> None:
    """Least of all does it commit an index without the segments, or the lock, it has let go of."""
    create(tmp_path / "i", documents)
    with Writer.open(tmp_path / "i") as writer:
        pass
    writer.close()
    calls = [
        lambda: add(writer, record("d", "x")),
        lambda: writer.delete(["a"]),
        lambda: writer.update([Update("a", {}, b"")]),
        lambda: writer.commit({"x": 1}),
        writer.merge,
        writer.rollback,
    ]
    for call in calls:
        with pytest.raises(StorageFailed, match="open a new one"):
            call()
    assert len(ids(tmp_path / "i")) == len(documents)


def test_a_writer_that_cannot_go_back_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(tmp_path / "i", DOCS)
    with Writer.open(tmp_path / "i", memory_budget=1) as writer:
        with monkeypatch.context() as patch:
            patch.setattr(FileDirectory, "build", full)
            patch.setattr(FileDirectory, "read", full)
            with pytest.raises(StorageFailed, match="cannot do anything"):
                add(writer, record("d", "x"))
        with pytest.raises(StorageFailed, match="open a new one"):
            writer.commit({"x": 1})
    assert len(ids(tmp_path / "i")) == 3


def full(directory: FileDirectory, name: str) -> None:
    raise StorageFailed("cannot do anything: no space left")


def test_ctrl_c_in_a_flush_loses_only_what_was_not_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(tmp_path / "i", DOCS)

    def interrupted(directory: FileDirectory, name: str) -> None:
        raise KeyboardInterrupt

    with Writer.open(tmp_path / "i", memory_budget=1) as writer:
        with monkeypatch.context() as patch:
            patch.setattr(FileDirectory, "create", interrupted)
            with pytest.raises(KeyboardInterrupt):
                add(writer, record("a", "x"), record("d", "x"))
        add(writer, record("e", "x"))
        writer.commit()
    assert contents(tmp_path / "i") == OLD | {"e": "x"}


def deep(levels: int) -> list[object]:
    return [deep(levels - 1)] if levels else []


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Record("", "", "x", {}, b"", ((0, 1),)), "empty id"),
        (Record("a\ud800", "", "x", {}, b"", ((0, 1),)), "lone surrogate"),
        (Record("a", "", "x", {}, b"", ()), "no passage"),
        (Record("a", "", "x", {}, b"", ((0, 2),)), "outside of its text of 1 characters"),
        (Record("a", "", "x", {}, b"", ((1, 0),)), "outside"),
        (Record("a", "", "x", {"k": float("nan")}, b"", ((0, 1),)), "'a': metadata is not JSON"),
        (Record("a", "", "x", {"k": {1, 2}}, b"", ((0, 1),)), "'a': metadata is not JSON"),
        (Record("a", "", "x", {"k": deep(200)}, b"", ((0, 1),)), "nested more than 100"),
    ],
)
def test_records_that_cannot_be_stored(tmp_path: Path, bad: Record, message: str) -> None:
    good = record("good", "red")
    with Writer.create(tmp_path / "i", FIELDS) as writer:
        with pytest.raises(ValueError, match=message) as caught:
            writer.add([good, bad], rows([good, record("x", "x")]))
        assert "\n" not in str(caught.value)
        writer.commit()
    assert ids(tmp_path / "i") == set()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sparse": TermVectors.of([{}])}, "sparse: 1 rows for 2 passages"),
        ({"bm25": TermVectors.of([{}] * 2)}, "bm25: 2 rows for 1 documents"),
        ({"bm25": TermVectors.of([{"a": -1.0}])}, "illegal weight -1"),
        ({"bm25": TermVectors.of([{"a": float("nan")}])}, "illegal weight nan"),
        ({"dense": np.zeros((2, 3), np.float32)}, r"takes vectors of shape \(n, 4\)"),
        ({"dense": np.full((2, 4), np.inf, np.float32)}, "not a finite number"),
        ({"dense": TermVectors.of([{}] * 2)}, r"takes vectors of shape \(n, 4\)"),
        ({"sparse": np.zeros((2, 4), np.float32)}, "takes TermVectors, not ndarray"),
        ({"other": TermVectors.of([{}] * 2)}, "the index has"),
    ],
)
def test_rows_that_do_not_fit(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with Writer.create(tmp_path / "i", FIELDS) as writer:
        with pytest.raises(ValueError, match=message):
            writer.add(DOCS[:1], rows(DOCS[:1]) | change)  # type: ignore[operator]
        add(writer, DOCS[1])
        writer.commit()
    assert ids(tmp_path / "i") == {"b/☃"}


def test_create_wants_an_empty_folder(tmp_path: Path) -> None:
    create(tmp_path / "deep" / "er" / "i")
    with pytest.raises(IndexExists, match="holds an index already"):
        create(tmp_path / "deep" / "er" / "i")
    with pytest.raises(IndexExists, match="not empty"):
        create(tmp_path / "deep")
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageFailed, match="cannot make the folder"):
        create(tmp_path / "file")
    with pytest.raises(ValueError, match="two fields have one name"):
        Writer.create(tmp_path / "k", [FIELDS[0], FIELDS[0]])
    assert not (tmp_path / "k").exists()


def test_open_wants_an_index(tmp_path: Path) -> None:
    with pytest.raises(NoIndex, match="holds no index"):
        Writer.open(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_one_writer(tmp_path: Path) -> None:
    create(tmp_path / "i", DOCS)
    with Writer.open(tmp_path / "i"):
        with pytest.raises(Locked, match=f"process {os.getpid()} on "):
            Writer.open(tmp_path / "i")
        assert len(ids(tmp_path / "i")) == 3  # readers do not care
    with Writer.open(tmp_path / "i"):
        pass


# --- crashes: a directory that dies at its n-th operation


def workload(directory: FileDirectory) -> None:
    """Two flushes, an upsert, updates, deletes, a merge: everything that writes."""
    with Writer.open(directory, memory_budget=2_000) as writer:
        add(writer, record("d", "new bird " * 9))
        writer.update(
            [Update("b/☃", {"updated": "soon " * 400}, b"1"), Update("d", {"n": 1}, b"2")]
        )
        add(writer, record("a", "two birds"), record("e", "one"))
        writer.update(
            [Update("b/☃", {"updated": True}, b"3"), Update("e", {"updated": True}, b"4")]
        )
        writer.delete(["c", "d"])
        writer.merge()


def small_workload(directory: FileDirectory) -> None:
    """Updates and deletes without a merge: the commit's own files of a segment that stays."""
    with Writer.open(directory, memory_budget=2_000) as writer:
        writer.update([Update("b/☃", {"updated": "soon " * 400}, b"1")])
        writer.update([Update("b/☃", {"updated": True}, b"2")])
        writer.delete(["c"])
        writer.commit()


def vacuum_workload(directory: FileDirectory) -> None:
    """Changes, and in the same commit the segments rewritten that hold them."""
    with Writer.open(directory) as writer:
        writer.update([Update("b/☃", {"updated": True}, b"1")])
        writer.delete(["c"])
        writer.vacuum()


def large_workload(directory: FileDirectory) -> None:
    """Updates of so many documents that they are settled again and again before the commit."""
    with Writer.open(directory, memory_budget=100) as writer:
        for size in (300, 200, 1):
            writer.update([Update("b/☃", {"updated": True, "note": "x" * size}, b"1")])
        writer.delete(["c"])
        writer.commit()


OLD = {"a": "red fish\nblue fish", "b/☃": "one fish two fish", "c": "old bird"}
NEW = {"a": "two birds", "b/☃": "one fish two fish (updated)", "e": "one (updated)"}
SMALL = {"a": "red fish\nblue fish", "b/☃": "one fish two fish (updated)"}


def contents(path: Path) -> dict[str, str]:
    """{id: text}, and whether its metadata say that it was updated."""
    with Snapshot.open(path) as snapshot:
        assert snapshot.verify() == []
        documents = snapshot.lookup(list(snapshot.all_ids()))
        records = snapshot.records(documents)
        updated = {r.id for r in records if r.metadata.get("updated") is True}
        assert len(snapshot.select("updated = true")) == len(updated)
        found = {r.id: r.text + " (updated)" * (r.id in updated) for r in records}
        assert cases.answers(snapshot, "bm25", query("fish")).keys() == {
            id for id, text in found.items() if "fish" in text
        }
        return found


@pytest.mark.parametrize(
    ("work", "new", "least"),
    [
        (workload, NEW, 20),
        (small_workload, SMALL, 8),
        (vacuum_workload, SMALL, 8),
        (large_workload, SMALL, 8),
    ],
)
@pytest.mark.parametrize("double", [DyingDirectory, LitteringDirectory])
def test_a_crash_leaves_the_old_commit_or_the_new(
    tmp_path: Path,
    double: type[DyingDirectory],
    work: Callable[[FileDirectory], None],
    new: dict[str, str],
    least: int,
) -> None:
    create(tmp_path / "origin", DOCS)
    outcomes = []
    for fatal in range(1, 200):
        path = tmp_path / f"i{fatal}"
        shutil.copytree(tmp_path / "origin", path)
        try:
            work(double(path, fatal))
        except Died:
            found = contents(path)
            assert found in (OLD, new)
            outcomes.append(found == new)
            work(FileDirectory(path))  # the next writer is not disturbed
            assert contents(path) == new
            named = read_manifest(FileDirectory(path)).files.keys()
            assert {entry.name for entry in path.iterdir()} == named | {MANIFEST, LOCK}
            shutil.rmtree(path)
        else:
            break
    assert contents(path) == new
    assert len(outcomes) >= least
    assert not outcomes[0]
    assert outcomes == sorted(outcomes)  # there is one moment from which on it is the new one
    assert any(outcomes) or double is LitteringDirectory


@pytest.mark.parametrize("fatal", [1, 2, 3])
def test_a_crash_while_creating(tmp_path: Path, fatal: int) -> None:
    with contextlib.suppress(Died):
        Writer.create(DyingDirectory(tmp_path / "i", fatal), FIELDS).close()
    try:
        Writer.create(tmp_path / "i", FIELDS).close()
        assert fatal == 1
    except IndexExists:
        assert fatal > 1
    assert contents(tmp_path / "i") == {}


# --- full disks and other refusals


class RefusingDirectory(FileDirectory):
    """Its n-th write fails, with what the system says."""

    def __init__(self, root: Path, fatal: int, number: int) -> None:
        super().__init__(root)
        self.writes = 0
        self.fatal, self.number = fatal, number

    def refuse(self) -> None:
        self.writes += 1
        if self.writes == self.fatal:
            raise OSError(self.number, os.strerror(self.number))

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        with super().create(name) as file:
            yield file
            self.refuse()

    @contextlib.contextmanager
    def build(self, name: str) -> Iterator[Path]:
        with super().build(name) as path:
            yield path
            self.refuse()

    def replace(self, name: str, data: bytes) -> None:
        with refusals(f"write {name}"):
            self.refuse()
        super().replace(name, data)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO])
def test_a_refused_write_leaves_the_old_commit(tmp_path: Path, number: int) -> None:
    create(tmp_path / "origin", DOCS)
    refused = 0
    for fatal in range(1, 100):
        path = tmp_path / f"i{fatal}"
        shutil.copytree(tmp_path / "origin", path)
        directory = RefusingDirectory(path, fatal, number)
        with Writer.open(directory, memory_budget=2_000) as writer:
            try:
                add(writer, record("d", "new bird " * 9))
                add(writer, record("a", "two birds"), record("e", "one"))
                writer.update([Update("b/☃", {"updated": "soon " * 400}, b"1")])
                writer.delete(["c", "d"])
                writer.merge()
                break
            except StorageFailed as error:
                message = str(error)
            refused += 1
            assert message.startswith("cannot write ")
            assert "\n" not in message
            assert contents(path) == OLD
            named = read_manifest(directory).files.keys()
            assert {entry.name for entry in path.iterdir()} == named | {MANIFEST, LOCK}
            add(writer, record("later", "x"))  # there is space again
            writer.commit()
        assert contents(path) == OLD | {"later": "x"}
    assert refused > 10


LIMITED = """
import resource, sys
sys.path.insert(0, sys.argv[2])
from index_cases import record, rows
from indexes.errors import StorageFailed
from indexes.writer import Writer
with Writer.open(sys.argv[1]) as writer:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
    big = [record(f"big{n}", f"word{n} " * 200) for n in range(200)]
    try:
        writer.add(big, rows(big))
        writer.commit()
    except StorageFailed as error:
        print(error)
"""


@pytest.mark.parametrize("limit", [1, 4096, 30_000, 250_000])
def test_the_system_refuses_for_real(tmp_path: Path, limit: int) -> None:
    """A limit on the size of files, met by SQLite or by the arrays, whichever comes first."""
    create(tmp_path / "i", DOCS)
    before = {path: path.read_bytes() for path in (tmp_path / "i").iterdir() if path.name != LOCK}
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path / "i", Path(__file__).parent, str(limit)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout.startswith("cannot write ")
    assert done.stdout.count("\n") == 1
    after = {path: path.read_bytes() for path in (tmp_path / "i").iterdir() if path.name != LOCK}
    assert after == before
