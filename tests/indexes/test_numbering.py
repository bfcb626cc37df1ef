"""Numbers through all segments, against the obvious loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.numbering import Numbering
from indexes.types import Unit

COUNTS = st.lists(st.lists(st.integers(0, 3), max_size=4), min_size=1, max_size=4)


@given(COUNTS, st.data(), st.booleans())
def test_split_finds_the_segment_of_each_number(
    counts: list[list[int]], data: st.DataObject, ascending: bool
) -> None:
    numbering = Numbering([np.cumsum([0, *of], dtype=np.int64) for of in counts])
    for unit, sizes in (("document", map(len, counts)), ("passage", map(sum, counts))):
        owners = [(n, local) for n, size in enumerate(sizes) for local in range(size)]
        drawn = data.draw(st.lists(st.integers(0, len(owners) - 1), max_size=12)) if owners else []
        ids = sorted(drawn) if ascending else drawn
        found: dict[int, tuple[int, int]] = {}
        segments = []
        chosen: Unit = "document" if unit == "document" else "passage"
        for segment, places, local in numbering.split(np.array(ids, np.int64), chosen):
            segments.append(segment)
            assert len(places) == len(local) > 0
            for place, number in zip(places.tolist(), local.tolist(), strict=True):
                assert place not in found
                found[place] = segment, number
        assert segments == sorted(set(segments))
        assert found == {place: owners[id] for place, id in enumerate(ids)}


@pytest.mark.parametrize("ids", [[-1, 0], [0, 3], [3], [-1], [3, 0], [0, -1], [5, 6]])
def test_numbers_that_there_are_not_are_refused(ids: list[int]) -> None:
    numbering = Numbering([np.array([0, 1]), np.array([0, 2, 2])])
    for unit in ("document", "passage"):
        with pytest.raises(ValueError, match="between 0 and 2"):
            list(numbering.split(np.array(ids, np.int64), unit))
