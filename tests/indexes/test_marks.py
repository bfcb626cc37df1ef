"""Marked rows: in their own order and in that of storage, remembered for a while."""

from __future__ import annotations

import numpy as np

from indexes.marks import Marks
from indexes.remembered import REMEMBERED


def test_places_follow_the_order() -> None:
    rows = np.array([True, False, False, True])
    marked = Marks(np.array([3, 1, 0, 2], np.uint32)).of(rows)
    assert marked.places.tolist() == [True, False, True, False]
    assert marked.count == 2
    assert Marks(None).of(rows).places.tolist() == rows.tolist()


def test_the_same_array_is_looked_at_once() -> None:
    marks = Marks(None)
    rows = np.array([True, False])
    assert marks.of(rows) is marks.of(rows)
    assert marks.of(rows.copy()) is not marks.of(rows)


def test_another_array_at_the_same_address_is_no_old_friend() -> None:
    """Ids are reused as soon as an array is gone: what is remembered must keep its array."""
    marks = Marks(None)
    for i in range(100):
        assert marks.of(np.arange(5) < i % 6).count == min(5, i % 6)


def test_only_so_many_are_remembered() -> None:
    marks = Marks(None)
    first = np.zeros(3, np.bool_)
    remembered = marks.of(first)
    others = [np.ones(3, np.bool_) for _ in range(REMEMBERED)]
    for other in others:
        marks.of(other)
    assert marks.of(first) is not remembered
    assert marks.of(others[-1]) is marks.of(others[-1])
