"""The file system's door: files written once, replaced atomically, locked by one writer."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from indexes.directory import LOCK, SMALL, FileDirectory, make_folder, refusals
from indexes.errors import Locked, StorageFailed

HOLD = """
import sys, time
from indexes.directory import SMALL, FileDirectory
with FileDirectory(sys.argv[1]).lock():
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_file_is_written_once(tmp_path: Path) -> None:
    directory = FileDirectory(tmp_path)
    with directory.create("a") as file:
        file.write(b"one")
    assert directory.read("a") == b"one"
    assert directory.sizes() == {"a": 3}
    with pytest.raises(StorageFailed, match="exists"), directory.create("a"):
        pass
    with pytest.raises(StorageFailed, match="exists"), directory.build("a"):
        pass
    assert directory.read("a") == b"one"


@pytest.mark.parametrize("method", ["create", "build"])
def test_what_fails_half_way_leaves_no_file(tmp_path: Path, method: str) -> None:
    directory = FileDirectory(tmp_path)
    with pytest.raises(KeyError), getattr(directory, method)("a"):
        raise KeyError
    assert directory.sizes() == {}


def test_replace_changes_the_whole_content(tmp_path: Path) -> None:
    directory = FileDirectory(tmp_path)
    directory.replace("m", b"a long first version")
    directory.replace("m", b"second")
    assert directory.read("m") == b"second"
    assert directory.sizes() == {"m": 6}


def test_a_failed_replace_keeps_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = FileDirectory(tmp_path)
    directory.replace("m", b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFailed, match="no space left"):
        directory.replace("m", b"new")
    assert directory.sizes() == {"m": 3}
    assert directory.read("m") == b"old"


def test_every_file_and_folder_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    real = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        real(descriptor)

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc to tell which file a descriptor is")
    monkeypatch.setattr(os, "fsync", noted)
    directory = FileDirectory(tmp_path)
    with directory.create("a") as file:
        file.write(b"x")
    with directory.build("b") as path:
        path.write_bytes(b"y")
    directory.sync()
    directory.replace("m", b"z")
    assert synced == ["a", "b", tmp_path.name, "m.replacing", tmp_path.name]


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a\\b", "a\0b"])
def test_names_stay_within_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="illegal file name"):
        FileDirectory(tmp_path).path(name)


def test_removing_twice_is_no_error(tmp_path: Path) -> None:
    directory = FileDirectory(tmp_path)
    directory.replace("m", b"1")
    directory.remove("m")
    directory.remove("m")
    assert directory.sizes() == {}


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, "no space left"),
        (errno.EACCES, "no permission"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_refusals_are_one_line(number: int, reason: str) -> None:
    with pytest.raises(StorageFailed) as caught, refusals("write x"):
        raise OSError(number, os.strerror(number))
    message = str(caught.value)
    assert message.startswith("cannot write x: ")
    assert reason in message
    assert "\n" not in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageFailed, match="no permission"), FileDirectory(tmp_path).create("a"):
        pass


def test_a_folder_below_a_file_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageFailed, match="is a file"):
        make_folder(tmp_path / "file" / "index")


def test_one_holds_the_lock(tmp_path: Path) -> None:
    directory = FileDirectory(tmp_path)
    with directory.lock(), pytest.raises(Locked) as caught, FileDirectory(tmp_path).lock():
        pass
    assert re.search(rf"process {os.getpid()} on \S+ since \d{{4}}-\d\d-\d\dT", str(caught.value))
    assert "this one itself" in str(caught.value)
    with directory.lock():  # free again
        pass


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    """Killed without a chance to clean up, a writer leaves a file but no lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(Locked, match=str(process.pid)), FileDirectory(tmp_path).lock():
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert (tmp_path / LOCK).stat().st_size > 0
    with FileDirectory(tmp_path).lock():
        pass


def test_files_are_on_the_disk_after_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large ones at once, small ones then; what was removed meanwhile is no error."""
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    directory = FileDirectory(tmp_path)
    for name, size in [("small", 10), ("gone", 10), ("large", SMALL + 1)]:
        with directory.create(name) as file:
            file.write(b"x" * size)
    with directory.build("built") as path:
        path.write_bytes(b"x")
    inodes = {name: (tmp_path / name).stat().st_ino for name in ("small", "large", "built")}
    assert synced == [inodes["large"]]
    directory.remove("gone")
    directory.sync()
    assert set(synced) == {*inodes.values(), tmp_path.stat().st_ino}
    assert synced[-1] == tmp_path.stat().st_ino  # names last
    directory.sync()
    assert len(synced) == 5
