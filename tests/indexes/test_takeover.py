"""One index takes the place of another: in one commit, or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import index_cases as cases
import numpy as np
import pytest
from index_cases import FIELDS, QuickDirectory, create, record
from test_writer import Died, DyingDirectory, LitteringDirectory

from indexes.directory import LOCK, FileDirectory
from indexes.errors import Damaged, NoIndex, StorageFailed
from indexes.manifest import MANIFEST, VectorField, read_manifest
from indexes.snapshot import Snapshot
from indexes.writer import Writer

OLD = [record("a", "red fish"), record("b", "old bird", "two fish")]
NEW_FIELDS = [*FIELDS[:3], VectorField("dense", 2, "passage", "exact", {"name": "others"})]
NEW = [record("a", "red fish"), record("c", "blue bird"), record("d", "one", "two")]


def make_successor(path: Path) -> None:
    """Two segments, one with a dead document, under numbers that the index has used too."""
    with Writer.create(QuickDirectory(path), NEW_FIELDS, {"x": "new"}) as writer:
        for part in (NEW[:2], [NEW[2], record("gone", "x")]):
            rows = cases.rows(part)
            writer.add(part, {**rows, "dense": np.ascontiguousarray(rows["dense"][:, :2])})
            writer.commit()
        writer.delete(["gone"])
        writer.commit()


@pytest.fixture
def successor(tmp_path: Path) -> Path:
    make_successor(tmp_path / "successor")
    return tmp_path / "successor"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    create(tmp_path / "old", OLD)
    return tmp_path / "old"


def texts(path: Path) -> dict[str, str]:
    with Snapshot.open(path) as snapshot:
        assert snapshot.verify() == []
        cases.answers(snapshot, "bm25", cases.query("fish"))
        documents = snapshot.lookup(list(snapshot.all_ids()))
        return {r.id: r.text for r in snapshot.records(documents)}


OLD_TEXTS = {r.id: r.text for r in OLD}
NEW_TEXTS = {r.id: r.text for r in NEW}


def test_everything_is_the_successors(old: Path, successor: Path) -> None:
    with Snapshot.open(old) as before:
        with Writer.open(old) as writer:
            writer.add([record("z", "lost")], cases.rows([record("z", "lost")]))
            assert writer.take_over(successor) == 2
            assert writer.settings == {"x": "new"}
            assert list(writer.fields.values()) == NEW_FIELDS
        assert list(before.all_ids()) == ["a", "b"]  # who reads the old one still does
        assert before.verify() != []  # though its files have no names any more
        assert cases.answers(before, "bm25", cases.query("fish")).keys() == {"a", "b"}
    assert texts(old) == texts(successor) == NEW_TEXTS
    with Snapshot.open(old) as after, Snapshot.open(successor) as model:
        assert list(after.fields.values()) == NEW_FIELDS
        for field in ("bm25", "sparse"):
            asked = cases.query("fish", "bird")
            assert cases.answers(after, field, asked) == cases.answers(model, field, asked)
    shutil.rmtree(successor)
    assert texts(old) == NEW_TEXTS


def test_it_can_be_written_to_afterwards_and_taken_over_again(old: Path, successor: Path) -> None:
    names: set[str] = set()
    for round in range(3):
        with Writer.open(old) as writer:
            writer.take_over(successor)
            part = [record(f"later {round}", "new fish")]
            rows = cases.rows(part)
            writer.add(part, {**rows, "dense": np.ascontiguousarray(rows["dense"][:, :2])})
            writer.delete(["c"])
            writer.commit()
        files = set(read_manifest(FileDirectory(old)).files)
        assert not files & names  # no name ever means two contents
        names |= files
        expected = NEW_TEXTS.keys() - {"c"} | {f"later {round}"}
        assert texts(old).keys() == expected
    assert {path.name for path in old.iterdir()} == files | {MANIFEST, LOCK}


def test_file_systems_without_hard_links(
    old: Path, successor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with Writer.open(old) as writer:
        writer.take_over(successor)
    assert texts(old) == NEW_TEXTS


def test_what_cannot_take_over_changes_nothing(old: Path, successor: Path, tmp_path: Path) -> None:
    with Writer.open(old) as writer:
        with pytest.raises(NoIndex):
            writer.take_over(tmp_path / "nothing")
        victim = next(successor.glob("*.store"))
        victim.write_bytes(b"x")
        with pytest.raises(Damaged, match="has 1 bytes"):
            writer.take_over(successor)
        victim.unlink()
        with pytest.raises(Damaged, match="is missing"):
            writer.take_over(successor)
        writer.delete(["a"])
        writer.commit()
    assert texts(old).keys() == {"b"}


class Dying(DyingDirectory):
    """Adopting is an operation too."""

    def adopt(self, name: str, source: Path) -> None:
        self.step()
        super().adopt(name, source)
        self.unsynced.add(name)
        self.step()


class Littering(LitteringDirectory):
    """The dead process leaves half a copy."""

    def adopt(self, name: str, source: Path) -> None:
        self.operations += 1
        if self.operations >= self.fatal:
            (self.root / name).write_bytes(source.read_bytes()[:9])
            raise Died
        FileDirectory.adopt(self, name, source)


@pytest.mark.parametrize("double", [Dying, Littering])
def test_a_crash_leaves_the_old_index_or_the_new(
    tmp_path: Path, old: Path, successor: Path, double: type[DyingDirectory]
) -> None:
    outcomes = []
    for fatal in range(1, 200):
        path = tmp_path / f"i{fatal}"
        shutil.copytree(old, path)
        try:
            with Writer.open(double(path, fatal)) as writer:
                writer.take_over(successor)
        except Died:
            found = texts(path)
            assert found in (OLD_TEXTS, NEW_TEXTS)
            outcomes.append(found == NEW_TEXTS)
            with Writer.open(path) as writer:  # the next writer is not disturbed
                writer.take_over(successor)
            assert texts(path) == NEW_TEXTS
            named = read_manifest(FileDirectory(path)).files.keys()
            assert {entry.name for entry in path.iterdir()} == named | {MANIFEST, LOCK}
        else:
            break
        shutil.rmtree(path)
    assert len(outcomes) > 10
    assert not outcomes[0]
    assert outcomes == sorted(outcomes)
    assert texts(successor) == NEW_TEXTS  # which nothing has touched


def test_a_full_disk_leaves_the_old_index(
    old: Path, successor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    with Writer.open(old) as writer, monkeypatch.context() as patch:
        patch.setattr(os, "link", full)
        patch.setattr(FileDirectory, "create", full)
        with pytest.raises(StorageFailed, match="cannot write"):
            writer.take_over(successor)
    assert texts(old) == OLD_TEXTS
