"""Marked rows (those alive, those a filter lets through) as the inverted file needs them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]

REMEMBERED = 16  # sets of marked rows


@dataclass(frozen=True)
class Marked:
    """Rows marked in one segment, in their own order and in the order of storage."""

    rows: Bools  # (n_rows,)
    places: Bools  # (n_rows,)
    count: int
    counts: dict[int, int] = field(default_factory=dict)  # term number -> marked rows that hold it


class Marks:
    """Remembers what was made of the arrays of marks asked for last; nobody may change them."""

    def __init__(self, order: NDArray[np.uint32] | None) -> None:
        self._order = order
        self._known: OrderedDict[int, Marked] = OrderedDict()

    def of(self, rows: Bools) -> Marked:
        """Marks of rows (n_rows,)."""
        marked = self._known.get(id(rows))
        if marked is None or marked.rows is not rows:
            places = rows if self._order is None else rows[self._order]
            marked = Marked(rows, np.ascontiguousarray(places), int(np.count_nonzero(rows)))
            self._known[id(rows)] = marked
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return marked
