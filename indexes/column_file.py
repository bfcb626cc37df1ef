"""Columns as a file of arrays, written with a segment and mapped when it is opened.

    fields       JSON: {"complete", "columns": [{"field", "moments"}], "left_out": [field]}
    <i>.codes, <i>.owners, <i>.there           see `columns.Column`; bits of `there`
    <i>.numbers, <i>.reals                     see `columns.Values`
    <i>.texts, <i>.text_sizes, <i>.text_starts
    <i>.truths

Of column i, arrays that would be empty, or say what is so without them, are not there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns import Column, Columns, Field, Values, empty_column
from .errors import Damaged
from .offsets import SIZES, Offsets

WRITTEN_FROM = 1000  # documents of a segment; of fewer, columns are made in a few milliseconds
_DTYPES = {
    "codes": ("|u1", "<u2", "<u4"),
    "owners": ("<u4",),
    "there": ("|u1",),
    "numbers": ("<i8",),
    "reals": ("|u1",),
    "texts": ("|u1",),
    "text_sizes": SIZES,
    "text_starts": ("<u4",),
    "truths": ("|u1",),
}
Arrays = Mapping[str, NDArray[Any]]


def column_arrays(columns: Columns) -> dict[str, NDArray[Any]]:
    """The arrays of the file."""
    left_out = columns.left_out
    fields = {
        "complete": left_out is not None,
        "columns": [
            {"field": field, "moments": column.values.moments}
            for field, column in columns.by_field.items()
        ],
        "left_out": sorted(left_out or ()),
    }
    arrays: dict[str, NDArray[Any]] = {
        "fields": np.frombuffer(json.dumps(fields).encode(), np.uint8)
    }
    for number, column in enumerate(columns.by_field.values()):
        values = column.values
        parts: dict[str, NDArray[Any] | None] = {
            "codes": column.codes,
            "owners": column.owners,
            "there": None if column.there is None else np.packbits(column.there),
            "numbers": values.numbers if values.n_numbers else None,
            "reals": values.reals.astype(np.uint8) if values.reals.any() else None,
            "truths": values.truths if len(values.truths) else None,
        }
        if values.n_texts:
            sizes, starts = values.offsets.sizes, values.offsets.starts
            parts |= {"texts": values.texts, "text_sizes": sizes, "text_starts": starts}
        arrays |= {f"{number}.{key}": part for key, part in parts.items() if part is not None}
    return arrays


class ColumnFile:
    """The columns of a file's arrays, each opened when it is asked for.

    Raises Damaged, naming the file, where they are garbled; the order of values is checked by
    `verify` only, which makes them anew.
    """

    def __init__(self, arrays: Arrays, n_documents: int, name: str) -> None:
        self._arrays, self._n_documents, self.name = arrays, n_documents, name
        try:
            fields = json.loads(bytes(arrays["fields"]))
            listed = [(_field(c["field"]), bool(c["moments"])) for c in fields["columns"]]
            left_out = frozenset(map(_field, fields["left_out"]))
            self._numbers = {field: number for number, (field, _) in enumerate(listed)}
            self._moments = [moments for _, moments in listed]
            self._left_out = left_out if fields["complete"] is True else None
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise Damaged(f"{name}: the fields are garbled ({error!r})") from error

    def get(self, field: Field) -> Column | None:
        """The column of a field; None if it was left out."""
        number = self._numbers.get(field)
        if number is not None:
            return self._open(number)
        known = self._left_out is not None and field not in self._left_out
        return empty_column(self._n_documents) if known else None

    def all(self) -> Columns:
        """Every column."""
        found = {field: self._open(number) for field, number in self._numbers.items()}
        return Columns(found, self._left_out)

    def _open(self, number: int) -> Column:
        n = self._n_documents
        try:
            values = self._values(number)
            codes, owners, bits = (self._array(number, key) for key in ("codes", "owners", "there"))
            if codes is None:
                raise ValueError("no codes")
            largest = int(codes.max(initial=0))
            there = None if bits is None else np.unpackbits(bits, count=n).astype(np.bool_)
            if bits is not None and len(bits) != (n + 7) // 8:
                raise ValueError("presence of other documents")
            if owners is None:
                if len(codes) != n or largest > len(values):
                    raise ValueError("codes of other documents or values")
            elif len(codes) != len(owners) or (
                len(codes)
                and (largest >= len(values) or owners[-1] >= n or (owners[1:] < owners[:-1]).any())
            ):
                raise ValueError("codes of other documents or values")
            return Column(values, codes, owners, there, n)
        except (ValueError, LookupError, TypeError) as error:
            raise Damaged(f"{self.name}: a column is garbled ({error})") from error

    def _values(self, number: int) -> Values:
        numbers, reals, texts, sizes, starts, truths = (
            self._array(number, key)
            for key in ("numbers", "reals", "texts", "text_sizes", "text_starts", "truths")
        )
        numbers = np.empty(0, np.int64) if numbers is None else numbers
        texts = np.empty(0, np.uint8) if texts is None else texts
        sizes = np.empty(0, np.uint8) if sizes is None else sizes
        starts = np.zeros(1, np.uint32) if starts is None else starts
        truths = np.empty(0, np.uint8) if truths is None else truths
        marks = np.zeros(len(numbers), np.bool_) if reals is None else reals.astype(np.bool_)
        if len(marks) != len(numbers) or truths.tolist() not in ([], [0], [1], [0, 1]):
            raise ValueError("values of no kind")
        offsets = Offsets(sizes, starts, len(texts))
        first = offsets.all()[:-1]
        bytes(texts).decode()
        if (texts[first[first < len(texts)]] & 0xC0 == 0x80).any():
            raise ValueError("texts begin within a character")
        return Values(numbers, marks, texts, offsets, truths, moments=self._moments[number])

    def _array(self, number: int, key: str) -> NDArray[Any] | None:
        array = self._arrays.get(f"{number}.{key}")
        if array is not None and (array.ndim != 1 or array.dtype.str not in _DTYPES[key]):
            raise ValueError(f"array {key!r} is of the wrong type")
        return array


def _field(names: Any) -> Field:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TypeError("a field is a list of names")
    return tuple(names)
