"""The strings by which users know documents ("id") and passages ("id#n"), and their numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from indexes.snapshot import Snapshot
from indexes.types import Unit

from .errors import NotFound


def name_ids(snapshot: Snapshot, ids: NDArray[np.int64], unit: Unit) -> list[str]:
    """The strings by which users know documents ("id") and passages ("id#n")."""
    if unit == "document":
        return snapshot.ids(ids)
    documents = snapshot.ids(snapshot.documents_of(ids))
    numbers = snapshot.passage_number(ids).tolist()
    return [f"{name}#{number}" for name, number in zip(documents, numbers, strict=True)]


def find_id(snapshot: Snapshot, name: str) -> tuple[int, Unit]:
    """The document or passage called `name`; a document's own id wins over "id#n".

    Raises:
        NotFound: the index holds neither.
    """
    if not isinstance(name, str):
        raise NotFound(f"no document {name!r} in the index: an id is a text")
    document = int(snapshot.lookup([name])[0])
    if document >= 0:
        return document, "document"
    parent, hash_mark, number = name.rpartition("#")
    if hash_mark and number.isdecimal():
        document = int(snapshot.lookup([parent])[0])
        if document >= 0:
            first, count = snapshot.passages_of(document)
            if int(number) < count:
                return first + int(number), "passage"
            raise NotFound(f"document {parent!r} has passages #0 to #{count - 1}, not #{number}")
    raise NotFound(f"no document {name!r} in the index")
