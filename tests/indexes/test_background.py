"""Merges beside the writer: what came meanwhile holds, and nothing goes wrong that cannot."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from crashing import Died, DyingDirectory, LitteringDirectory
from index_cases import FIELDS, all_answers, create, record, rows

from indexes import policy
from indexes.background import Beside, Task, on_a_thread
from indexes.directory import LOCK, FileDirectory
from indexes.errors import Locked, StorageFailed
from indexes.manifest import MANIFEST, read_manifest
from indexes.snapshot import Snapshot
from indexes.types import Record
from indexes.writer import MEMORY_BUDGET, Writer


class Later:
    """Keeps tasks until they are to be done: a thread whose pace the test sets."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.begun = 0

    def __call__(self, task: Task) -> None:
        self.begun += 1
        self.tasks.append(task)

    def run(self) -> None:
        while self.tasks:
            self.tasks.pop()()


def at_once(task: Task) -> None:
    task()


@pytest.fixture(autouse=True)
def _every_merge_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "AT_ONCE", 0)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # the doubles know what is lost


def put(writer: Writer, *records: Record) -> None:
    given = rows(records)
    writer.add(records, {name: given[name] for name in writer.fields})


def opened(path: Path, beside: Beside) -> Writer:
    return Writer(FileDirectory(path), MEMORY_BUDGET, beside)


def four_segments(path: Path, beside: Beside) -> Writer:
    """d0 to d3, a segment each, and their merge begun."""
    create(path)
    writer = opened(path, beside)
    for n in range(4):
        put(writer, record(f"d{n}", f"red fish {n}", "old"))
        writer.commit()
    return writer


def contents(path: Path) -> dict[str, str]:
    with Snapshot.open(path) as snapshot:
        assert snapshot.verify() == []
        found = snapshot.records(snapshot.lookup(list(snapshot.all_ids())))
        return {r.id: r.text for r in found}


def segments(path: Path) -> int:
    return len(read_manifest(FileDirectory(path)).segments)


def nothing_left_behind(path: Path) -> bool:
    named = read_manifest(FileDirectory(path)).files.keys()
    return {entry.name for entry in path.iterdir()} == named | {MANIFEST, LOCK}


def test_a_merge_comes_in_at_the_next_commit(tmp_path: Path) -> None:
    later = Later()
    with four_segments(tmp_path / "i", later) as writer:
        assert segments(tmp_path / "i") == 4
        later.run()
        assert segments(tmp_path / "i") == 4
        put(writer, record("d4", "x"))
        writer.commit()
        assert segments(tmp_path / "i") == 2
    assert contents(tmp_path / "i").keys() == {f"d{n}" for n in range(5)}
    assert nothing_left_behind(tmp_path / "i")


@pytest.mark.parametrize("when", ["before it runs", "after it ran"])
def test_what_came_meanwhile_holds(tmp_path: Path, when: str) -> None:
    later = Later()
    with four_segments(tmp_path / "i", later) as writer:
        if when == "after it ran":
            later.run()
        assert writer.delete(["d1"]) == 1
        put(writer, record("d2", "blue bird"), record("d4", "new"))
        writer.commit() if when == "before it runs" else None
        later.run()
        writer.delete(["d4"])
        put(writer, record("d5", "red"))
        writer.commit()
    survivors = [
        record("d0", "red fish 0", "old"),
        record("d3", "red fish 3", "old"),
        record("d2", "blue bird"),
        record("d5", "red"),
    ]
    create(tmp_path / "fresh", survivors)
    with Snapshot.open(tmp_path / "i") as one, Snapshot.open(tmp_path / "fresh") as other:
        assert all_answers(one) == all_answers(other)
        assert one.n_segments < 4
    assert contents(tmp_path / "i") == {r.id: r.text for r in survivors}


def test_all_documents_die_meanwhile(tmp_path: Path) -> None:
    later = Later()
    with four_segments(tmp_path / "i", later) as writer:
        writer.delete([f"d{n}" for n in range(4)])
        writer.commit()
        later.run()
        writer.commit()
        assert contents(tmp_path / "i") == {}
        writer.merge()
    assert nothing_left_behind(tmp_path / "i")


