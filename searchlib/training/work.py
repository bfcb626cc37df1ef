"""The work folder of a training: what each step finished, so that a run, repeated, goes on."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from indexes.directory import FileDirectory, make_folder
from indexes.errors import Locked
from indexes.lock import HELD, LOCK
from indexes.manifest import MANIFEST

from ..errors import BadInput
from .artefacts import write_whole

PLAN, SOURCE = "plan.json", "source.json"  # what the work was begun with, and of which index
_BEGUN = {LOCK, HELD, PLAN, PLAN + ".writing", SOURCE, SOURCE + ".writing"}
_LEFT_OUT = {LOCK, HELD, MANIFEST, "sync.db"}  # of an index, when it is copied

Result = TypeVar("Result")


def work_beside(target: Path) -> Path:
    """Where the work for `target` is done unless something else is asked for."""
    return target.with_name(f"{target.name}.work")


@contextmanager
def work_folder(folder: Path, plan: Mapping[str, Any]) -> Iterator[Path]:
    """The folder of one training, held by one process; `plan` says in JSON values what is done.

    A folder that is new and has no finished step at the end goes again. Raises BadInput if
    another plan was begun there, or if it holds something else; Locked if another process is at
    work on it; StorageFailed.
    """
    there = folder.exists()
    if there and not folder.is_dir():
        raise BadInput(f"cannot work in {folder}: it is a file, must be a folder")
    names = {entry.name for entry in folder.iterdir()} if there else set()
    if PLAN not in names and names - {LOCK, HELD, PLAN + ".writing"}:
        raise BadInput(f"cannot work in {folder}: it holds other things; name another")
    make_folder(folder)
    try:
        with FileDirectory(folder).lock():
            same_as_begun(folder / PLAN, plan)
            yield folder
    finally:
        if not there and {entry.name for entry in folder.iterdir()} <= _BEGUN:
            shutil.rmtree(folder, ignore_errors=True)


def once(path: Path, make: Callable[[], Result], write: Callable[[Path, Result], None],
         read: Callable[[Path], Result]) -> Result:  # fmt: skip
    """What `read` finds in the file of a finished step; else it is made and written."""
    if path.exists():
        return read(path)
    made = make()
    write(path, made)
    return made


def copy_of_index(source: Path, target: Path) -> None:
    """A copy of an index whose files are the same on the disk, as they are never written again.

    What was there at `target` is removed. Raises Locked if somebody is writing to `source`.
    """
    shutil.rmtree(target, ignore_errors=True)
    make_folder(target)
    copy = FileDirectory(target)
    try:
        with FileDirectory(source).lock():
            manifest = (source / MANIFEST).read_bytes()
            for entry in os.scandir(source):
                if entry.is_file(follow_symlinks=False) and entry.name not in _LEFT_OUT:
                    copy.adopt(entry.name, source / entry.name)
    except Locked:
        shutil.rmtree(target, ignore_errors=True)
        raise
    copy.sync()
    copy.replace(MANIFEST, manifest)


def same_as_begun(path: Path, plan: Mapping[str, Any]) -> None:
    """Keep JSON values in a file; if it is there, they must be what they were.

    Raises BadInput, naming what is different.
    """
    plan = json.loads(json.dumps(plan))
    if not path.is_file():
        write_whole(path, (json.dumps(plan, indent=2) + "\n").encode())
        return
    try:
        begun = _flat(json.loads(path.read_bytes()))
    except (ValueError, AttributeError):
        raise BadInput(f"{path} is damaged; remove {path.parent} to start anew") from None
    now = _flat(plan)
    for key in [*begun, *now]:
        if begun.get(key) != now.get(key):
            raise BadInput(
                f"{path.parent} holds work begun with {key} {begun.get(key)!r}, now "
                f"{now.get(key)!r}; go on with the same, or remove it to start anew"
            )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= (
            _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
    return flat
