"""An index follows a folder: equal to a fresh index of its files, whatever happened in between."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexes.writer import Writer
from searchlib import Document, Engine, Settings
from searchlib.claims import FILE
from searchlib.errors import BadDocument, BadInput, StorageFailed
from searchlib.following import FolderSync
from searchlib.formats.options import ReadOptions
from searchlib.sync import SyncReport

WORDS_ONLY = Settings(dense_model=None, sparse_model=None)
SKIP = ReadOptions(skip_bad=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of four documents in three files."""
    notes = tmp_path / "notes"
    (notes / "deep").mkdir(parents=True)
    (notes / "a.txt").write_text("The cat sleeps on the roof.")
    (notes / "deep" / "b.md").write_text("# Bread\n\nYeast makes the dough rise.")
    (notes / "c.jsonl").write_text('{"id": "c1", "text": "moon"}\n{"id": "c2", "text": "sun"}\n')
    return notes


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine.create(tmp_path / "i", WORDS_ONLY) as made:
        yield made


def contents(engine: Engine) -> dict[str, str]:
    ids = list(engine.snapshot.all_ids())
    records = engine.snapshot.records(engine.snapshot.lookup(ids))
    return {record.id: record.text for record in records}


def counts(report: SyncReport) -> tuple[int, ...]:
    """Added, updated, unchanged, skipped, removed."""
    return (*astuple(report)[:4], report.removed)


def files(path: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in path.iterdir() if p.name != "write.lock"}


def test_what_changed_is_indexed_and_what_vanished_is_removed(engine: Engine, folder: Path) -> None:
    engine.add([Document("mine", "not of the folder")])
    assert counts(engine.sync(folder)) == (4, 0, 0, 0, 0)
    assert contents(engine).keys() == {"mine", "a.txt", "deep/b.md", "c1", "c2"}
    assert counts(engine.sync(folder)) == (0, 0, 4, 0, 0)
    (folder / "a.txt").write_text("The dog sleeps.")
    (folder / "deep" / "b.md").unlink()
    (folder / "c.jsonl").write_text('{"id": "c1", "text": "moon"}\n{"id": "c3", "text": "star"}\n')
    (folder / "d.txt").write_text("new")
    expected = (2, 1, 1, 0, 2)
    assert counts(engine.sync(folder, dry_run=True)) == expected
    assert counts(engine.sync(folder)) == expected
    assert contents(engine) == {
        "mine": "not of the folder", "a.txt": "The dog sleeps.", "c1": "moon", "c3": "star",
        "d.txt": "new",
    }  # fmt: skip
    assert engine.verify() == []


def test_without_changes_nothing_is_written(engine: Engine, folder: Path) -> None:
    engine.sync(folder)
    before = files(engine.path)
    for _ in range(2):
        engine.sync(folder)
    engine.sync(folder, dry_run=True)
    assert files(engine.path) == before


@pytest.fixture
def cut_short(engine: Engine, folder: Path) -> Path:
    """The journal in the index's folder after a sync that was killed while it wrote claims."""
    engine.sync(folder)
    database, journal = engine.path / FILE, engine.path / f"{FILE}-journal"
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as writing:
        writing.execute("PRAGMA cache_size = 1")  # pages are written before the end
        writing.execute("BEGIN")
        writing.execute("UPDATE claims SET hash = zeroblob(20000)")
        writing.execute("UPDATE files SET digest = zeroblob(20000)")
        left = database.read_bytes(), journal.read_bytes()
    database.write_bytes(left[0])
    journal.write_bytes(left[1])
    return journal


def test_a_dry_run_after_a_sync_that_was_killed(
    engine: Engine, folder: Path, cut_short: Path
) -> None:
    assert counts(engine.sync(folder, dry_run=True)) == (0, 0, 4, 0, 0)
    assert not cut_short.exists()