def test_a_rollback_does_not_disturb_it(tmp_path: Path) -> None:
    later = Later()
    with four_segments(tmp_path / "i", later) as writer:
        writer.delete(["d1"])
        writer.rollback()
        later.run()
        writer.delete(["d2"])
        writer.rollback()
        writer.commit()
        assert segments(tmp_path / "i") == 1
    assert contents(tmp_path / "i").keys() == {"d0", "d1", "d2", "d3"}


def test_a_merge_of_segments_that_are_gone_is_not_taken_in(tmp_path: Path) -> None:
    """It was planned for what a former commit had; merging everything gives it up."""
    later = Later()
    with four_segments(tmp_path / "i", later) as writer:
        writer.merge()
        later.run()
        writer.commit()
        assert segments(tmp_path / "i") == 1
    assert contents(tmp_path / "i").keys() == {"d0", "d1", "d2", "d3"}
    assert nothing_left_behind(tmp_path / "i")


class FailingDirectory(FileDirectory):
    """Refuses to create files while `full`, on threads of merges only."""

    full = True

    @contextlib.contextmanager
    def build(self, name: str) -> Iterator[Path]:
        with super().build(name) as path:
            yield path
            if self.full and threading.current_thread().name == "merge":
                raise StorageFailed("no space left")


def test_a_failure_loses_nothing_and_is_not_tried_again(tmp_path: Path) -> None:
    create(tmp_path / "i")
    tried = []

    def beside(task: Task) -> None:
        tried.append(1)
        thread = threading.Thread(target=task, name="merge")
        thread.start()
        thread.join()

    directory = FailingDirectory(tmp_path / "i")
    with Writer(directory, MEMORY_BUDGET, beside) as writer:
        for n in range(4):
            put(writer, record(f"d{n}", "x"))
            writer.commit()
        for _ in range(3):
            writer.commit()
        assert len(tried) == 1
        assert nothing_left_behind(tmp_path / "i")
        writer.finish()  # on this thread: it does not fail
        assert segments(tmp_path / "i") == 1
    assert contents(tmp_path / "i").keys() == {"d0", "d1", "d2", "d3"}


def test_without_a_thread_to_be_had_there_is_no_merge(tmp_path: Path) -> None:
    def beside(task: Task) -> None:
        raise RuntimeError("can't start new thread")

    with four_segments(tmp_path / "i", beside) as writer:
        writer.finish()
    assert contents(tmp_path / "i").keys() == {"d0", "d1", "d2", "d3"}


def test_ctrl_c_as_it_begins(tmp_path: Path) -> None:
    begun = []

    def beside(task: Task) -> None:
        begun.append(task)
        if len(begun) == 1:
            raise KeyboardInterrupt

    create(tmp_path / "i", [record("d0", "x")])
    with opened(tmp_path / "i", beside) as writer:
        for n in range(1, 3):
            put(writer, record(f"d{n}", "x"))
            writer.commit()
        put(writer, record("d3", "x"))
        with pytest.raises(KeyboardInterrupt):
            writer.commit()
        begun[0]()  # begins after all, and sees that it is not wanted
        put(writer, record("later", "x"))
        writer.commit()
        begun[1]()
        writer.finish()
    assert contents(tmp_path / "i").keys() == {"d0", "d1", "d2", "d3", "later"}


def test_closing_gives_it_up(tmp_path: Path) -> None:
    later = Later()
    four_segments(tmp_path / "i", later).close()
    later.run()
    assert segments(tmp_path / "i") == 4
    assert nothing_left_behind(tmp_path / "i")
    with Writer.open(tmp_path / "i") as writer:
        writer.finish()
    assert segments(tmp_path / "i") == 1


