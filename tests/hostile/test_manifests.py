"""Indexes of people who mean harm: manifests with right checksums that lie, links, pipes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flipping import build, sign
from fuzzing import OURS, fuzz, one_line, spoiled, time_limit
from hypothesis import given
from hypothesis import strategies as st

from indexes.directory import LOCK, TEMPORARY
from indexes.errors import Damaged, SearchlibError
from indexes.manifest import MANIFEST
from indexes.snapshot import Snapshot
from indexes.writer import Writer
from searchlib import Document, Engine, Settings

WORDS_ONLY = Settings(dense_model=None, sparse_model=None)
NAMES = [
    "../secret", "/etc/passwd", "..", ".", "", "a/b", "a\\b", "s000001\0", "\0", "manifest.json",
    "write.lock", "s000001.bm25\n", "S000001.bm25", "s1.bm25", "con", "s000001.bm25/../x", "~",
]  # fmt: skip
ODD = st.sampled_from(
    [
        None,
        True,
        -1,
        0,
        1,
        7,
        2**31,
        2**63,
        10**400,
        0.5,
        1e308,
        "",
        "x",
        "bm25",
        [],
        {},
        [[]],
        "\0",
    ]
)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("manifests") / "index"
    build(path, WORDS_ONLY, 9)
    return path


@pytest.fixture
def copy(index: Path, tmp_path: Path) -> Path:
    return shutil.copytree(index, tmp_path / "copy")


def named(path: Path, part: str) -> str:
    """The file of a part of the first segment."""
    manifest = json.loads((path / MANIFEST).read_bytes())
    return str(manifest["segments"][0]["parts"][part])


def use(path: Path) -> str:
    """Opens, asks, verifies; the error of ours, if there is one."""
    with time_limit():
        try:
            with Engine.open(path) as engine:
                engine.info()
                engine.search("cat", 3, where="year > 2000")
                engine.verify()
        except OURS as error:
            return one_line(error)
    return ""


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The ways to all values in a JSON value."""
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(
        value, list) else ()  # fmt: skip
    for key, item in inner:
        yield from places(item, (*at, key))


