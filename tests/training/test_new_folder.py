"""A folder that is made appears whole or not at all: any, a blend, and static vectors."""

from __future__ import annotations

import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import WORDS

from indexes.errors import StorageFailed
from searchlib.encoders.blend_layout import BlendLayout
from searchlib.encoders.dense import DenseEncoder
from searchlib.encoders.sparse import SparseEncoder
from searchlib.encoders.sparse_layout import read_sparse
from searchlib.encoders.ternary import Ternary
from searchlib.errors import BadInput
from searchlib.training.blend_folder import Report, write_blend
from searchlib.training.distill import Sample
from searchlib.training.new_folder import must_be_free, new_folder
from searchlib.training.static_model import distill_vectors

Make = Callable[[Path], object]
TEXTS = ["the cat is asleep", "bread and water", "a doctor writes"]


@pytest.fixture(params=["any", "blend", "static"])
def make(request: pytest.FixtureRequest, tiny_sparse: Path, tiny_dense: Path) -> Make:
    """Makes a folder of some kind."""
    if request.param == "any":
        return make_any
    rng = np.random.default_rng(0)
    if request.param == "static":
        vectors = rng.normal(size=(3, 512)).astype(np.float32)
        sample = Sample(TEXTS)
        return lambda target: distill_vectors(
            sample, ["cat", "bread", "doctor"], vectors, target, ""
        )
    map = Ternary.of(rng.normal(size=(33, len(WORDS))).astype(np.float32))
    names = str(tiny_sparse), str(tiny_dense)
    digest, dense = read_sparse(tiny_sparse).digest(), DenseEncoder(tiny_dense).fingerprint
    report = Report("", *names, 9, 1, 0.5, 0.5, None, 0, 1.0)

    def make(target: Path) -> None:
        layout = BlendLayout(target, names[0], digest, names[1], dense, 0.4, 0.3, 20)
        write_blend(layout, map, report)

    return make


def make_any(target: Path) -> None:
    with new_folder(target) as folder:
        (folder / "inside").mkdir()
        (folder / "inside" / "a.json").write_text("{}")
        (folder / "b.json").write_text("[]")


def assert_whole(folder: Path) -> None:
    if (folder / "inside").exists():
        assert (folder / "inside" / "a.json").read_text() == "{}"
    elif (folder / "blend").exists():
        assert len(SparseEncoder(folder).encode_document(TEXTS)) == 3
    else:
        assert DenseEncoder(folder).encode_document(TEXTS).shape == (3, 512)


@pytest.mark.parametrize("name", ["fsync", "rename", "open", "mkdir", "chmod"])
def test_it_appears_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, make: Make
) -> None:
    """A crash at every call to the system that the filling and placing makes."""
    make(tmp_path / "first")
    assert_whole(tmp_path / "first")
    real = getattr(os, name)
    refusals: list[str] = []
    for crash in range(1, 100):
        target, seen = tmp_path / f"{crash}", 0

        def failing(*arguments: Any, **options: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen == crash:  # noqa: B023
                raise OSError(28, "No space left on device")
            return real(*arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(os, name, failing)
            try:
                make(target)
            except StorageFailed as error:
                refusals.append(str(error))
        if target.exists():  # if it was refused, then after the renaming
            assert_whole(target)
        assert not list(tmp_path.glob(".*"))
        if seen < crash:
            break
    assert refusals
    assert all("no space left" in refusal for refusal in refusals)


@pytest.mark.parametrize("room", [1, 300, 5000])
def test_a_full_disk(tmp_path: Path, make: Make, room: int) -> None:
    if make is make_any and room > 1:
        pytest.skip("it takes no more")
    make(tmp_path / "whole")
    files = [path for path in (tmp_path / "whole").rglob("*") if path.is_file()]
    largest = max(path.stat().st_size for path in files)
    shutil.rmtree(tmp_path / "whole")
    room = min(room, largest - 1)
    with pytest.raises(StorageFailed, match=r"cannot write .*larger than"), little_room(room):
        make(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


@contextmanager
def little_room(most: int) -> Iterator[None]:
    """No file may grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    heeded = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, heeded)


def test_what_was_written_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Make
) -> None:
    synced: set[int] = set()
    fsync, rename = os.fsync, os.rename

    def noted(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def checked(source: Path, target: Path) -> None:
        everything = [Path(source), *Path(source).rglob("*")]
        assert {path.stat().st_ino for path in everything} <= synced
        rename(source, target)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(os, "rename", checked)
    make(tmp_path / "model")
    assert tmp_path.stat().st_ino in synced


def test_nothing_is_overwritten(tmp_path: Path, make: Make) -> None:
    for name in ("folder", "file", "link"):
        target = tmp_path / name
        if name == "folder":
            target.mkdir()
        elif name == "file":
            target.write_text("mine")
        else:
            target.symlink_to(tmp_path / "nowhere")
        with pytest.raises(BadInput, match="is there already; name a new folder"):
            make(target)
    with pytest.raises(BadInput, match="a is no folder; make it first"):
        make(tmp_path / "a" / "b")
    assert (tmp_path / "file").read_text() == "mine"


def test_what_raises_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with new_folder(tmp_path / "model") as folder:
            (folder / "a").write_text("a")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_it_can_be_read_by_whom_the_mask_lets(tmp_path: Path, make: Make) -> None:
    make(tmp_path / "model")
    (tmp_path / "other").mkdir()
    assert (tmp_path / "model").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_free_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    must_be_free(Path("model"))
    must_be_free(tmp_path / "model")
