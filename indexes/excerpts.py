"""The beginnings of passages, read from a store by number: what an answer shows of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .stored import is_a, within
from .types import Excerpt

Query = Callable[[str, Sequence[Any]], list[Any]]  # SQL and the values bound to it -> rows

_AT_ONCE = 500  # passages bound to one statement
_SLICED = 8  # passages of one document, from which on its text is read once for all
_PASSAGES = """
    SELECT passages.ordinal, document, id, title, metadata, start, "end",
        CASE WHEN ? THEN substr(text, start + 1, min("end" - start, ?)) END
    FROM passages JOIN documents ON documents.ordinal = document
    JOIN texts ON texts.ordinal = document WHERE passages.ordinal IN"""


def read_excerpts(
    query: Query, passages: NDArray[np.int64], first: NDArray[np.int64], longest: int
) -> list[Excerpt]:
    """Each passage's first `longest` characters; `first` (n_documents + 1,) bounds passages.

    Raises KeyError, ValueError, TypeError where the tables contradict each other.
    """
    documents = np.searchsorted(first, passages, side="right") - 1
    # subtle: SQLite looks for a passage from the beginning of the text, each time
    distinct, counts = np.unique(documents, return_counts=True)
    whole = {document: _text(query, document) for document in distinct[counts > _SLICED].tolist()}
    sliced = np.isin(documents, list(whole))
    rows: dict[int, tuple[Any, ...]] = {}
    for by_sqlite, wanted in ((1, passages[~sliced]), (0, passages[sliced])):
        for start in range(0, len(wanted), _AT_ONCE):
            chunk = wanted[start : start + _AT_ONCE].tolist()
            marks = ", ".join("?" * len(chunk))
            # subtle: one statement for all of a query's is faster than json_each, or one for each
            found = query(f"{_PASSAGES} ({marks})", [by_sqlite, longest, *chunk])
            rows.update((row[0], row[1:]) for row in found)
    columns = (passages.tolist(), documents.tolist(), (passages - first[documents]).tolist())
    return [
        _excerpt(query, rows[passage], document, number, longest=longest, whole=whole.get(document))
        for passage, document, number in zip(*columns, strict=True)
    ]


def _text(query: Query, document: int) -> str:
    [(text,)] = query("SELECT text FROM texts WHERE ordinal = ?", (document,))
    return is_a(str, text)


def _excerpt(
    query: Query,
    row: tuple[Any, ...],
    document: int,
    number: int,
    *,
    longest: int,
    whole: str | None,
) -> Excerpt:
    owner, id, title, metadata, start, end, text = row
    if owner != document:
        raise ValueError(f"a passage of document {document} is said to be of {owner}")
    if whole is None and len(is_a(str, text)) != min(end - start, longest):
        whole = _text(query, document)  # subtle: SQLite's substr stops at a NUL
    if whole is not None:
        start, end = within(len(whole), start, end)
        text = whole[start : min(end, start + longest)]
    values = {} if metadata == "{}" else is_a(dict, json.loads(metadata))
    return Excerpt(is_a(str, id), is_a(str, title), values, number, start, end, text)
