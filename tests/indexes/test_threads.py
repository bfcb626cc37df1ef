"""How many threads a batch may have."""

from __future__ import annotations

import threading

import pytest

from indexes import threads
from indexes.threads import at_most, cores, on_threads


def test_at_most_counts_within_its_block() -> None:
    before = cores()
    with at_most(1):
        assert cores() == 1
        with at_most(10_000):
            assert cores() == before
        assert cores() == 1
    assert cores() == before
    with pytest.raises(ValueError, match="illegal number of threads: 0"), at_most(0):
        pass


def test_answers_come_in_order_and_alone_on_the_callers_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "_available", lambda: 3)
    parts = list(range(20))
    assert on_threads(lambda part: part * part, parts) == [part * part for part in parts]
    with at_most(1):
        assert set(on_threads(lambda part: threading.get_ident(), parts)) == {threading.get_ident()}
    assert threading.get_ident() not in on_threads(lambda part: threading.get_ident(), parts)