def test_a_dry_run_that_may_not_undo_a_sync(
    engine: Engine, folder: Path, cut_short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where SQLite can open the file for reading only."""
    real = sqlite3.connect

    def read_only(file: str, *arguments: Any, **options: Any) -> sqlite3.Connection:
        return real(file.replace("mode=rw", "mode=ro"), *arguments, **options)

    monkeypatch.setattr(sqlite3, "connect", read_only)
    with pytest.raises(StorageFailed, match=r"sync was cut short .* run sync where"):
        engine.sync(folder, dry_run=True)
    assert cut_short.exists()


def test_a_dry_run_writes_nothing(engine: Engine, folder: Path) -> None:
    before = files(engine.path)
    assert counts(engine.sync(folder, dry_run=True)) == (4, 0, 0, 0, 0)
    assert files(engine.path) == before


def test_unchanged_files_are_not_parsed_again(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.sync(folder)
    os.utime(folder / "a.txt")  # touched, but the same

    def forbidden(*arguments: object) -> object:
        raise AssertionError("parsed again")

    monkeypatch.setattr("searchlib.following.read_member", forbidden)
    assert engine.sync(folder).unchanged == 4


def test_only_what_came_from_the_folder_is_ever_removed(engine: Engine, folder: Path) -> None:
    """Not what was added since under the same id, nor what was never synced."""
    engine.add([Document("old", "older than any sync")])
    engine.sync(folder)
    engine.add([Document("c2", "replaced by hand")])
    engine.delete(["c1"])
    (folder / "c.jsonl").unlink()
    assert counts(engine.sync(folder)) == (0, 0, 2, 0, 0)
    assert contents(engine).keys() == {"old", "a.txt", "deep/b.md", "c2"}


def test_what_was_updated_is_still_of_its_folder(engine: Engine, folder: Path) -> None:
    """A file that vanishes takes its document along, and so does a vanished line."""
    engine.sync(folder)
    engine.update({id: {"reviewed": True} for id in contents(engine)})
    (folder / "deep" / "b.md").unlink()
    (folder / "c.jsonl").write_text('{"id": "c1", "text": "moon"}\n')
    expected = (0, 2, 0, 0, 2)
    assert counts(engine.sync(folder, dry_run=True)) == expected
    assert contents(engine).keys() == {"a.txt", "deep/b.md", "c1", "c2"}
    assert counts(engine.sync(folder)) == expected
    assert contents(engine).keys() == {"a.txt", "c1"}
    assert counts(engine.sync(folder)) == (0, 0, 2, 0, 0)


def test_another_title_makes_another_document(engine: Engine, folder: Path) -> None:
    engine.sync(folder)
    engine.add([Document("c1", "moon", title="Mine")])
    (folder / "c.jsonl").unlink()
    for dry_run in (True, False):
        assert engine.sync(folder, dry_run=dry_run).removed == 1
    assert contents(engine).keys() == {"a.txt", "deep/b.md", "c1"}


def test_what_cannot_be_stored_as_it_is_goes_with_its_file(engine: Engine, folder: Path) -> None:
    odd = '{"id": "odd", "title": "\\ud800", "text": "a \\udfff \\u0000 \u2603", "n": 1}\n'
    (folder / "z.jsonl").write_text(odd)
    engine.sync(folder)
    engine.update({"odd": {"n": 2}})
    (folder / "z.jsonl").unlink()
    assert engine.sync(folder).removed == 1


def test_what_was_deleted_or_replaced_by_hand_comes_back(engine: Engine, folder: Path) -> None:
    engine.sync(folder)
    engine.delete(["a.txt"])
    engine.add([Document("c1", "other")])
    assert counts(engine.sync(folder)) == (1, 1, 2, 0, 0)
    assert contents(engine)["c1"] == "moon"


def test_documents_that_were_added_before_are_taken_over(engine: Engine, folder: Path) -> None:
    engine.add([Document("c1", "moon"), Document("c2", "something else")])
    assert counts(engine.sync(folder)) == (2, 1, 1, 0, 0)
    (folder / "c.jsonl").unlink()
    assert engine.sync(folder).removed == 2


def test_a_folder_that_is_gone_or_empty_removes_nothing(engine: Engine, folder: Path) -> None:
    engine.sync(folder)
    before = contents(engine)
    shutil.move(folder, folder.with_name("elsewhere"))
    with pytest.raises(BadInput, match=r"no such folder: .*notes"):
        engine.sync(folder)
    folder.mkdir()
    with pytest.raises(BadInput, match="holds no documents now, but 4 of the index came from it"):
        engine.sync(folder)
    with pytest.raises(BadInput, match=r"no such folder: .*\(is a file\)"):
        engine.sync(Path(__file__))
    with pytest.raises(BadInput, match="holds no documents now"):
        engine.sync(folder, dry_run=True)
    assert contents(engine) == before
    assert engine.sync(folder, dry_run=True, allow_empty=True).removed == 4
    assert engine.sync(folder, allow_empty=True).removed == 4
    assert contents(engine) == {}


def test_a_folder_that_is_gone_for_good(engine: Engine, folder: Path, tmp_path: Path) -> None:
    """Its documents go where that is asked for; of no other folder can it be asked."""
    engine.add([Document("mine", "stays")])
    engine.sync(folder)
    shutil.rmtree(folder)
    with pytest.raises(BadInput, match=r"no such folder: .*notes; 4 documents came from it: if"):
        engine.sync(folder)
    with pytest.raises(BadInput, match=r"no such folder: .*other"):
        engine.sync(tmp_path / "other", allow_empty=True)
    assert engine.sync(folder, dry_run=True, allow_empty=True).removed == 4
    assert engine.sync(folder, allow_empty=True).removed == 4
    assert contents(engine).keys() == {"mine"}


def test_an_empty_folder_that_never_held_anything(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert counts(engine.sync(tmp_path / "empty")) == (0, 0, 0, 0, 0)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_the_system_does_not_let_read_removes_nothing(engine: Engine, folder: Path) -> None:
    engine.sync(folder)
    (folder / "deep").chmod(0)
    try:
        with pytest.raises(BadInput, match="cannot read"):
            engine.sync(folder)
    finally:
        (folder / "deep").chmod(0o755)
    assert len(contents(engine)) == 4


def test_a_folder_within_that_cannot_be_listed_keeps_its_documents(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.sync(folder)
    (folder / "a.txt").unlink()
    listed = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    told: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refuse)
        with pytest.raises(BadInput, match=r"cannot read .*deep: Permission denied"):
            engine.sync(folder)
        assert engine.sync(folder, SKIP, dry_run=True).removed == 1
        report = engine.sync(folder, SKIP, on_bad=told.append)
        assert (report.removed, report.skipped) == (1, 1)
        assert told == [f"cannot read {folder.resolve()}/deep: Permission denied"]
        assert contents(engine).keys() == {"deep/b.md", "c1", "c2"}
    assert counts(engine.sync(folder)) == (0, 0, 3, 0, 0)


def unreadable(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """As if the system refused to open a file."""
    original = Path.open

    def refuse(self: Path, *arguments: object, **options: object) -> object:
        if self.name == name:
            raise PermissionError(13, "Permission denied", str(self))
        return original(self, *arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refuse)


def test_a_file_that_cannot_be_read_keeps_its_documents(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.sync(folder)
    (folder / "a.txt").unlink()
    told: list[str] = []
    with monkeypatch.context() as patch:
        unreadable(patch, "c.jsonl")
        with pytest.raises(BadInput, match=r"cannot read .*c\.jsonl: Permission denied"):
            engine.sync(folder)
        assert len(contents(engine)) == 4
        assert counts(engine.sync(folder, SKIP, on_bad=told.append)) == (0, 0, 1, 1, 1)
        assert len(told) == 1
    assert contents(engine).keys() == {"deep/b.md", "c1", "c2"}


def test_a_file_with_a_bad_line_keeps_its_documents_and_is_read_again(
    engine: Engine, folder: Path
) -> None:
    engine.sync(folder)
    (folder / "c.jsonl").write_text('{"id": "c2", "text": "sun!"}\nnot json\n')
    with pytest.raises(BadInput, match=r"c\.jsonl:2"):
        engine.sync(folder)
    for expected in ((0, 1, 2, 1, 0), (0, 0, 3, 1, 0)):
        assert counts(engine.sync(folder, SKIP)) == expected
        assert contents(engine)["c1"] == "moon"
    (folder / "c.jsonl").write_text('{"id": "c2", "text": "sun!"}\n')
    assert counts(engine.sync(folder)) == (0, 0, 3, 0, 1)


@pytest.mark.parametrize("bad", ['"n": 1e999', '"n": ' + "[" * 150 + "]" * 150])
def test_a_document_that_cannot_be_stored_is_a_bad_line(
    engine: Engine, folder: Path, bad: str
) -> None:
    engine.sync(folder)
    (folder / "c.jsonl").write_text(f'{{"id": "c1", "text": "moon", {bad}}}\n')
    for dry_run in (True, False):
        with pytest.raises(BadDocument, match=r"c\.jsonl:1: "):
            engine.sync(folder, dry_run=dry_run)
        told: list[str] = []
        report = engine.sync(folder, SKIP, dry_run=dry_run, on_bad=told.append)
        assert counts(report) == (0, 0, 2, 1, 0)
        assert len(told) == 1
    assert contents(engine)["c1"] == "moon"


def test_an_id_in_two_files_is_refused_whichever_is_older(engine: Engine, folder: Path) -> None:
    engine.sync(folder)
    for name in ("0.jsonl", "z.jsonl"):
        (folder / name).write_text('{"id": "c1", "text": "twice"}\n')
        with pytest.raises(BadInput, match=r"id 'c1' was already given in c\.jsonl"):
            engine.sync(folder)
        assert engine.sync(folder, SKIP).skipped == 1
        assert contents(engine)["c1"] == "moon"
        (folder / name).unlink()
    assert counts(engine.sync(folder)) == (0, 0, 4, 0, 0)


def test_two_folders_do_not_fight_over_an_id(engine: Engine, folder: Path, tmp_path: Path) -> None:
    engine.sync(folder)
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.txt").write_text("Another cat.")
    (other / "e.txt").write_text("A fifth one.")
    with pytest.raises(BadInput, match=r"'a.txt' is that of a document of .*notes, synced before"):
        engine.sync(other)
    assert counts(engine.sync(other, SKIP)) == (1, 0, 0, 1, 0)
    assert contents(engine)["a.txt"].startswith("The cat")
    (other / "e.txt").unlink()
    assert engine.sync(folder).removed == 0
    assert counts(engine.sync(other, SKIP)) == (0, 0, 0, 1, 1)
    assert len(contents(engine)) == 4


def test_a_folder_that_was_moved_is_the_same_folder(engine: Engine, folder: Path) -> None:
    engine.sync(folder)
    moved = folder.with_name("moved")
    shutil.move(folder, moved)
    (moved / "a.txt").write_text("The cat woke up.")
    assert counts(engine.sync(moved)) == (0, 1, 3, 0, 0)
    (moved / "c.jsonl").unlink()
    assert engine.sync(moved).removed == 2


def test_moved_files_are_not_encoded_again(
    tmp_path: Path, folder: Path, tiny_settings: Settings
) -> None:
    with Engine.create(tmp_path / "models", tiny_settings) as engine:
        first = engine.sync(folder)
        assert (first.encoded, first.known) == (4, 0)
        again = engine.sync(folder)
        assert (again.encoded, again.known) == (0, 4)
        shutil.move(folder / "a.txt", folder / "deep" / "a.txt")
        report = engine.sync(folder)
        assert counts(report) == (1, 0, 3, 0, 1)
        assert (report.encoded, report.known) == (0, 4)
        assert engine.verify() == []


def test_other_options_read_everything_again(engine: Engine, folder: Path) -> None:
    (folder / "c.jsonl").write_text('{"id": "c1", "text": "moon", "body": "Luna"}\n')
    engine.sync(folder)
    assert counts(engine.sync(folder, ReadOptions(text=("body",)))) == (0, 1, 2, 0, 0)
    assert contents(engine)["c1"] == "Luna"


def test_odd_names_and_ids(engine: Engine, folder: Path) -> None:
    (folder / os.fsdecode(b"caf\xe9.txt")).write_text("Latin-1 in a name.")
    (folder / "z.jsonl").write_text('{"id": "\\ud800 \\u0000 \u2603", "text": "odd"}\n')
    assert engine.sync(folder).added == 6
    assert counts(engine.sync(folder)) == (0, 0, 6, 0, 0)
    (folder / os.fsdecode(b"caf\xe9.txt")).unlink()
    (folder / "z.jsonl").unlink()
    assert engine.sync(folder).removed == 2


def test_a_collection_of_one_file(engine: Engine, tmp_path: Path) -> None:
    beir = tmp_path / "collection"
    beir.mkdir()
    (beir / "corpus.jsonl").write_text('{"_id": "1", "title": "t", "text": "x"}\n')
    (beir / "queries.jsonl").write_text('{"_id": "q", "text": "x"}\n')
    assert counts(engine.sync(beir)) == (1, 0, 0, 0, 0)


def test_a_damaged_memory_is_told_and_can_be_removed(engine: Engine, folder: Path) -> None:
    engine.sync(folder)
    (engine.path / "sync.db").write_bytes(b"years of work" * 100)
    with pytest.raises(BadInput, match=r"sync\.db: cannot be used .* remove it") as caught:
        engine.sync(folder)
    assert "\n" not in str(caught.value)
    (engine.path / "sync.db").unlink()
    assert counts(engine.sync(folder)) == (0, 0, 4, 0, 0)
    (folder / "a.txt").unlink()
    assert engine.sync(folder).removed == 1


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["write", "remove", "move", "sync", "crash", "delete", "update"]),
        st.sampled_from(["a.txt", "b.txt", "d/a.txt"]),
        st.integers(0, 2),
    ),
    max_size=12,
)


class Died(BaseException):
    """The power went out."""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(STEPS, st.integers(1, 12))
def test_any_history_ends_in_what_the_folder_holds(tmp_path_factory, steps, fatal):
    """Files come, change, move and go; syncs die at any commit; the last one puts all right."""
    root = tmp_path_factory.mktemp("history")
    folder = root / "notes"
    (folder / "d").mkdir(parents=True)
    (folder / "always.txt").write_text("here")
    with Engine.create(root / "i", WORDS_ONLY) as engine:
        engine.add([Document("mine", "stays")])
        for what, name, number in steps:
            path = folder / name
            if what == "write":
                path.write_text(f"text {number}")
            elif what == "remove":
                path.unlink(missing_ok=True)
            elif what == "move" and path.exists():
                path.rename(folder / "moved.txt")
            elif what == "delete":
                engine.delete([name])
            elif what == "update":
                engine.update({name: {"number": number}})
            elif what == "sync":
                engine.sync(folder)
            elif what == "crash":
                with pytest.MonkeyPatch.context() as patch:
                    _die_after(patch, fatal)
                    with pytest.raises(Died):
                        _again_and_again(engine, folder)
                engine.refresh()
        report = engine.sync(folder)
        expected = {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*.txt")}
        assert contents(engine) == {"mine": "stays", **expected}
        assert report.documents == len(expected)
        assert counts(engine.sync(folder)) == (0, 0, len(expected), 0, 0)


def _again_and_again(engine: Engine, folder: Path) -> None:
    for _ in range(20):
        engine.sync(folder)


def _die_after(patch: pytest.MonkeyPatch, fatal: int) -> None:
    """Die at the `fatal`-th step that writes something, or that could."""
    left = [fatal]
    for target in (
        "indexes.writer.Writer.commit", "searchlib.claims.Claims.commit",
        "searchlib.claims.Claims.claim", "searchlib.claims.Claims.withdraw",
        "indexes.directory.FileDirectory.replace", "searchlib.following.FolderSync.__init__",
    ):  # fmt: skip
        module, _, name = target.rpartition(".")
        original = _resolve(target)

        def step(*arguments: object, _original: object = original, **options: object) -> object:
            left[0] -= 1
            if left[0] <= 0:
                raise Died
            return _original(*arguments, **options)  # type: ignore[operator]

        patch.setattr(_resolve(module), name, step)


def _resolve(target: str) -> object:
    from pkgutil import resolve_name

    return resolve_name(target)


def test_what_was_committed_before_a_crash_is_known_to_be_the_folders(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Claims are kept before the commit that they are about, so none is missed."""
    original = Writer.commit

    def commit_and_die(self: Writer) -> int:
        original(self)
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "commit", commit_and_die)
        with pytest.raises(Died):
            engine.sync(folder)
    engine.refresh()
    assert len(contents(engine)) == 4
    (folder / "a.txt").unlink()
    assert counts(engine.sync(folder)) == (0, 0, 3, 0, 1)


