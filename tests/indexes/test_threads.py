"""How many threads a batch may have."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

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


@pytest.mark.parametrize("count", [0, 1, 7, 16, 100])
def test_runs_of_items_are_answered_in_order(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 3)
    runs: list[int] = []

    def work(items: Sequence[int]) -> list[int]:
        runs.append(len(items))
        return [item * 2 for item in items]

    assert threads.in_runs(work, range(count)) == [item * 2 for item in range(count)]
    assert sum(runs) == count
    assert len(runs) == {0: 1, 1: 1, 7: 1, 16: 2, 100: 3}[count]


def test_stacks_are_small_within_the_block_only() -> None:
    before = threading.stack_size()
    with threads.small_stacks():
        assert 0 < threading.stack_size() <= 1 << 20
    assert threading.stack_size() == before


def test_stacks_are_as_they_were_after_blocks_in_several_threads() -> None:
    before = threading.stack_size()

    def enter() -> None:
        for _ in range(300):
            with threads.small_stacks():
                time.sleep(0)

    others = [threading.Thread(target=enter) for _ in range(4)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert threading.stack_size() == before
