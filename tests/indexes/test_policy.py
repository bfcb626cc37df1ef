"""The merge policy: few segments, nothing rewritten too often, nothing too large; it ends."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexes.policy import (
    FEW,
    FLOOR,
    MAX_DEAD,
    Policy,
    Size,
    all_merges,
    all_rewrites,
    choose_merges,
    small_merges,
    tidy_merges,
)

POLICIES: list[Policy] = [choose_merges, small_merges, tidy_merges, all_merges, all_rewrites]
BIG = 2**40


@st.composite
def _sizes(draw: st.DrawFn) -> Size:
    alive, dead = draw(st.integers(1, 1000)), draw(st.sampled_from([0, 0, 0, 1, 10, 1000]))
    return Size(alive, dead, draw(st.integers(0, 30)) * 2 ** draw(st.integers(0, 24)))


def merged(sizes: list[Size], groups: list[list[int]]) -> tuple[list[Size], int]:
    """The segments that there are then, and how many bytes were written."""
    chosen = [i for group in groups for i in group]
    assert len(set(chosen)) == len(chosen), "a segment is in two groups"
    kept = [size for i, size in enumerate(sizes) if i not in chosen]
    made = [
        Size(sum(sizes[i].alive for i in g), 0, sum(sizes[i].live_bytes for i in g)) for g in groups
    ]
    return kept + made, sum(size.bytes for size in made)


def until_content(policy: Policy, sizes: list[Size], limit: int) -> tuple[list[Size], int]:
    """What is left when the policy wants nothing more; fails if that takes too long."""
    written = 0
    for _ in range(3 * len(sizes) + 3):
        groups = policy(sizes, limit)
        if not groups:
            return sizes, written
        sizes, some = merged(sizes, groups)
        written += some
    pytest.fail("the policy is never content")


@settings(deadline=None)
@given(st.sampled_from(POLICIES), st.lists(_sizes(), max_size=30), st.integers(1, 2**30))
def test_it_ends_and_respects_the_limit(policy: Policy, sizes: list[Size], limit: int) -> None:
    groups = policy(sizes, limit)
    for group in groups:
        assert group == sorted(set(group))
        assert len(group) == 1 or sum(sizes[i].live_bytes for i in group) <= limit
        assert len(group) > 1 or sizes[group[0]].dead
    until_content(policy, sizes, limit)


@settings(deadline=None)
@given(st.lists(_sizes(), max_size=30), st.integers(1, 2**30))
def test_what_is_left_is_few_and_alive(sizes: list[Size], limit: int) -> None:
    left, _ = until_content(choose_merges, sizes, limit)
    assert all(size.dead <= MAX_DEAD * (size.alive + size.dead) for size in left)
    small = sorted(size.live_bytes for size in left if size.live_bytes <= limit // 2)
    total = sum(small)
    assert len(small) <= FEW + max(0, math.log2(max(total, 1) / FLOOR) / 2 + 1) or (
        small[0] + small[1] > limit
    )
    left, _ = until_content(all_rewrites, sizes, limit)
    assert not any(size.dead for size in left)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.integers(1, 400))
def test_nothing_is_rewritten_too_often(commits: list[int], rounds: int) -> None:
    """Commits of any sizes, again and again: each byte is written about log n times."""
    sizes: list[Size] = []
    added = written = 0
    for _ in range(rounds):
        for size in commits:
            sizes.append(Size(size, 0, size * 1000))
            added += size * 1000
            sizes, some = until_content(choose_merges, sizes, BIG)
            written += some
            assert len(sizes) <= FEW + max(0, math.log2(added / FLOOR) / 2 + 1)
    n = rounds * len(commits)
    assert written <= added * (2 * math.log2(n + 1) + 4)


def test_amplification_stays_logarithmic_far_out() -> None:
    """20,000 commits of one size."""
    sizes: list[Size] = []
    written = 0
    for _ in range(20_000):
        sizes.append(Size(20, 0, 8000))
        sizes, some = until_content(choose_merges, sizes, BIG)
        written += some
    assert written / (20_000 * 8000) <= 2 * math.log2(20_000)
    assert len(sizes) <= FEW + 3


def test_a_finished_batch_leaves_next_to_nothing_small() -> None:
    sizes: list[Size] = []
    for _ in range(1000):
        sizes.append(Size(20, 0, 8000))
        sizes, _ = until_content(choose_merges, sizes, BIG)
    left, _ = until_content(tidy_merges, sizes, BIG)
    assert len(left) <= 2
    assert max(size.bytes for size in left) >= 0.98 * 8_000_000


def test_few_segments_are_left_alone() -> None:
    assert choose_merges([Size(10, 0, 100)] * FEW, 10**6) == []
    assert small_merges([Size(10, 0, 10**7)] * 9, 10**9) == []


def test_large_segments_are_left_alone() -> None:
    assert choose_merges([Size(10, 0, 60)] * 20, 100) == []


def test_small_ones_merge_and_the_big_one_stays() -> None:
    sizes = [Size(10**6, 0, 10**6), *[Size(1, 0, 10)] * 8]
    assert choose_merges(sizes, 10**8) == [[1, 2, 3, 4, 5, 6, 7, 8]]


def test_half_dead_segments_are_rewritten() -> None:
    assert choose_merges([Size(10, 0, 100), Size(4, 6, 100), Size(9, 1, 100)], 10**6) == [[1]]
    assert all_merges([Size(9, 1, 80)], 100) == [[0]]
    assert all_merges([Size(9, 0, 80), Size(9, 0, 30), Size(9, 0, 60)], 100) == [[1, 2]]
