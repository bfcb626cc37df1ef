"""One field of a segment's metadata as arrays: its distinct values, and which document has which.

What filters, facets and sorting ask, they ask of the distinct values, in order; numpy carries
the answer over to the documents. A column is read from the metadata once, and kept.
"""

from __future__ import annotations

import json
import math
import re
import sqlite3
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = tuple[str, ...]  # of metadata: the keys that lead to it
Scalar = str | int | float | bool

_INT64 = range(-(2**63), 2**63)
_NUMERIC = re.compile(r"-?\d[\d.e+-]{0,30}")
Bools = NDArray[np.bool_]
Codes = NDArray[np.uint32]


@dataclass(frozen=True)
class Column:
    """A field's values: `values[codes[i]]` is a value of document `owners[i]`.

    A list has a value for each of its distinct members; null, objects and lists in lists are no
    values.
    """

    values: tuple[Scalar, ...]  # distinct: numbers, then texts by code point, then False, True
    codes: Codes  # (m,)
    owners: Codes  # (m,) ascending
    present: Bools  # (n_documents,): the field is there and not null

    @cached_property
    def n_numbers(self) -> int:
        """How many of the values are numbers; they come first."""
        return bisect_left(self.values, 1, key=_kind)

    @cached_property
    def n_texts(self) -> int:
        """How many of the values are texts; they come next."""
        return bisect_left(self.values, 2, key=_kind) - self.n_numbers

    @cached_property
    def spelt(self) -> tuple[list[int | float], NDArray[np.int64]]:
        """Numbers that texts spell, as CSV files have them, ascending; the codes of these texts."""
        texts = self.values[self.n_numbers : self.n_numbers + self.n_texts]
        numbers = spelt_numbers(text for text in texts if isinstance(text, str))
        codes = {text: code for code, text in enumerate(texts, self.n_numbers)}
        pairs = sorted((number, codes[text]) for text, number in numbers.items())
        return [number for number, _ in pairs], np.array([code for _, code in pairs], np.int64)

    def documents(self, wanted: Bools) -> Bools:
        """Which documents have a wanted value, bool (n_documents,); wanted: one bool a value."""
        having: Bools = wanted[self.codes]
        if self.one_each:
            return having
        chosen = np.zeros(len(self.present), np.bool_)
        chosen[self.owners[having]] = True
        return chosen

    @cached_property
    def one_each(self) -> bool:
        """Whether each document has exactly one value."""
        n = len(self.present)
        return len(self.owners) == n and np.array_equal(self.owners, np.arange(n))

    def place(self, value: int | float | str, *, after: bool = False) -> int:
        """The code of the first value of the same kind that is not less (after: that is more)."""
        texts = self.n_numbers + self.n_texts
        low, high = (self.n_numbers, texts) if isinstance(value, str) else (0, self.n_numbers)
        search = bisect_right if after else bisect_left
        return search(self.values, value, low, high)


def spelt_numbers(texts: Iterable[str]) -> dict[str, int | float]:
    """Those of the texts that spell a number as SQLite would, and the numbers.

    >>> spelt_numbers(["12", "-0.5", "007", "1.0", "1e5", "twelve"])
    {'12': 12, '-0.5': -0.5}
    """
    candidates = [text for text in texts if _NUMERIC.fullmatch(text)]
    if not candidates:
        return {}
    connection = sqlite3.connect(":memory:")
    try:
        found = connection.execute(
            "SELECT value, CAST(value AS NUMERIC) FROM json_each(?)"
            " WHERE CAST(CAST(value AS NUMERIC) AS TEXT) = value",
            (json.dumps(candidates),),
        )
        return dict(found.fetchall())
    finally:
        connection.close()


def build_column(n_documents: int, chunks: Iterable[Sequence[tuple[int, str]]]) -> Column:
    """The column of a field, from (document, JSON list that begins with the field's value).

    Documents come in ascending order; `null` says that there is nothing.

    >>> column = build_column(3, [[(0, '[["b", "a"]]'), (1, "[null]")], [(2, '["a"]')]])
    >>> column.values, column.codes.tolist(), column.owners.tolist()
    (('a', 'b'), [1, 0, 0], [0, 0, 2])
    """
    known: dict[str, int] = {}  # JSON -> its number: each is parsed once
    numbers: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    documents: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    for chunk in filter(None, chunks):
        ordinals, texts = zip(*chunk, strict=True)
        for text in set(texts) - known.keys():
            known[text] = len(known)
        numbers.append(np.fromiter(map(known.__getitem__, texts), np.int64, len(texts)))
        documents.append(np.array(ordinals, np.int64))
    parsed = [value[0] for value in json.loads(f"[{','.join(known)}]")]
    members = [(value,) if type(value) is str else _keys(value) for value in parsed]
    keys = _ordered(dict.fromkeys(chain.from_iterable(members)))
    code = {key: number for number, key in enumerate(keys)}
    flat = np.fromiter((code[key] for key in chain.from_iterable(members)), np.uint32)
    counts = np.fromiter(map(len, members), np.int64, len(members))
    which, document = np.concatenate(numbers), np.concatenate(documents)
    sizes = counts[which]
    starts = (np.cumsum(counts) - counts)[which]
    places = np.arange(sizes.sum()) + np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)
    present = np.zeros(n_documents, np.bool_)
    there = np.fromiter((value is not None for value in parsed), np.bool_, len(parsed))
    present[document[there[which]]] = True
    owners = np.repeat(document, sizes).astype(np.uint32)
    return Column(tuple(_value(key) for key in keys), flat[places], owners, present)


def _keys(value: Any) -> tuple[object, ...]:
    """The distinct values of a JSON value, as keys of a dict."""
    members = value if isinstance(value, list) else (value,)
    return tuple(dict.fromkeys(_key(m) for m in members if isinstance(m, str | int | float)))


def _ordered(keys: Iterable[object]) -> list[Any]:
    """Keys in the order of their values; each kind by itself, which is faster than `sort_key`."""
    kinds: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
    for key in keys:
        kinds[2 if type(key) is tuple else 1 if type(key) is str else 0].append(key)
    return [*sorted(kinds[0]), *sorted(kinds[1]), *sorted(kinds[2])]


def sort_key(value: Scalar) -> tuple[int, Any]:
    """Numbers before texts before truth values; each kind in its own order."""
    return _kind(value), value


def _kind(value: Scalar) -> int:
    if isinstance(value, bool):
        return 2
    return 1 if isinstance(value, str) else 0


_TRUTH = {True: ("true",), False: ("false",)}  # subtle: as a key of a dict, True is 1


def _key(value: Scalar) -> object:
    if isinstance(value, bool):
        return _TRUTH[value]
    if isinstance(value, int) and value not in _INT64:  # SQLite reads it as a float
        return float(value) if abs(value) < 2**1023 else math.copysign(math.inf, value)
    return value


def _value(key: Any) -> Scalar:
    return key == ("true",) if isinstance(key, tuple) else key
