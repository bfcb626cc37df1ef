"""The codes and the compiled scan, against the same sums written plainly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from indexes.pq import BLOCK, Codes, build_codes, kernel

Arrays = dict[str, NDArray[Any]]
Instructions = Literal["plain", "avx2", "avx512"]
ALL: tuple[Instructions, ...] = ("plain", "avx2", "avx512")

pytestmark = pytest.mark.skipif(kernel() is None, reason="built without a compiler")


@pytest.fixture(params=ALL)
def scan(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The kernels of each instruction set that this machine has."""
    made = kernel()
    assert made is not None
    if not made.use(request.param):
        pytest.skip(f"this processor has no {request.param}")
    yield made
    for name in ALL:  # the best one again
        made.use(name)


def clustered(n: int, dim: int, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((20, dim)) * np.linspace(2, 0.2, dim)
    return (centres[rng.integers(0, 20, n)] + rng.standard_normal((n, dim))).astype(np.float32)


def numbers_of(arrays: Arrays, n: int) -> NDArray[np.int64]:
    """The centroid of each row and subspace (n, m), read off the format row by row.

    Byte 64z + 2i + h of a line is row 64z + 32h + i of its block.
    """
    codes = arrays["codes"]
    found = np.empty((n, 2 * codes.shape[1]), np.int64)
    for row in range(n):
        z, h, i = row % BLOCK // 64, row % 64 // 32, row % 32
        bytes_of_row = codes[row // BLOCK, :, 64 * z + 2 * i + h]
        found[row, ::2], found[row, 1::2] = bytes_of_row & 15, bytes_of_row >> 4
    return found


def sums_of(arrays: Arrays, query: NDArray[np.float32], n: int) -> NDArray[np.int64]:
    """Each row's sum of rounded products with a query."""
    centroids = arrays["centroids"]
    m, width, _ = centroids.shape
    rotated = (query @ arrays["rotation"]).reshape(m, width, 1)
    products = np.zeros((m, 16), np.float32)
    for axis in range(width):
        products += rotated[:, axis] * centroids[:, axis]
    products -= products.min(axis=1, keepdims=True)
    scale = np.float32(127) / products.max()
    tables = np.minimum(np.floor(products * scale + np.float32(0.5)), 127).astype(np.int64)
    return tables[np.arange(m), numbers_of(arrays, n)].sum(axis=1)


def test_a_code_is_the_nearest_centroid() -> None:
    rows = clustered(300, 20)
    arrays = build_codes(rows)
    parts = (rows @ arrays["rotation"]).reshape(300, len(arrays["centroids"]), -1, 1)
    distances = ((parts - arrays["centroids"]) ** 2).sum(axis=2)
    chosen = np.take_along_axis(distances, numbers_of(arrays, 300)[:, :, None], 2)[:, :, 0]
    assert chosen == pytest.approx(distances.min(axis=2), abs=1e-4)


def test_directions_are_orthonormal_and_shared_out_evenly() -> None:
    rows = clustered(2000, 96)
    arrays = build_codes(rows)
    rotation = arrays["rotation"]
    used = rotation[:, np.abs(rotation).sum(axis=0) > 0]
    assert used.T @ used == pytest.approx(np.eye(used.shape[1]), abs=1e-4)
    held = ((rows - rows.mean(axis=0)) @ used).var(axis=0).sum() / rows.var(axis=0).sum()
    assert held > 0.9


@pytest.mark.parametrize("dim", [1, 5, 24, 130])
def test_nearest_equals_sorting_all_sums(scan: Any, dim: int) -> None:
    """Ties at the limit go to the lower row; the last block is not full."""
    n = 1000
    rows = clustered(n, dim)
    rows[500:520] = rows[3]
    arrays = build_codes(rows)
    codes = Codes(arrays, n, dim, "dense")
    queries = np.vstack([clustered(6, dim, seed=1), rows[3:4]])
    rng = np.random.default_rng(2)
    for eligible in (None, rng.random(n) < 0.3):
        allowed = np.arange(n) if eligible is None else np.flatnonzero(eligible)
        for wanted in (1, 10, 137, len(allowed), n):
            found = codes.nearest(queries, wanted, eligible)
            for query, ranking in zip(queries, found, strict=True):
                sums = sums_of(arrays, query, n)[allowed]
                best = allowed[np.argsort(-sums, kind="stable")[:wanted]]
                assert ranking.tolist() == sorted(best.tolist())


def test_many_queries_and_stripes_give_the_same(scan: Any) -> None:
    n = 30_000
    rows = clustered(n, 8)
    codes = Codes(build_codes(rows), n, 8, "dense")
    queries = clustered(150, 8, seed=3)
    together = codes.nearest(queries, 40, None)
    for query, ranking in zip(queries[::10], together[::10], strict=True):
        assert codes.nearest(query[None], 40, None)[0].tolist() == ranking.tolist()


def test_equal_vectors_make_equal_codes() -> None:
    rows = clustered(500, 30)
    first, second = build_codes(rows), build_codes(rows.copy())
    assert {k: v.tobytes() for k, v in first.items()} == {k: v.tobytes() for k, v in second.items()}


def test_degenerate_vectors_can_be_encoded() -> None:
    for made in (np.zeros((300, 6)), np.ones((300, 6)), np.eye(300), np.full((9, 3), 1e30)):
        rows = made.astype(np.float32)
        n, dim = rows.shape
        arrays = build_codes(rows)
        assert all(np.isfinite(a).all() for a in arrays.values())
        [found] = Codes(arrays, n, dim, "dense").nearest(rows[-1:], 5, None)
        assert len(found) == 5


def test_whatever_the_arrays_hold_searching_is_safe(scan: Any) -> None:
    n, dim = 1000, 40
    arrays = build_codes(clustered(n, dim))
    rng = np.random.default_rng(0)
    queries = clustered(3, dim)
    for value in (np.nan, np.inf, -np.inf, 3e38):
        garbled = {
            "codes": rng.integers(0, 256, arrays["codes"].shape, dtype=np.uint8),
            "rotation": arrays["rotation"],
            "centroids": np.where(rng.random(arrays["centroids"].shape) < 0.5, value, 0).astype(
                np.float32
            ),
        }
        with np.errstate(all="ignore"):
            for rows in Codes(garbled, n, dim, "dense").nearest(queries, 20, None):
                assert len(rows) == 20
                assert (np.diff(rows) > 0).all()
                assert 0 <= rows[0] <= rows[-1] < n


@pytest.mark.parametrize("dim", [1, 3, 16, 33, 384])
def test_products_are_those_of_each_row_alone(scan: Any, dim: int) -> None:
    vectors, [query] = clustered(50, dim), clustered(1, dim, seed=9)
    rows = np.array([49, 0, 7, 7, 31])
    scores = np.empty(5, np.float32)
    scan.products(vectors, query, rows, scores)
    assert scores == pytest.approx(vectors[rows].astype(np.float64) @ query, rel=1e-4, abs=1e-4)
    for row, score in zip(rows, scores, strict=True):
        alone = np.empty(1, np.float32)
        scan.products(vectors, query, np.array([row]), alone)
        assert alone[0] == score


def test_the_kernels_refuse_what_does_not_fit() -> None:
    scan = kernel()
    assert scan is not None
    vectors, out = np.ones((4, 3), np.float32), np.empty(1, np.float32)
    for row in (-1, 4, 2**40):
        with pytest.raises(IndexError, match="no such row"):
            scan.products(vectors, vectors[0], np.array([row]), out)
    with pytest.raises(ValueError, match="do not fit"):
        scan.products(vectors, np.ones(5, np.float32), np.array([0]), out)
    with pytest.raises(ValueError, match="do not fit"):
        scan.products(vectors, vectors[0], np.array([0, 1]), out)
    arrays = build_codes(clustered(300, 12))
    codes, centroids = arrays["codes"], arrays["centroids"]
    rotated = np.ones((2, centroids.shape[0] * centroids.shape[1]), np.float32)
    found, counts = np.empty((2, 5), np.int64), np.empty(2, np.int64)
    scan.nearest(codes, centroids, rotated, None, 300, found, counts)
    for wrong in (
        (codes[1:], centroids, rotated, None, 300, found, counts),
        (codes, centroids[1:], rotated, None, 300, found, counts),
        (codes, centroids, rotated[1:], None, 300, found, counts),
        (codes, centroids, rotated, np.ones(299, np.bool_), 300, found, counts),
        (codes, centroids, rotated, None, 500, found, counts),
        (codes, centroids, rotated, None, 0, found, counts),
        (codes, centroids, rotated, None, -1, found, counts),
        (codes, centroids, rotated, None, 300, found[:, :0], counts),
        (codes, centroids, rotated, None, 300, found, counts[:0]),
    ):
        with pytest.raises(ValueError, match="do not fit"):
            scan.nearest(*wrong)


@pytest.mark.parametrize("dim", [5, 40])
def test_the_best_are_those_of_nearest_exactly_scored(scan: Any, dim: int) -> None:
    """Duplicated rows tie; few eligible rows leave fewer than are wanted."""
    n = 700
    vectors = clustered(n, dim)
    vectors[n // 2 :] = vectors[: n - n // 2]
    codes = Codes(build_codes(vectors), n, dim, "codes")
    rng = np.random.default_rng(3)
    for eligible in (None, rng.random(n) < 0.5, np.arange(n) < 3):
        for wanted, k in ((1, 1), (60, 10), (60, 60), (n, n)):
            query = rng.standard_normal(dim).astype(np.float32)
            found = codes.best(query, k, vectors, wanted=wanted, eligible=eligible)
            [rows] = codes.nearest(query[None], wanted, eligible)
            scores = np.empty(len(rows), np.float32)
            scan.products(vectors, query, rows, scores)
            order = np.lexsort((rows, -scores))[:k]
            assert found.ids.tolist() == rows[order].tolist()
            assert found.scores.tolist() == scores[order].tolist()


def test_the_best_of_what_does_not_fit_is_refused() -> None:
    scan = kernel()
    assert scan is not None
    vectors = clustered(200, 8)
    arrays = build_codes(vectors)
    codes, centroids = arrays["codes"], arrays["centroids"]
    rotated = vectors[0] @ arrays["rotation"]
    rows, scores = np.empty(5, np.int64), np.empty(5, np.float32)
    good = [codes, centroids, rotated, None, 200, 20, vectors, vectors[0], rows, scores]
    assert scan.best(*good) == 5
    for place, wrong in [
        (0, codes.ravel()[:-1]), (1, centroids.ravel()[:-1]),
        (2, rotated[:-1]), (3, np.ones(199, np.bool_)),
        (4, 0), (4, 2**40), (5, 0), (5, 4), (6, vectors[:199]), (7, vectors[0, :0]),
        (8, rows[:4]), (9, scores[:0]),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match="do not fit"):
            scan.best(*good[:place], wrong, *good[place + 1 :])
