from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import WORDS

from searchlib.encoders.backbone import groups_of
from searchlib.encoders.batching import Pool, batches, windows
from searchlib.encoders.dense import DenseEncoder
from searchlib.encoders.native import LONG
from searchlib.encoders.pruning import Pruning
from searchlib.encoders.sparse import SparseEncoder
from searchlib.encoders.tokenizing import Ids
from searchlib.errors import BadInput


@given(st.lists(st.integers(0, 600), max_size=60), st.integers(1, 1000))
def test_batches_hold_every_row_once_within_the_budget(lengths: list[int], budget: int) -> None:
    found = batches(lengths, budget)
    assert sorted(row for batch in found for row in batch) == list(range(len(lengths)))
    for batch in found:
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= budget
    longest = [lengths[row] for batch in found for row in batch]
    assert longest == sorted(longest, reverse=True)


@given(st.lists(st.integers(1, 600), max_size=60), st.integers(1, 4))
def test_groups_hold_every_text_once_and_none_is_too_large(
    lengths: list[int], workers: int
) -> None:
    found = groups_of(lengths, workers)
    assert sorted(row for group in found for row in group) == list(range(len(lengths)))
    for group in found:
        sizes = [lengths[row] for row in group]
        assert len(group) == 1 or sum(sizes) <= min(128, -(-sum(lengths) // workers))
        assert len(group) <= 16
        assert min(sizes) >= LONG or max(sizes) < LONG


def test_what_is_made_of_a_text_does_not_hang_on_those_it_is_together_with(
    tiny_dense: Path, tiny_sparse: Path
) -> None:
    rng = np.random.default_rng(0)
    words = [word for word in WORDS if word.isalpha()]
    texts = [" ".join(rng.choice(words, size)) for size in rng.integers(1, 50, 40).tolist()]
    dense, sparse = DenseEncoder(tiny_dense), SparseEncoder(tiny_sparse)
    together = dense.encode_document(texts)
    terms = sparse.encode_document(texts)
    for row, text in enumerate(texts):
        assert np.array_equal(dense.encode_document([text])[0], together[row])
        assert sparse.encode_document([text]).row(0) == terms.row(row)
    assert np.array_equal(dense.encode_document(texts[::-3]), together[::-3])


def test_windows_tokenise_ahead_in_order() -> None:
    seen: list[int] = []

    def tokenize(part: Sequence[str]) -> list[Ids]:
        seen.append(len(part))
        return [np.asarray([int(text)], np.int32) for text in part]

    texts = [str(i) for i in range(10)]
    found = [
        (start, [int(ids[0]) for ids in tokens]) for start, tokens in windows(texts, tokenize, 4)
    ]
    assert found == [(0, [0, 1, 2, 3]), (4, [4, 5, 6, 7]), (8, [8, 9])]
    assert seen == [4, 4, 2]
    assert list(windows([], tokenize)) == []


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_shrink_when_memory_runs_out(workers: int) -> None:
    tried: list[int] = []
    released: list[None] = []

    def work(worker: int, rows: list[int]) -> int:
        tried.append(len(rows))
        if len(rows) > 3:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return sum(rows)

    pool: Pool[int] = Pool(workers, lambda: released.append(None))
    todo = [list(range(start, start + 8)) for start in range(0, 32, 8)]
    found = list(pool.run(todo, [5] * 32, work))
    assert sorted(row for rows, _ in found for row in rows) == list(range(32))
    assert all(total == sum(rows) for rows, total in found)
    assert released
    tried.clear()
    assert len(list(pool.run([list(range(8))], [5] * 8, work))) == 4  # learnt: no failure now
    assert max(tried) <= 3


def test_one_text_that_does_not_fit() -> None:
    def work(worker: int, rows: list[int]) -> None:
        raise MemoryError

    with pytest.raises(MemoryError, match="a text of 7 tokens"):
        list(Pool(1).run([[0, 1]], [7, 7], work))


@pytest.mark.parametrize("workers", [1, 4])
def test_other_errors_come_out_and_stop_the_work(workers: int) -> None:
    done: list[list[int]] = []

    def work(worker: int, rows: list[int]) -> None:
        if rows == [2]:
            raise RuntimeError("something else")
        time.sleep(0.005)
        done.append(rows)

    with pytest.raises(RuntimeError, match="something else"):
        list(Pool(workers).run([[i] for i in range(1000)], [1] * 1000, work))
    assert len(done) < 100


def test_workers_share_the_batches_and_are_prepared_once() -> None:
    prepared: list[int] = []
    used: set[int] = set()
    barrier = threading.Barrier(3, timeout=20)

    def work(worker: int, rows: list[int]) -> int:
        if rows[0] < 3:
            barrier.wait()  # passes only if three run at once
        used.add(worker)
        return worker

    pool: Pool[int] = Pool(3)
    found = list(
        pool.run(
            [[i] for i in range(9)], [1] * 9, work, lambda: prepared.append(threading.get_ident())
        )
    )
    assert len(found) == 9
    assert used == {0, 1, 2}
    assert len(prepared) == len(set(prepared)) == 3


def test_stopping_early_ends_the_workers() -> None:
    before = threading.active_count()
    running = Pool[None](2).run(
        [[i] for i in range(500)], [1] * 500, lambda w, r: time.sleep(0.002)
    )
    next(running)
    running.close()
    assert threading.active_count() == before


@given(
    st.lists(st.floats(0.015625, 8, width=32), max_size=30),
    st.one_of(st.none(), st.integers(1, 10)),
    st.floats(0, 3),
    st.floats(0, 1),
)
def test_pruning_keeps_the_heaviest(
    values: list[float], top_k: int | None, threshold: float, ratio: float
) -> None:
    weights = np.asarray(values, np.float32)
    ids = np.arange(len(weights), dtype=np.int32) * 3
    kept, left = Pruning(top_k, threshold, ratio)(ids, weights)
    np.testing.assert_array_equal(left, weights[np.searchsorted(ids, kept)])
    assert kept.tolist() == sorted(kept.tolist())
    passing = [w for w in weights if w > threshold and w >= np.float32(ratio) * weights.max()]
    if threshold == 0 and ratio == 0:
        passing = list(weights)
    assert sorted(left, reverse=True) == sorted(passing, reverse=True)[:top_k]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"top_k": 0}, "illegal top_k value: 0"),
        ({"threshold": -1.0}, "illegal threshold value: -1.0"),
        ({"threshold": float("nan")}, "illegal threshold value: nan"),
        ({"ratio": 1.5}, "illegal ratio value: 1.5"),
        ({"ratio": "0.1"}, "illegal ratio value: '0.1', must be a finite number"),
    ],
)
def test_illegal_pruning(values: dict[str, float], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Pruning(**values)  # type: ignore[arg-type]
