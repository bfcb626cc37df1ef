"""Grown vectors keep the statistics of the real ones, repeat nothing, and are always the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

ROWS, WIDTH = 3000, 2000
sparse = pytest.importorskip("scipy.sparse")


@pytest.fixture
def data(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("vectors_data")


@pytest.fixture(scope="module")
def real() -> Any:
    """Vectors with topics, a Zipf-like vocabulary and 8 to 70 terms a row."""
    rng = np.random.default_rng(7)
    popularity = 1 / np.arange(1, WIDTH + 1)
    topics = rng.random((40, WIDTH)) ** 6 * popularity
    rows, columns, weights = [], [], []
    for row in range(ROWS):
        share = topics[row % 40] / topics[row % 40].sum() + 0.3 * popularity / popularity.sum()
        chosen = rng.choice(WIDTH, rng.integers(8, 71), replace=False, p=share / share.sum())
        rows += [row] * len(chosen)
        columns += chosen.tolist()
        weights += np.exp(rng.normal(-0.6, 0.9, len(chosen))).tolist()
    made = sparse.csr_matrix((np.array(weights, np.float32), (rows, columns)), (ROWS, WIDTH))
    made.sort_indices()
    return made


def distinct(rows: Any) -> int:
    return len(
        {
            (rows.indices[a:b].tobytes(), rows.data[a:b].tobytes())
            for a, b in zip(rows.indptr, rows.indptr[1:], strict=False)
        }
    )


def frequencies(rows: Any) -> Any:
    return np.bincount(rows.indices, minlength=rows.shape[1]) / rows.shape[0]


def test_grown_vectors_keep_the_statistics(data: ModuleType, real: Any) -> None:
    grown = data.grow(real, 9000)
    assert grown.nnz / 9000 == pytest.approx(real.nnz / ROWS, rel=0.02)
    before, after = frequencies(real), frequencies(grown)
    usual = before > 0.01
    assert usual.sum() > 200
    assert np.median(after[usual] / before[usual]) == pytest.approx(1, abs=0.02)
    assert np.quantile(np.abs(after[usual] / before[usual] - 1), 0.95) < 0.3
    at = (0.05, 0.25, 0.5, 0.75, 0.95)
    expected = np.quantile(real.data, at)
    assert np.quantile(grown.data, at) == pytest.approx(expected, rel=0.05)
    lengths = np.diff(grown.indptr)
    assert lengths.min() >= 1
    assert lengths.std() > 0.5 * np.diff(real.indptr).std()


def test_nothing_is_repeated(data: ModuleType, real: Any) -> None:
    assert distinct(data.short(real, 8000)) == 8000
    assert distinct(data.pool(real, 5000)) == 5000


def test_the_real_ones_come_first(data: ModuleType, real: Any) -> None:
    few, more = data.short(real, 100), data.short(real, ROWS + 50)
    assert (few != data.rounded(real[:100])).nnz == 0
    assert (more[:ROWS] != data.rounded(real)).nnz == 0
    assert more.shape == (ROWS + 50, WIDTH)
    assert (more.data == more.data.astype(np.float16)).all()


def test_a_grown_row_is_made_of_its_parents(data: ModuleType) -> None:
    """Two families without a common term: no row may mix them, and weights stay near."""
    dense = np.zeros((40, 20), np.float32)
    dense[:20, :10] = 1.0
    dense[20:, 10:] = 2.0
    grown = data.grow(sparse.csr_matrix(dense), 200).toarray()
    low, high = grown[:, :10].any(axis=1), grown[:, 10:].any(axis=1)
    assert (low ^ high).all()
    assert ((grown > 0).sum(axis=1) == 10).all()  # what all parents have is never lost
    assert np.median(grown[low][:, :10]) == pytest.approx(1, rel=0.1)
    assert np.median(grown[high][:, 10:]) == pytest.approx(2, rel=0.1)


def test_pooling_takes_the_maximum(data: ModuleType) -> None:
    """Rows {0: 1, i: 3}: term 0 makes all relatives, so a pool holds 0 and several others."""
    dense = np.zeros((30, 31), np.float32)
    dense[:, 0] = 1.0
    dense[np.arange(30), np.arange(1, 31)] = 3.0
    pooled = data.pool(sparse.csr_matrix(dense), 60, lines=(4,))
    lengths = np.diff(pooled.indptr)
    assert (pooled.toarray()[:, 0] > 0).all()
    assert lengths.max() <= 5
    assert lengths.mean() > 2.5
    assert pooled.data[pooled.indices == 0] == pytest.approx(1, rel=0.6)


def test_the_same_seed_gives_the_same_vectors(data: ModuleType, real: Any) -> None:
    for make in (data.grow, data.pool):
        first, again, other = make(real, 300), make(real, 300), make(real, 300, seed=1)
        assert (first != again).nnz == 0
        assert (first != other).nnz > 0


def test_rows_without_relatives_grow_too(data: ModuleType) -> None:
    lonely = sparse.csr_matrix(np.eye(5, dtype=np.float32))
    grown = data.grow(lonely, 20)
    assert np.diff(grown.indptr).min() >= 1
    assert distinct(grown) == 20


def test_a_file_of_something_else_is_refused(data: ModuleType, tmp_path: Path) -> None:
    from searchlib.errors import BadInput, NotFound

    path = tmp_path / "x.npz"
    with pytest.raises(NotFound, match="no such file"):
        data.load(path)
    path.write_text("no matrix")
    with pytest.raises(BadInput, match="not a sparse matrix"):
        data.load(path)
    sparse.save_npz(path, sparse.csr_matrix(-np.eye(2)))
    with pytest.raises(BadInput, match=">= 0"):
        data.load(path)