@pytest.mark.parametrize("ends", itertools.product(("cut", "late", "whole"), repeat=3))
def test_a_file_that_changed_before_a_crash_and_is_gone_after_it(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch, ends: tuple[str, ...]
) -> None:
    """Its document goes, whichever of its versions the index holds: claims were made before the
    commit that they are about, and the syncs died before ("cut") or after ("late") that."""
    original = Writer.commit

    def cut(self: Writer) -> int:
        raise Died

    def late(self: Writer) -> int:
        original(self)
        raise Died

    engine.add([Document("mine", "stays")])
    engine.sync(folder)
    for number, end in enumerate(ends):
        (folder / "a.txt").write_text(f"version {number}")
        with monkeypatch.context() as patch:
            patch.setattr(Writer, "commit", {"cut": cut, "late": late, "whole": original}[end])
            with contextlib.nullcontext() if end == "whole" else pytest.raises(Died):
                engine.sync(folder)
        engine.refresh()
    held = [f"version {number}" for number, end in enumerate(ends) if end != "cut"]
    assert contents(engine)["a.txt"] == (["The cat sleeps on the roof.", *held])[-1]
    (folder / "a.txt").unlink()
    assert engine.sync(folder, dry_run=True).removed == 1
    assert counts(engine.sync(folder)) == (0, 0, 3, 0, 1)
    assert contents(engine).keys() == {"mine", "deep/b.md", "c1", "c2"}


