"""What was made of an array, kept for as long as the very same array is asked about."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from numpy.typing import NDArray

Made = TypeVar("Made")

REMEMBERED = 16  # arrays


class Remembered(Generic[Made]):
    """Remembers what was made of the arrays that came last; nobody may change these arrays."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, tuple[NDArray[Any], Made]] = OrderedDict()

    def of(self, array: NDArray[Any], make: Callable[[NDArray[Any]], Made]) -> Made:
        """What `make` made of this array, now or before."""
        known = self._known.get(id(array))
        if known is None or known[0] is not array:  # subtle: ids are used again
            known = array, make(array)
            self._known[id(array)] = known
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return known[1]
