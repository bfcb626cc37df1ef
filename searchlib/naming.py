"""The strings by which users know documents ("id") and passages ("id#n"), and their numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from indexes.snapshot import Snapshot
from indexes.types import Unit

from .errors import NotFound, cut

_MOST_DIGITS = 18  # of a passage's number: int() refuses thousands


def name_ids(snapshot: Snapshot, ids: NDArray[np.int64], unit: Unit) -> list[str]:
    """The strings by which users know documents ("id") and passages ("id#n")."""
    if unit == "document":
        return snapshot.ids(ids)
    documents = snapshot.ids(snapshot.documents_of(ids))
    numbers = snapshot.passage_number(ids).tolist()
    return [f"{name}#{number}" for name, number in zip(documents, numbers, strict=True)]


def find_id(snapshot: Snapshot, name: str, unit: Unit = "document") -> tuple[int, Unit]:
    """The document or passage called `name`; a document's own id wins over "id#n".

    `unit`: "passage" looks for passages only.

    Raises:
        NotFound: the index holds none.
    """
    if not isinstance(name, str):
        raise NotFound(f"no document {name!r} in the index: an id is a text")
    document = int(snapshot.lookup([name])[0])
    if document >= 0 and unit == "document":
        return document, "document"
    parent, hash_mark, number = name.rpartition("#")
    if hash_mark and number.isdecimal():
        document = int(snapshot.lookup([parent])[0])
        if document >= 0:
            first, count = snapshot.passages_of(document)
            if len(number) <= _MOST_DIGITS and int(number) < count:
                return first + int(number), "passage"
            raise NotFound(
                f"document {parent!r} has passages #0 to #{count - 1}, not #{cut(number)}"
            )
    if document >= 0:
        raise NotFound(f"no passage {name!r} in the index: it is a document; write {name + '#0'!r}")
    raise NotFound(f"no {unit} {name!r} in the index")
