"""Filters over columns: the same meaning as `filter_sql`, which the tests hold it to."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from .columns import Column
from .filters import All, Any_, Exists, Filter, Match, Not, Order, Prefix
from .metadata import storable

Bools = NDArray[np.bool_]
Comparison = Match | Order | Prefix | Exists


def combined(filter: Filter, test: Callable[[Comparison], Bools]) -> Bools:
    """Which documents a filter selects, when `test` tells it of each comparison in it."""
    if isinstance(filter, Not):
        return ~combined(filter.part, test)
    if isinstance(filter, All):
        return reduce(np.logical_and, (combined(part, test) for part in filter.parts))
    if isinstance(filter, Any_):
        return reduce(np.logical_or, (combined(part, test) for part in filter.parts))
    return test(filter)


def comparisons_of(filter: Filter) -> Iterator[Comparison]:
    """Every comparison in a filter."""
    if isinstance(filter, All | Any_):
        for part in filter.parts:
            yield from comparisons_of(part)
    elif isinstance(filter, Not):
        yield from comparisons_of(filter.part)
    else:
        yield filter


def selected(test: Comparison, column: Column) -> Bools:
    """Which documents meet a comparison of the column's field, bool (n_documents,)."""
    if isinstance(test, Exists):
        return column.present
    if isinstance(test, Match) and test.values == (None,):
        return ~column.present
    wanted = np.zeros(len(column.values), np.bool_)
    if isinstance(test, Prefix):
        _want_prefix(storable(test.text), column, wanted)
    elif isinstance(test, Order):
        _want_order(test, column, wanted)
    else:
        for value in test.values:
            if value is not None:
                _want_equal(value, column, wanted)
        if None in test.values:
            return column.documents(wanted) | ~column.present
    return column.documents(wanted)


def _want_prefix(text: str, column: Column, wanted: Bools) -> None:
    low, end = column.place(text), column.n_numbers + column.n_texts
    # texts that begin with it follow each other
    high = bisect_left(column.values, True, low, end, key=lambda v: not str(v).startswith(text))
    wanted[low:high] = True


def _want_order(test: Order, column: Column, wanted: Bools) -> None:
    value = storable(test.value) if isinstance(test.value, str) else test.value
    below = test.operator in ("<", "<=")
    after = test.operator in ("<=", ">")
    place = column.place(value, after=after)
    if isinstance(value, str):
        ends = (column.n_numbers, column.n_numbers + column.n_texts)
    else:
        ends = (0, column.n_numbers)
        numbers, codes = column.spelt
        at = (bisect_right if after else bisect_left)(numbers, value)
        wanted[codes[:at] if below else codes[at:]] = True
    wanted[slice(ends[0], place) if below else slice(place, ends[1])] = True


def _want_equal(value: str | int | float | bool, column: Column, wanted: Bools) -> None:
    if isinstance(value, bool):
        for code in range(column.n_numbers + column.n_texts, len(wanted)):
            wanted[code] |= column.values[code] is value
        return
    if isinstance(value, str):
        value = storable(value)
    else:
        numbers, codes = column.spelt
        wanted[codes[bisect_left(numbers, value) : bisect_right(numbers, value)]] = True
    wanted[column.place(value) : column.place(value, after=True)] = True
