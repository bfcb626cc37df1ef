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
_PASSAGES = """
    SELECT passages.ordinal, document, id, title, metadata, start, "end",
        substr(text, start + 1, min("end" - start, ?))
    FROM passages JOIN documents ON documents.ordinal = document
    JOIN texts ON texts.ordinal = document WHERE passages.ordinal IN"""


def read_excerpts(
    query: Query, passages: NDArray[np.int64], first: NDArray[np.int64], longest: int
) -> list[Excerpt]:
    """Each passage's first `longest` characters; `first` (n_documents + 1,) bounds passages.

    Raises KeyError, ValueError, TypeError where the tables contradict each other.
    """
    rows: dict[int, tuple[Any, ...]] = {}
    for start in range(0, len(passages), _AT_ONCE):
        chunk = passages[start : start + _AT_ONCE].tolist()
        marks = ", ".join("?" * len(chunk))
        # subtle: one statement for all of a query's is faster than json_each, or one for each
        rows.update((row[0], row[1:]) for row in query(f"{_PASSAGES} ({marks})", [longest, *chunk]))
    documents = np.searchsorted(first, passages, side="right") - 1
    columns = (passages.tolist(), documents.tolist(), (passages - first[documents]).tolist())
    return [
        _excerpt(query, rows[passage], document, number, longest)
        for passage, document, number in zip(*columns, strict=True)
    ]


def _excerpt(
    query: Query, row: tuple[Any, ...], document: int, number: int, longest: int
) -> Excerpt:
    owner, id, title, metadata, start, end, text = row
    text = is_a(str, text)
    if owner != document:
        raise ValueError(f"a passage of document {document} is said to be of {owner}")
    if len(text) != min(end - start, longest):  # subtle: SQLite's substr stops at a NUL
        [(whole,)] = query("SELECT text FROM texts WHERE ordinal = ?", (document,))
        start, end = within(len(is_a(str, whole)), start, end)
        text = whole[start : min(end, start + longest)]
    values = {} if metadata == "{}" else is_a(dict, json.loads(metadata))
    return Excerpt(is_a(str, id), is_a(str, title), values, number, start, end, text)