def changed(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    """A JSON value with another one at a place."""
    if not at:
        return new
    result = dict(value) if isinstance(value, dict) else list(value)
    result[at[0]] = changed(value[at[0]], at[1:], new)
    return result


def test_manifests_that_lie(copy: Path) -> None:
    """Any value anywhere, and checksums made anew."""
    good = json.loads((copy / MANIFEST).read_bytes())
    ways = [at for at in places(good) if at and at[0] not in ("format", "version", "checksum")]

    @fuzz(250)
    @given(st.lists(st.tuples(st.sampled_from(ways), ODD | st.sampled_from(NAMES)), min_size=1,
                    max_size=2))  # fmt: skip
    def run(todo: list[tuple[tuple[Any, ...], Any]]) -> None:
        value = good
        for at, new in todo:
            if at in places(value):
                value = changed(value, at, new)
        (copy / MANIFEST).write_text(json.dumps(value))
        sign(copy, MANIFEST)
        use(copy)

    run()


def test_spoiled_manifests(copy: Path) -> None:
    good = (copy / MANIFEST).read_bytes()

    @fuzz(100)
    @given(spoiled([good]))
    def run(data: bytes) -> None:
        (copy / MANIFEST).write_bytes(data)
        assert use(copy) or json.loads(data) == json.loads(good)

    run()


@pytest.mark.parametrize("name", NAMES)
def test_no_file_outside_is_named(copy: Path, name: str) -> None:
    """Also where the file is there and has the right size and checksum."""
    (copy.parent / "secret").write_bytes((copy / named(copy, "bm25")).read_bytes())
    manifest = json.loads((copy / MANIFEST).read_bytes())
    manifest["files"][name] = manifest["files"][named(copy, "bm25")]
    manifest["segments"][0]["parts"]["bm25"] = name
    (copy / MANIFEST).write_text(json.dumps(manifest))
    sign(copy, MANIFEST)
    assert "garbles" in use(copy)
    del manifest["segments"][0]["parts"]["bm25"]  # named, but used by no segment
    (copy / MANIFEST).write_text(json.dumps(manifest))
    sign(copy, MANIFEST)
    assert "garbles" in use(copy)


def test_links_and_pipes_are_no_files(copy: Path) -> None:
    """A link could lead to anything, a pipe would keep its reader waiting for ever."""
    file = copy / named(copy, "bm25")
    file.rename(copy.parent / "elsewhere")
    file.symlink_to(copy.parent / "elsewhere")
    assert f"{file}: is a link" in use(copy)
    file.unlink()
    os.mkfifo(file)
    assert str(file) in use(copy)
    (copy / MANIFEST).unlink()
    os.mkfifo(copy / MANIFEST)
    assert MANIFEST in use(copy)


@pytest.mark.parametrize("name", [LOCK, MANIFEST + TEMPORARY])
def test_nothing_is_written_through_a_link(copy: Path, name: str) -> None:
    victim = copy.parent / "victim"
    victim.write_text("precious")
    (copy / name).unlink(missing_ok=True)
    (copy / name).symlink_to(victim)
    said = ""
    try:
        with Writer.open(copy) as writer:
            writer.delete(["d/2"])
            writer.commit()
    except SearchlibError as error:
        said = one_line(error)
    assert (name in said) == (name == LOCK)
    assert victim.read_text() == "precious"
    fresh = copy.parent / "fresh"
    fresh.mkdir()
    (fresh / name).symlink_to(victim)
    try:
        Engine.create(fresh, WORDS_ONLY).close()
    except SearchlibError as error:
        one_line(error)
    assert victim.read_text() == "precious"


def test_an_empty_manifest_of_gigabytes_takes_no_memory(copy: Path) -> None:
    os.truncate(copy / MANIFEST, 5 << 30)  # a hole: nothing on the disk
    assert MANIFEST in use(copy)
    os.truncate(copy / MANIFEST, 0)


def test_a_store_of_views_is_no_store(copy: Path) -> None:
    """A view is a query of the file's own: this one never ends."""
    import sqlite3

    store = copy / named(copy, "store")
    with sqlite3.connect(store) as database:
        database.execute("ALTER TABLE texts RENAME TO t")
        database.execute(
            "CREATE VIEW texts AS WITH RECURSIVE r(ordinal) AS"
            " (SELECT 1 UNION ALL SELECT ordinal + 1 FROM r) SELECT ordinal, 'x' AS text FROM r"
        )
    database.close()
    sign(copy, store.name)
    assert f"{store}: lacks one of the tables" in use(copy)


@pytest.mark.parametrize("change", ["id = x'00'", "title = x'05'", "hash = 'x'", "metadata = '[]'"])
def test_values_of_another_type_are_damage(copy: Path, change: str) -> None:
    import sqlite3

    store = copy / named(copy, "store")
    with sqlite3.connect(store) as database:
        database.execute(f"UPDATE documents SET {change} WHERE ordinal = 3")
    database.close()
    sign(copy, store.name)
    with Snapshot.open(copy) as snapshot, pytest.raises(Damaged, match=store.name):
        snapshot.records(snapshot.lookup(["d/0"]) + 3)


@pytest.mark.parametrize("id", ["../../etc/passwd", "/etc/passwd", "..", "a\0b", "con", "a" * 5000])
def test_ids_are_no_paths(tmp_path: Path, id: str) -> None:
    path = tmp_path / "index"
    with Engine.create(path, WORDS_ONLY) as engine:
        engine.add([Document(id, "a cat")])
        assert [hit.id for hit in engine.search("cat")] == [id]
    assert {entry.name for entry in tmp_path.iterdir()} == {"index"}
    assert all(entry.name.startswith(("s0", "manifest", "write")) for entry in path.iterdir())
