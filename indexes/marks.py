"""Marked rows (those alive, those a filter lets through) as the inverted file needs them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .remembered import Remembered

Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Marked:
    """Rows marked in one segment."""

    chosen: Bools  # (n_rows,)
    places: Bools  # (n_rows,) the same in the order of storage
    count: int
    counts: dict[int, int] = field(default_factory=dict)  # term number -> marked rows that hold it

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """The marked rows, ascending (count,)."""
        return np.flatnonzero(self.chosen)


class Marks:
    """Marks of the arrays of bools (n_rows,) that were asked for last."""

    def __init__(self, order: NDArray[np.uint32] | None) -> None:
        self._order = order
        self._known: Remembered[Bools, Marked] = Remembered()

    def of(self, rows: Bools) -> Marked:
        """Marks of rows (n_rows,)."""
        return self._known.of(rows, self._made)

    def _made(self, rows: Bools) -> Marked:
        places = rows if self._order is None else rows[self._order]
        return Marked(rows, np.ascontiguousarray(places), int(np.count_nonzero(rows)))
