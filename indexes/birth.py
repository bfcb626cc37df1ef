"""How an index begins: an empty commit in a folder that is nobody's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .directory import LOCK, TEMPORARY, Directory, make_folder
from .draft import now
from .errors import IndexExists
from .lock import HELD
from .manifest import MANIFEST, FieldSpec, Manifest


def create_index(
    directory: Directory, fields: Sequence[FieldSpec], settings: dict[str, Any]
) -> None:
    """Make a new, empty index in a folder that is empty or does not exist.

    Raises IndexExists, Locked, StorageFailed; ValueError for two fields of one name.
    """
    specs = {spec.name: spec for spec in fields}
    if len(specs) < len(fields):
        raise ValueError(f"two fields have one name: {[spec.name for spec in fields]}")
    data = Manifest(0, now(), 1, specs, settings, (), {}).to_bytes()
    make_folder(directory.root)
    _must_be_vacant(directory)  # before a lock file is put among somebody's things
    with directory.lock():
        _must_be_vacant(directory)
        directory.replace(MANIFEST, data)


def _must_be_vacant(directory: Directory) -> None:
    """Raise IndexExists where an index, or anybody's files, are in the folder."""
    found = directory.sizes().keys() - {LOCK, HELD, MANIFEST + TEMPORARY}
    if MANIFEST in found:
        raise IndexExists(f"{directory.root} holds an index already; open it, or remove it")
    if not all(name.startswith(".") for name in found):
        raise IndexExists(f"{directory.root} is not empty; name a new folder")
