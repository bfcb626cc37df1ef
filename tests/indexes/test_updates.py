"""Updates of metadata alone: visible where metadata is, kept by merges, gone with a rollback."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

import index_cases as cases
import numpy as np
import pytest
from index_cases import FIELDS, create, record, rows

from indexes import policy
from indexes.directory import LOCK, FileDirectory
from indexes.errors import Damaged
from indexes.manifest import MANIFEST, read_manifest
from indexes.snapshot import Snapshot
from indexes.types import Record, Update
from indexes.writer import Writer

DOCS = [
    record("a", "red fish", "blue fish", year=1, lang="en"),
    record("b/☃", "one fish two fish", year=2),
    record("c", "old bird", year=3),
]


def change(id: str, **metadata: Any) -> Update:
    return Update(id, metadata, f"hash of {metadata}".encode())


def found(path: Path) -> dict[str, tuple[dict[str, Any], bytes]]:
    """{id: (metadata, hash)}, read in several ways that must agree."""
    with Snapshot.open(path) as snapshot:
        assert snapshot.verify() == []
        ids = list(snapshot.all_ids())
        records = snapshot.records(snapshot.lookup(ids))
        hashes = snapshot.hashes(ids)
        for r in records:
            assert hashes[r.id] == r.hash
            for key, value in r.metadata.items():
                assert r.id in selected(snapshot, f"{key} = {value!r}")
        return {r.id: (r.metadata, r.hash) for r in records}


def selected(snapshot: Snapshot, where: str) -> list[str]:
    chosen = np.concatenate(snapshot.select(where).documents)
    return snapshot.ids(np.flatnonzero(chosen))


@pytest.mark.parametrize("budget", [1, 2**28])
def test_an_update_replaces_metadata_and_nothing_else(tmp_path: Path, budget: int) -> None:
    create(tmp_path / "i", DOCS)
    with Snapshot.open(tmp_path / "i") as snapshot:
        before = cases.all_answers(snapshot)
    with Writer.open(tmp_path / "i", budget) as writer:
        assert writer.update([change("a", year=7), change("nobody", year=8)]) == 1
        assert found(tmp_path / "i")["a"][0] == {"year": 1, "lang": "en"}
        assert writer.commit() == 2
    with Snapshot.open(tmp_path / "i") as snapshot:
        assert cases.all_answers(snapshot) == before
        assert snapshot.verify() == []
        assert selected(snapshot, "year = 1 or exists lang") == []
        assert selected(snapshot, "year = 7 and title ^= 'title'") == ["a"]
        assert selected(snapshot, "not year = 1") == ["a", "b/☃", "c"]
        [read] = snapshot.records(snapshot.lookup(["a"]))
        assert read == Record(
            "a", DOCS[0].title, DOCS[0].text, {"year": 7}, b"hash of {'year': 7}", DOCS[0].passages
        )
        assert snapshot.field_bytes().keys() == {"store", "passages", *(f.name for f in FIELDS)}


@pytest.mark.parametrize("budget", [1, 2**28])
@pytest.mark.parametrize("merged", [False, True])
def test_updates_add_up(tmp_path: Path, budget: int, merged: bool) -> None:
    """Over commits, within one, of buffered documents; the last one holds."""
    create(tmp_path / "i", DOCS)
    with Writer.open(tmp_path / "i", budget) as writer:
        writer.update([change("a", x=1), change("b/☃", x=1)])
        writer.commit()
        writer.update([change("a", x=2)])
        writer.update([change("a", x=3), change("c", x=1), change("c", x=2)])
        new = [record("d", "new", n=1), record("c", "new", n=1)]
        writer.add(new[:1], rows(new[:1]))
        assert writer.update([change("d", x=4)]) == 1
        writer.commit()
        writer.add(new[1:], rows(new[1:]))  # replaced: the update of the old one is over
        writer.delete(["b/☃"])
        assert writer.update([change("b/☃", x=5)]) == 0
        if merged:
            writer.merge()
        else:
            writer.commit()
    expected = {u.id: (u.metadata, u.hash) for u in (change("a", x=3), change("d", x=4))}
    assert found(tmp_path / "i") == expected | {"c": ({"n": 1}, new[1].hash)}
    manifest = read_manifest(FileDirectory(tmp_path / "i"))
    assert {path.name for path in (tmp_path / "i").iterdir()} == (
        manifest.files.keys() | {MANIFEST, LOCK}
    )
    if merged:
        assert not any("store.changes" in entry.parts for entry in manifest.segments)


def test_an_update_then_a_replacement_in_one_commit(tmp_path: Path) -> None:
    create(tmp_path / "i", DOCS)
    with Writer.open(tmp_path / "i") as writer:
        writer.update([change("a", x=1)])
        writer.add(DOCS[:1], rows(DOCS[:1]))
        writer.commit()
    assert found(tmp_path / "i")["a"] == (DOCS[0].metadata, DOCS[0].hash)


def test_updates_roll_back(tmp_path: Path) -> None:
    create(tmp_path / "i", DOCS)
    before = found(tmp_path / "i")
    with Writer.open(tmp_path / "i", 1) as writer:
        writer.update([change("a", x=1)])
        writer.rollback()
        assert writer.commit() == 1
        writer.update([change("a", x=1)])  # and no commit
    assert found(tmp_path / "i") == before


def test_what_cannot_be_stored_changes_nothing(tmp_path: Path) -> None:
    create(tmp_path / "i", DOCS)
    with Writer.open(tmp_path / "i") as writer:
        with pytest.raises(ValueError, match="'c': metadata is not JSON"):
            writer.update([change("a", x=1), change("c", x=float("nan"))])
        assert writer.update([change("\ud800", x=1)]) == 0
        assert writer.commit() == 1


def test_a_snapshot_keeps_its_metadata(tmp_path: Path) -> None:
    create(tmp_path / "i", DOCS)
    with Writer.open(tmp_path / "i") as writer:
        writer.update([change("a", x=1)])
        writer.commit()
        with Snapshot.open(tmp_path / "i") as snapshot:
            writer.update([change("a", x=2)])
            writer.commit()
            writer.merge()
            assert snapshot.records(snapshot.lookup(["a"]))[0].metadata == {"x": 1}
            assert selected(snapshot, "x = 1") == ["a"]


def test_mixed_parts_merge_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several segments, some changed, some with dead documents, become one."""
    monkeypatch.setattr(policy, "MAX_DEAD", 1)
    expected = {}
    with Writer.create(tmp_path / "i", FIELDS) as writer:
        for n in range(5):
            new = [record(f"{n}.{i}", f"red {n} fish {i}", n=n, i=i) for i in range(4)]
            writer.add(new, rows(new))
            expected |= {r.id: (r.metadata, r.hash) for r in new}
            writer.commit()
            if n % 2:
                updates = [change(f"{n}.{i}", m=n * i) for i in (0, 1, 2)]
                writer.update(updates)
                expected |= {u.id: (u.metadata, u.hash) for u in updates}
                writer.delete([f"{n}.1"])
                del expected[f"{n}.1"]
                writer.commit()
        assert found(tmp_path / "i") == expected
        writer.merge()
    assert found(tmp_path / "i") == expected
    with Snapshot.open(tmp_path / "i") as snapshot:
        assert snapshot.n_segments == 1


