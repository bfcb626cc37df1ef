"""Makes columns of metadata, all fields at once, or of the columns of several segments.

Documents are taken by the thousand: those with the same keys together, each field's values of one
type together, so that Python's own loops do the work.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns import Column, Columns, Field, Integers, Values, make_column
from .metadata import INT64
from .moments import comparable, moment

MANY_FIELDS = 1000  # of a segment; further ones are left out
LONG = 128  # bytes of different texts a document, on average: such a field is left out

Chunk = tuple[Integers, Sequence[str]]  # documents, and the metadata of each as JSON
_SCALARS = (str, int, float, bool)


def build_columns(
    n_documents: int, chunks: Iterable[Chunk], only: Collection[Field] | None = None
) -> Columns:
    """The columns of all fields, or of `only` these, however long their texts.

    Raises ValueError, TypeError for metadata that is no JSON object.

    >>> made = build_columns(2, [(np.array([0, 1]), ['{"x": ["b", "a"]}', '{"y": {"z": 1}}'])])
    >>> {field: [column.values[i] for i in range(len(column.values))]
    ...  for field, column in made.by_field.items()}
    {('x',): ['a', 'b'], ('y',): [], ('y', 'z'): [1]}
    """
    gathering = _Gathering(n_documents, only)
    for documents, texts in chunks:
        objects = json.loads(f"[{','.join(texts)}]")
        if len(objects) != len(texts) or set(map(type, objects)) - {dict}:
            raise ValueError("metadata is no JSON object")
        gathering.take((), documents, objects)
    return gathering.columns()


@dataclass
class _Gathered:
    """What was seen of one field: by type, distinct values and who has which."""

    tables: dict[type, dict[Any, int]] = field(
        default_factory=lambda: {str: {}, int: {}, bool: {}}  # int: of all numbers
    )
    entries: dict[type, list[tuple[Integers, NDArray[np.int32]]]] = field(
        default_factory=lambda: {str: [], int: [], bool: []}
    )
    there: list[Integers] = field(default_factory=list)  # who has a list or an object
    bytes: int = 0  # of distinct texts

    def scalars(self, kind: type, documents: Integers, values: Sequence[Any]) -> None:
        """Take in one value a document, all of one type."""
        table = self.tables[kind]
        new = set(values) - table.keys()
        table.update(zip(new, range(len(table), len(table) + len(new)), strict=True))
        if kind is str:
            self.bytes += len("".join(new).encode())
        found = np.fromiter(map(table.__getitem__, values), np.int32, len(values))
        self.entries[kind].append((documents, found))


class _Gathering:
    def __init__(self, n_documents: int, only: Collection[Field] | None) -> None:
        self._n_documents, self._only = n_documents, only
        self._fields: dict[Field, _Gathered | None] = {}  # None: left out
        self._complete = True

    def take(self, above: Field, documents: Integers, objects: Sequence[dict[str, Any]]) -> None:
        """Take in the members of one object a document, in which field `above` leads to it."""
        alike: dict[tuple[str, ...], list[int]] = {}
        for place, keys in enumerate(map(tuple, objects)):
            alike.setdefault(keys, []).append(place)
        for keys, places in alike.items():
            some = documents[places]
            members = zip(*(objects[place].values() for place in places), strict=True)
            for key, values in zip(keys, members, strict=False):  # no keys: no values
                self._add((*above, key), some, values)

    def columns(self) -> Columns:
        found = {
            path: self._column(gathered) for path, gathered in self._fields.items() if gathered
        }
        left_out = frozenset(self._fields.keys() - found.keys())
        made = {path: column for path, column in found.items() if column.present.any()}
        return Columns(made, left_out if self._complete else None)

    def _add(self, path: Field, documents: Integers, values: Sequence[Any]) -> None:
        if self._only is not None and path not in self._only:
            if any(path == wanted[: len(path)] for wanted in self._only):
                below = [type(value) is dict for value in values]
                self.take(path, documents[below], list(compress(values, below)))
            return
        if path not in self._fields:
            if len(self._fields) >= MANY_FIELDS and self._only is None:
                self._complete = False
                return
            self._fields[path] = _Gathered()
        gathered = self._fields[path]
        if gathered is None:
            return
        for kind, some, part in _by_type(documents, values):
            if kind is dict or kind is list:
                gathered.there.append(some)
            if kind is dict:
                self.take(path, some, part)
            elif kind is list:
                sizes = np.fromiter(map(len, part), np.int64, len(part))
                owners, members = np.repeat(some, sizes), list(chain.from_iterable(part))
                for inner, whose, scalars in _by_type(owners, members):
                    if inner in _SCALARS:
                        gathered.scalars(int if inner is float else inner, whose, scalars)
            elif kind in _SCALARS:
                gathered.scalars(int if kind is float else kind, some, part)
        if gathered.bytes > LONG * self._n_documents and self._only is None:
            self._fields[path] = None

    def _column(self, gathered: _Gathered) -> Column:
        texts, numbers, truths = (list(gathered.tables[kind]) for kind in (str, int, bool))
        moments = any(moment(text) not in (None, text) for text in texts)
        found = [_number(number) for number in numbers]
        values, places = _distinct(texts, found, truths, moments=moments)
        documents, codes = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for kind, new in zip((str, int, bool), places, strict=True):
            for some, old in gathered.entries[kind]:
                documents.append(some)
                codes.append(new[old])
        there = np.concatenate([np.empty(0, np.int64), *gathered.there])
        return make_column(
            self._n_documents, values, np.concatenate(documents), np.concatenate(codes), there
        )


def _by_type(
    documents: Integers, values: Sequence[Any]
) -> Iterator[tuple[type, Integers, Sequence[Any]]]:
    kinds = list(map(type, values))
    for kind in set(kinds):
        if kinds.count(kind) == len(kinds):
            yield kind, documents, values
        else:
            marks = [found is kind for found in kinds]
            yield kind, documents[marks], list(compress(values, marks))


def _number(value: float) -> int | float:
    """One of all equal numbers: whole ones within 64 bits are int, as SQLite takes JSON."""
    if isinstance(value, int):
        if value in INT64:
            return value
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    return int(value) if value.is_integer() and int(value) in INT64 else value


def _distinct(
    texts: Sequence[str], numbers: Sequence[int | float], truths: Sequence[bool], *, moments: bool
) -> tuple[Values, tuple[Integers, Integers, Integers]]:
    """Values in order, and the codes that those given have among them."""
    of_texts = sorted(set(texts), key=(lambda t: (comparable(t), t)) if moments else None)
    of_numbers, of_truths = sorted(set(numbers)), sorted(set(truths))
    values = Values.of(of_numbers, [t.encode() for t in of_texts], of_truths, moments=moments)
    places, start = [], 0
    for ordered, given in ((of_numbers, numbers), (of_texts, texts), (of_truths, truths)):
        code = {value: number for number, value in enumerate(ordered, start)}
        places.append(np.fromiter((code[value] for value in given), np.int64, len(given)))
        start += len(ordered)
    return values, (places[1], places[0], places[2])


# --- columns of columns


@dataclass(frozen=True)
class Part:
    """Some documents' columns; `new` int64 (n,): each one's number among all, -1 for none."""

    columns: Columns
    new: Integers


def combined_columns(n_documents: int, parts: Sequence[Part]) -> Columns:
    """The columns of the documents of all parts. A field left out of one part is left out."""
    fields = dict.fromkeys(chain.from_iterable(part.columns.by_field for part in parts))
    left_out: frozenset[Field] | None = frozenset()
    for part in parts:
        other = part.columns.left_out
        left_out = None if left_out is None or other is None else left_out | other
    made: dict[Field, Column] = {}
    for path in fields:
        found = [(part.columns.get(path, len(part.new)), part.new) for part in parts]
        columns = [(column, new) for column, new in found if column is not None]
        if len(columns) < len(found):
            left_out = None if left_out is None else left_out | {path}
            continue
        column = combined(n_documents, columns)
        long = len(column.values.texts) > LONG * n_documents
        if long or len(made) >= MANY_FIELDS:
            left_out = None if left_out is None or not long else left_out | {path}
        elif column.present.any():
            made[path] = column
    return Columns(made, left_out)


def combined(n_documents: int, parts: Sequence[tuple[Column, Integers]]) -> Column:
    """The column of the documents of several columns; for their new numbers see `Part`."""
    documents, codes = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    there = [np.empty(0, np.int64)]
    used: list[tuple[Values, Integers]] = []
    for column, new in parts:
        owners, held = column.entries()
        owners = new[owners]
        held, owners = held[owners >= 0], owners[owners >= 0]
        mark = np.bincount(held, minlength=len(column.values)) > 0
        used.append((column.values, np.flatnonzero(mark)))
        documents.append(owners)
        codes.append((np.cumsum(mark) - 1)[held])
        present = new[np.flatnonzero(column.present)]
        there.append(present[present >= 0])
    values, mapped = _union(used)
    renamed = [place[part] for place, part in zip(mapped, codes[1:], strict=True)]
    return make_column(
        n_documents,
        values,
        np.concatenate(documents),
        np.concatenate([codes[0], *renamed]),
        np.concatenate(there),
    )


def _union(used: Sequence[tuple[Values, Integers]]) -> tuple[Values, list[Integers]]:
    """The values that are used of several, in order, and the new codes of each."""
    texts: list[str] = []
    numbers: list[int | float] = []
    truths: list[bool] = []
    cuts = []
    for values, codes in used:
        first, second = np.searchsorted(
            codes, [values.n_numbers, values.n_numbers + values.n_texts]
        )
        numbers += values.some_numbers(codes[:first])
        texts += values.some_texts(codes[first:second])
        truths += [bool(values[code]) for code in codes[second:].tolist()]
        cuts.append((first, second - first, len(codes) - second))
    moments = (
        any(moment(text) not in (None, text) for text in texts)
        if any(values.moments for values, _ in used)
        else False
    )
    merged, places = _distinct(texts, numbers, truths, moments=moments)
    ends = [np.cumsum(part)[:-1] for part in zip(*cuts, strict=True)]
    of_texts, of_numbers, of_truths = (
        np.split(part, end) for part, end in zip(places, (ends[1], ends[0], ends[2]), strict=True)
    )
    parts = zip(of_numbers, of_texts, of_truths, strict=True)
    return merged, [np.concatenate(part) for part in parts]
