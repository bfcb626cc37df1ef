"""What was made of an object, kept for as long as the very same object is asked about."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Made = TypeVar("Made")

REMEMBERED = 16  # objects


class Remembered(Generic[Asked, Made]):
    """Remembers what was made of the `most` objects that came last; nobody may change these."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._most = most
        self._known: OrderedDict[int, tuple[Asked, Made]] = OrderedDict()

    def of(self, asked: Asked, make: Callable[[Asked], Made]) -> Made:
        """What `make` made of this object, now or before."""
        known = self._known.get(id(asked))
        if known is None or known[0] is not asked:  # subtle: ids are used again
            known = asked, make(asked)
            self._known[id(asked)] = known
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        return known[1]
