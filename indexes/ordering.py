"""Counts of a field's values, and documents in the order of a field's values: over columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from .columns import Column, Scalar, sort_key

Bools = NDArray[np.bool_]
Ids = NDArray[np.int64]


def facet_counts(
    columns: Sequence[Column], chosen: Sequence[Bools], top: int
) -> list[tuple[Scalar, int]]:
    """The values that most of the chosen documents have, and how many have each; at most `top`.

    A list counts for each of its distinct members. Ties by value: numbers, texts, truth values.
    `columns` and `chosen`, bool (n_documents,), are of each segment.
    """
    counts: dict[tuple[int, Scalar], int] = {}
    for column, documents in zip(columns, chosen, strict=True):
        codes = column.codes[documents[column.owners]]
        number = np.bincount(codes, minlength=len(column.values))
        for code in np.flatnonzero(number).tolist():
            key = sort_key(column.values[code])  # subtle: 1 and True are equal, their keys not
            counts[key] = counts.get(key, 0) + int(number[code])
    best = sorted(counts, key=lambda key: (-counts[key], key))[:top]
    return [(key[1], counts[key]) for key in best]


def ranks_of(
    columns: Sequence[Column], chosen: Sequence[Bools], *, descending: bool
) -> tuple[list[Ids], list[Ids]]:
    """The chosen documents of each segment, ascending, and the rank of each one's value: from 0.

    Equal values have equal ranks in all segments; a document without the field comes last. Of
    several values a document counts with its smallest, or with its largest if `descending`.
    """
    documents = [np.flatnonzero(part) for part in chosen]
    codes = [
        _best_codes(column, descending=descending)[part]
        for column, part in zip(columns, documents, strict=True)
    ]
    used = [np.unique(part[part >= 0]) for part in codes]
    keys = {
        sort_key(column.values[code])
        for column, part in zip(columns, used, strict=True)
        for code in part.tolist()
    }
    rank = {key: place for place, key in enumerate(sorted(keys, reverse=descending))}
    ranks = []
    for column, part, code in zip(columns, used, codes, strict=True):
        of_code = np.full(len(column.values) + 1, len(rank), np.int64)  # the last one: none
        of_code[part] = [rank[sort_key(column.values[code])] for code in part.tolist()]
        ranks.append(of_code[code])
    return documents, ranks


def first_of(
    documents: Sequence[Ids], ranks: Sequence[Ids], k: int, names: Callable[[Ids], Sequence[str]]
) -> Ids:
    """The first k of all documents by rank; ties by name, asked of those only that may get in."""
    nothing = np.empty(0, np.int64)
    document, rank = np.concatenate([nothing, *documents]), np.concatenate([nothing, *ranks])
    if k < len(rank):
        near = rank <= np.partition(rank, k - 1)[k - 1]
        document, rank = document[near], rank[near]
    keys = list(zip(rank.tolist(), names(document), strict=True))
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return document[np.array(order[:k], np.int64)]


def _best_codes(column: Column, *, descending: bool) -> Ids:
    """The smallest (or largest) code of each document, int64 (n_documents,); -1 for none."""
    best = np.full(len(column.present), -1, np.int64)
    if len(column.owners):
        starts = np.flatnonzero(np.diff(column.owners, prepend=np.uint32(2**32 - 1)) != 0)
        reduce = np.maximum if descending else np.minimum
        best[column.owners[starts]] = reduce.reduceat(column.codes, starts)
    return best
