"""Bits flipped and files cut anywhere in an index: named by `verify`, refused or answered right.

Hundreds here; thousands by `flipping.py`. What a flipped weight or letter says is believed until
somebody verifies: those are the "other answers", which are answers all the same.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from flipping import Change, build, changes, outcome, tried

from indexes.directory import FileDirectory
from indexes.errors import Damaged
from indexes.manifest import MANIFEST, read_manifest
from indexes.snapshot import Snapshot
from indexes.writer import Writer
from searchlib import Settings


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory, tiny_settings: Settings) -> Path:
    """An index with every kind of file, to be damaged and mended again."""
    path = tmp_path_factory.mktemp("flips") / "index"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("indexes.inversion.DENSE_FROM", 1)
        build(path, tiny_settings, 30)
    return path


@pytest.mark.parametrize("signed", [False, True], ids=["by chance", "by design"])
@pytest.mark.parametrize("way", ["kernels", "numpy"])
def test_whatever_is_changed(
    damaged: Path, monkeypatch: pytest.MonkeyPatch, signed: bool, way: str
) -> None:
    if way == "numpy":
        monkeypatch.setattr("indexes.postings.native", lambda: None)
        monkeypatch.setattr("indexes.vectors.kernel", lambda: None)
    times = 160 if way == "kernels" else 60
    found = tried(damaged, changes(damaged, times, seed=signed), signed)
    assert sum(found.values()) == times
    assert found["refused at opening"]
    assert found["right answers"]


def test_the_trial_notices_what_is_not_allowed(
    damaged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = next(path.name for path in damaged.glob("*.store"))
    monkeypatch.setattr("searchlib.engine.Engine.verify", lambda self: [])
    with pytest.raises(AssertionError, match="not noticed"):
        outcome(damaged, Change(store, 70, 0), [], signed=False)


def test_a_merge_does_not_make_damage_look_sound(tmp_path: Path) -> None:
    """One letter of a text is another: a merge would give the changed text a new checksum."""
    path = tmp_path / "index"
    build(path, Settings(dense_model=None, sparse_model=None), 9)
    store = sorted(path.glob("*.store"))[0]
    good = store.read_bytes()
    store.write_bytes(good.replace(b"blues", b"blvet", 1))
    assert store.read_bytes() != good
    with Writer.open(path) as writer, pytest.raises(Damaged, match=store.name):
        writer.merge()
    store.write_bytes(good)
    with Writer.open(path) as writer:
        writer.merge()
    with Snapshot.open(path) as snapshot:
        assert snapshot.verify() == []


def test_each_file_is_changed() -> None:
    """The trial changes each kind of file there is."""
    kinds = Counter(name.partition(".")[2] for name in read_manifest(FileDirectory(GOLDEN)).files)
    tried_ones = Counter(change.file.partition(".")[2] for change in changes(GOLDEN, 60, 0))
    assert tried_ones.keys() == kinds.keys() | {MANIFEST.partition(".")[2]}


GOLDEN = Path(__file__).resolve().parents[1] / "indexes" / "golden" / "v2"
