"""Counts of a field's values, and documents in the order of a field's values: over columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .columns import Column, Key, Scalar

MANY_TIES = 1000  # documents; their names are not asked one by one

Bools = NDArray[np.bool_]
Ids = NDArray[np.int64]


def facet_counts(
    columns: Sequence[Column], chosen: Sequence[Bools], top: int
) -> list[tuple[Scalar, int]]:
    """The values that most of the chosen documents have, and how many have each; at most `top`.

    A list counts for each of its distinct members. Ties by value: numbers, texts, truth values.
    `columns` and `chosen`, bool (n_documents,), are of each segment.
    """
    counts: dict[tuple[Key, Scalar], int] = {}
    for column, documents in zip(columns, chosen, strict=True):
        number = column.counts(documents)
        codes = np.flatnonzero(number)
        if len(columns) == 1 and top < len(codes):  # codes are in the order of their values
            codes = codes[np.argsort(-number[codes], kind="stable")[:top]]
        for code, count in zip(codes.tolist(), number[codes].tolist(), strict=True):
            # subtle: 1 and True are equal, their keys are not
            key = column.values.key(code), column.values[code]
            counts[key] = counts.get(key, 0) + count
    best = sorted(counts, key=lambda key: (-counts[key], key))[:top]
    return [(key[1], counts[key]) for key in best]


@dataclass(frozen=True)
class Part:
    """A segment's documents: which are chosen, bool (n_documents,), and whose ids come first.

    `by_id` gives the first k of some documents, bool (n_documents,), by id, or the last ones.
    """

    chosen: Bools
    by_id: Callable[[Bools, int, bool], Sequence[int]]


def first_by_id(
    parts: Sequence[Part], k: int, names: Callable[[Ids], Sequence[str]], *, descending: bool
) -> Ids:
    """The first k of the chosen documents by id, or the last ones; see `first_of`."""
    found, base = [np.empty(0, np.int64)], 0
    for part in parts:
        found.append(np.array(part.by_id(part.chosen, k, descending), np.int64) + base)
        base += len(part.chosen)
    numbers = np.concatenate(found)
    ids = names(numbers)
    order = sorted(range(len(ids)), key=ids.__getitem__, reverse=descending)
    return numbers[np.array(order[:k], np.int64)]


def first_of(
    columns: Sequence[Column],
    parts: Sequence[Part],
    k: int,
    names: Callable[[Ids], Sequence[str]],
    *,
    descending: bool,
) -> Ids:
    """The first k of the chosen documents by their values; those without one come last.

    Of several values a document counts with its smallest, or with its largest if `descending`.
    Ties by name (id), asked of those only that may get in. Documents are numbered through all
    segments, of which `columns` and `parts` are.
    """
    documents, keys = [np.empty(0, np.int64)], list[Key | None]()
    base = 0
    for column, part in zip(columns, parts, strict=True):
        near, codes = _near(column, part, k, descending=descending)
        key = {code: _key(column, code) for code in np.unique(codes).tolist()}
        documents.append(near + base)
        keys += map(key.__getitem__, codes.tolist())
        base += column.n_documents
    there = sorted({key for key in keys if key is not None}, reverse=descending)
    rank = {key: place for place, key in enumerate([*there, None])}
    numbers = np.concatenate(documents)
    ranks = np.fromiter(map(rank.__getitem__, keys), np.int64, len(keys))
    if k < len(ranks):
        may = ranks <= np.partition(ranks, k - 1)[k - 1]
        numbers, ranks = numbers[may], ranks[may]
    named = list(zip(ranks.tolist(), names(numbers), strict=True))
    order = sorted(range(len(named)), key=named.__getitem__)
    return numbers[np.array(order[:k], np.int64)]


def _near(column: Column, part: Part, k: int, *, descending: bool) -> tuple[Ids, Ids]:
    """Those of a segment's documents that may be among the first k, and the code of each."""
    n = len(column.values)
    documents = np.flatnonzero(part.chosen)
    codes = column.best(descending=descending)[documents]
    if k >= len(codes):
        return documents, codes
    ranks = np.where(codes == n, n, n - 1 - codes) if descending else codes
    last = int(np.partition(ranks, k - 1)[k - 1])
    if column.values.moments and last < n:  # several texts may name one moment
        step, code = (-1, n - 1 - last) if descending else (1, last)
        key = column.values.key(code)
        while 0 <= code + step < n and column.values.key(code + step) == key:
            code, last = code + step, last + 1
    elif np.count_nonzero(ranks == last) > k + MANY_TIES:
        ties = np.zeros(column.n_documents, np.bool_)
        ties[documents[ranks == last]] = True
        near = ranks < last
        near[np.searchsorted(documents, part.by_id(ties, k, False))] = True
        return documents[near], codes[near]
    near = ranks <= last
    return documents[near], codes[near]


def _key(column: Column, code: int) -> Key | None:
    return None if code == len(column.values) else column.values.key(code)