def test_a_changes_file_is_a_plain_sqlite_file(tmp_path: Path) -> None:
    """FORMAT.md promises this table to anybody with sqlite3."""
    create(tmp_path / "i", DOCS)
    with Writer.open(tmp_path / "i") as writer:
        writer.update([change("b/☃", x=1)])
        writer.commit()
    [entry] = read_manifest(FileDirectory(tmp_path / "i")).segments
    with sqlite3.connect(tmp_path / "i" / entry.parts["store.changes"]) as connection:
        found_rows = connection.execute("SELECT * FROM documents").fetchall()
    assert found_rows == [(1, "b/☃", "title of b/☃", '{"x":1}', b"hash of {'x': 1}")]


def test_changes_of_another_index_are_found(tmp_path: Path) -> None:
    """Right size, right checksum, wrong content: `verify` says so."""
    from indexes.documents import Documents

    for name, ids in (("i", "abc"), ("j", "axc")):
        create(tmp_path / name, [record(id, "red") for id in ids])
        with Writer.open(tmp_path / name) as writer:
            writer.update([change(ids[1], x=1)])
            writer.commit()
    [one] = read_manifest(FileDirectory(tmp_path / "i")).segments
    [other] = read_manifest(FileDirectory(tmp_path / "j")).segments
    shutil.copy(tmp_path / "j" / other.parts["store.changes"], tmp_path / "wrong")
    documents = Documents(tmp_path / "i" / one.parts["store"], 3, tmp_path / "wrong")
    assert any("changes what" in problem for problem in documents.problems())


def test_changed_bytes_are_found_and_never_crash(tmp_path: Path) -> None:
    path = tmp_path / "i"
    create(path, DOCS)
    with Writer.open(path) as writer:
        writer.update([change("a", x=1), change("c", x="y" * 5000)])
        writer.commit()
    [entry] = read_manifest(FileDirectory(path)).segments
    file = path / entry.parts["store.changes"]
    good = file.read_bytes()
    found: list[str] = []
    places = range(0, len(good), max(13, len(good) // 150))
    for place in places:
        file.write_bytes(good[:place] + bytes([good[place] ^ 0xA5]) + good[place + 1 :])
        try:
            snapshot = Snapshot.open(path)
        except Damaged as error:
            found.append(str(error))
            continue
        with snapshot:
            found.append(snapshot.verify()[0])
            for ask in (
                lambda s=snapshot: s.select("x = 1"),
                lambda s=snapshot: s.records(s.lookup(["a", "c"])),
                lambda s=snapshot: s.hashes(["a", "c"]),
            ):
                with suppress(Damaged):
                    ask()
    assert len(found) == len(places)
    assert all(str(file) in problem for problem in found)
