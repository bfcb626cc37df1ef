"""Filters over columns: the same meaning as `filter_sql`, which the tests hold it to."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from .columns import Column, Values
from .filters import All, Any_, Exists, Filter, Match, Not, Order, Prefix
from .metadata import storable
from .moments import comparable

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
    values = column.values
    if isinstance(test, Prefix):
        return column.documents(values.beginning(storable(test.text)))
    wanted = np.zeros(len(values), np.bool_)
    if isinstance(test, Order):
        _want_order(test, values, wanted)
    else:
        for value in test.values:
            if value is not None:
                _want_equal(value, values, wanted)
        if None in test.values:
            return column.documents(wanted) | ~column.present
    return column.documents(wanted)


def _want_order(test: Order, values: Values, wanted: Bools) -> None:
    below = test.operator in ("<", "<=")
    after = test.operator in ("<=", ">")
    if isinstance(test.value, str):
        place = values.place(comparable(storable(test.value)), after=after)
        ends = (values.n_numbers, values.n_numbers + values.n_texts)
    else:
        place = values.place(test.value, after=after)
        ends = (0, values.n_numbers)
        numbers, codes = values.spelt
        at = (bisect_right if after else bisect_left)(numbers, test.value)
        wanted[codes[:at] if below else codes[at:]] = True
    wanted[slice(ends[0], place) if below else slice(place, ends[1])] = True


def _want_equal(value: str | int | float | bool, values: Values, wanted: Bools) -> None:
    if isinstance(value, bool):
        wanted[values.n_numbers + values.n_texts :] |= values.truths == value
        return
    if isinstance(value, str):
        value = comparable(storable(value))
    else:
        numbers, codes = values.spelt
        wanted[codes[bisect_left(numbers, value) : bisect_right(numbers, value)]] = True
    wanted[values.place(value) : values.place(value, after=True)] = True