def test_a_merge_that_does_not_notice_keeps_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next writer would meet its files, and it the next writer's."""
    monkeypatch.setattr("indexes.writer.PATIENCE", 0.01)
    inside, go_on = threading.Event(), threading.Event()

    class SlowDirectory(FileDirectory):
        @contextlib.contextmanager
        def create(self, name: str) -> Iterator[BinaryIO]:
            with super().create(name) as file:
                yield file
                if threading.current_thread().name == "merge":
                    inside.set()
                    assert go_on.wait(60)

    create(tmp_path / "i")
    writer = Writer(SlowDirectory(tmp_path / "i"), MEMORY_BUDGET, on_a_thread)
    for n in range(4):
        put(writer, record(f"d{n}", "x"))
        writer.commit()
    assert inside.wait(60)
    writer.close()  # comes back although the merge has not ended
    with pytest.raises(Locked):
        Writer.open(tmp_path / "i")
    [merging] = [thread for thread in threading.enumerate() if thread.name == "merge"]
    go_on.set()
    merging.join()
    Writer.open(tmp_path / "i").close()
    assert nothing_left_behind(tmp_path / "i")
    assert contents(tmp_path / "i").keys() == {"d0", "d1", "d2", "d3"}


def test_threads_in_earnest(tmp_path: Path) -> None:
    """Adds, upserts and deletes while real threads merge; at any pace the same documents."""
    create(tmp_path / "i")
    model: dict[str, Record] = {}
    with opened(tmp_path / "i", on_a_thread) as writer:
        for n in range(60):
            new = [record(f"d{(n * 7 + i) % 50}", f"red {n}", f"fish {i}") for i in range(3)]
            put(writer, *new)
            model |= {r.id: r for r in new}
            writer.delete([f"d{n % 50}"])
            model.pop(f"d{n % 50}", None)
            writer.commit()
        writer.finish()
    create(tmp_path / "fresh", list(model.values()))
    with Snapshot.open(tmp_path / "i") as one, Snapshot.open(tmp_path / "fresh") as other:
        assert all_answers(one) == all_answers(other)
        assert one.n_segments < 4
        assert one.verify() == []
    assert nothing_left_behind(tmp_path / "i")


# --- crashes

Between = Callable[[], None]


def workload(directory: FileDirectory, beside: Beside, between: Between) -> None:
    """Commits, upserts and deletes while merges begin, run and come in."""
    with Writer(directory, MEMORY_BUDGET, beside) as writer:
        for n in range(3):
            put(writer, record(f"d{n}", f"red fish {n}"))
            writer.commit()
        writer.delete(["d1"])
        between()
        put(writer, record("d2", "blue"))
        writer.commit()
        writer.finish()


STATES = [
    *({f"d{n}": f"red fish {n}" for n in range(count)} for count in range(4)),
    {"d0": "red fish 0", "d2": "blue"},
]


@pytest.mark.parametrize(
    ("double", "paced"),
    [(DyingDirectory, False), (DyingDirectory, True), (LitteringDirectory, True)],
)
def test_a_crash_at_every_write_leaves_a_commit(
    tmp_path: Path, double: type[DyingDirectory], paced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "FEW", 1)
    Writer.create(tmp_path / "origin", FIELDS[:1]).close()
    outcomes = []
    for fatal in range(1, 400):
        path = tmp_path / f"i{fatal}"
        shutil.copytree(tmp_path / "origin", path)
        later = Later()
        try:
            workload(double(path, fatal), later if paced else at_once, later.run)
        except Died:
            outcomes.append(STATES.index(contents(path)))
            with Writer.open(path) as writer:  # the next writer is not disturbed
                put(writer, record("new", "x"))
                writer.merge()
            assert contents(path) == STATES[outcomes[-1]] | {"new": "x"}
            assert nothing_left_behind(path)
            shutil.rmtree(path)
        else:
            break
    assert contents(path) == STATES[-1]
    assert segments(path) == 1
    assert len(outcomes) > 40
    assert outcomes == sorted(outcomes)  # no commit is lost that was there an operation before
    assert set(outcomes) >= set(range(len(STATES) - 1))