def cut_off(engine: Engine, folder: Path, text: str) -> None:
    """The file has another text, and a sync that dies between claims and index."""
    (folder / "a.txt").write_text(text)

    def die(self: Writer) -> int:
        raise Died

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Writer, "commit", die)
        with pytest.raises(Died):
            engine.sync(folder)


def test_a_document_that_is_not_there_after_a_crash(engine: Engine, folder: Path) -> None:
    """It was deleted, or has never been there: its file is read, and no claim is in the way."""
    engine.sync(folder)
    cut_off(engine, folder, "one")
    engine.delete(["a.txt"])
    assert counts(engine.sync(folder)) == (1, 0, 3, 0, 0)
    engine.delete(["a.txt"])
    (folder / "a.txt").unlink()
    engine.sync(folder)
    cut_off(engine, folder, "two")
    cut_off(engine, folder, "three")
    assert counts(engine.sync(folder)) == (1, 0, 3, 0, 0)
    assert contents(engine)["a.txt"] == "three"


def test_a_folder_that_was_moved_between_crashes(engine: Engine, folder: Path) -> None:
    """What the index holds is known though claims of two folders were about to replace it."""
    engine.sync(folder)
    cut_off(engine, folder, "one")
    moved = folder.rename(folder.parent / "moved")
    cut_off(engine, moved, "one")
    (moved / "a.txt").unlink()
    assert counts(engine.sync(moved)) == (0, 0, 3, 0, 1)
    assert contents(engine).keys() == {"deep/b.md", "c1", "c2"}


def test_a_folder_of_many_documents_is_walked_once(engine: Engine, tmp_path: Path) -> None:
    """A page of claims is found, not sorted out of all of them."""
    from searchlib.claims import Claims

    with Claims(engine.path) as claims:
        asked: list[str] = []
        claims._db.set_trace_callback(asked.append)
        list(claims.of_folder(b"notes"))
        claims._db.set_trace_callback(None)
        [[*_, plan]] = claims._db.execute(f"EXPLAIN QUERY PLAN {asked[0]}").fetchall()
        assert "SEARCH claims USING INDEX claims_of_folders (folder=? AND id>?)" in plan


def test_the_run_is_the_unit_of_what_was_seen(engine: Engine, folder: Path) -> None:
    from searchlib.claims import Claims

    engine.sync(folder)
    with Claims(engine.path) as claims:
        run = FolderSync(folder, ReadOptions(), claims, engine.snapshot, lambda problem: None)
        assert list(run.documents()) == []
        assert [claim for some in run.vanished() for claim in some] == []
        assert (run.unchanged, run.vanished_files()) == (4, [])
