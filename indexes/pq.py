"""4-bit product quantisation of one segment's vectors: which rows are worth an exact product.

A vector is rotated onto its principal directions, which are dealt out to subspaces of equal
variance (Ge, He, Ke and Sun 2013, "Optimized Product Quantization", section 4: the parametric
solution), and each subspace's part is replaced by the nearest of 16 centroids (Jegou, Douze and
Schmid 2011). A query's products with the centroids are rounded to bytes, and the kernel in
`_scan.c` adds them up. The sums only choose candidates; their scores are computed elsewhere.

Training sees the same rows and the same seed each time: equal vectors make equal codes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import Damaged
from .types import TopK

CENTROIDS = 16  # of a subspace: what one shuffle instruction looks up
BLOCK = 128  # rows whose codes stand together
DIMENSIONS = 5  # of a vector to a subspace, where it has many
SUBSPACES = 32  # at least, where a vector has as many dimensions
MOST_SUBSPACES = 512  # that sums of bytes below 128 stay below 2**16
VARIANCE = 0.9  # the share of it that the kept directions hold
SAMPLE = 2**14  # rows that training sees
ROUNDS = 12  # of Lloyd's algorithm
ROWS_AT_ONCE = 2**14

Float32s = NDArray[np.float32]
Integers = NDArray[np.int64]
Bytes = NDArray[np.uint8]


class Codes:
    """The codes of one segment, opened: the arrays of `build_codes` for `n_rows` vectors.

    Whatever the arrays hold, searching them is safe: every byte is a code. `name` is what errors
    call their file. Raises Damaged where an array is missing or of the wrong type or shape.
    """

    def __init__(
        self, arrays: Mapping[str, NDArray[Any]], n_rows: int, dim: int, name: str
    ) -> None:
        self.n_rows = n_rows
        self._name = name
        self._codes = _array(arrays, "codes", np.uint8, 3, name)
        self._rotation = _array(arrays, "rotation", np.float32, 2, name)
        self._centroids = _array(arrays, "centroids", np.float32, 3, name)
        subspaces, width, centroids = self._centroids.shape
        fits = (
            self._codes.shape == (-(-n_rows // BLOCK), subspaces // 2, BLOCK)
            and self._rotation.shape == (dim, subspaces * width)
            and centroids == CENTROIDS
            and 0 < subspaces <= MOST_SUBSPACES
            and subspaces % 2 == 0
        )
        if not fits:
            raise Damaged(f"{name}: the codes do not fit {n_rows} vectors of {dim} numbers")

    def nearest(
        self, queries: Float32s, wanted: int, eligible: NDArray[np.bool_] | None
    ) -> list[Integers]:
        """For each query (q, dim), up to `wanted` rows of greatest approximate product, ascending.

        `eligible` is a bool per row. Of equal sums the lower row is taken. Other threads run
        meanwhile. Needs the compiled scan (see `kernel`).
        """
        scan = kernel()
        assert scan is not None
        found = np.empty((len(queries), min(wanted, self.n_rows)), np.int64)
        counts = np.empty(len(queries), np.int64)
        rotated = np.ascontiguousarray(queries @ self._rotation)
        scan.nearest(self._codes, self._centroids, rotated, eligible, self.n_rows, found, counts)
        return [rows[:count] for rows, count in zip(found, counts.tolist(), strict=True)]

    def best(
        self,
        query: Float32s,
        k: int,
        vectors: Float32s,
        *,
        wanted: int,
        eligible: NDArray[np.bool_] | None,
    ) -> TopK:
        """Of the `nearest` rows to one query (dim,) the k best, by their exact products."""
        scan = kernel()
        assert scan is not None
        top = TopK(np.empty(k, np.int64), np.empty(k, np.float32))
        count = scan.best(
            self._codes,
            self._centroids,
            query @ self._rotation,
            eligible,
            self.n_rows,
            wanted,
            vectors,
            query,
            *top,
        )
        return top if count == k else TopK(top.ids[:count], top.scores[:count])

    def check(self) -> None:
        """Read what is not a code; raise Damaged where a number is not finite."""
        if not (np.isfinite(self._rotation).all() and np.isfinite(self._centroids).all()):
            raise Damaged(f"{self._name}: the codes' centroids hold what is not a number")


def build_codes(vectors: Float32s) -> dict[str, NDArray[Any]]:
    """Train on vectors (n >= 1, dim), and encode them: arrays for `write_arrays` and `Codes`.

    rotation   float32 (dim, d)           a vector times it is cut into m subspaces
    centroids  float32 (m, d / m, 16)     of each subspace, m even
    codes      uint8 (ceil(n / 128), m / 2, 128)  see FORMAT.md
    """
    vectors = np.ascontiguousarray(vectors, np.float32)
    n, dim = vectors.shape
    sample = vectors[np.linspace(0, n - 1, min(n, SAMPLE)).astype(np.int64)]
    rotation = _rotation(sample, _subspaces(dim))
    centroids = _centroids(_parts(sample, rotation, _subspaces(dim)))
    return {
        "rotation": rotation,
        "centroids": centroids,
        "codes": _encoded(vectors, rotation, centroids),
    }


@cache
def kernel() -> ModuleType | None:
    """The compiled scan, or None where the package was built without a compiler."""
    try:
        return import_module("._scan", __package__)
    except ImportError:
        return None


def _array(
    arrays: Mapping[str, NDArray[Any]], key: str, dtype: type, ndim: int, name: str
) -> NDArray[Any]:
    array = arrays.get(key)
    if array is None or array.dtype != dtype or array.ndim != ndim:
        raise Damaged(f"{name}: array {key!r} is missing or of the wrong type")
    return np.ascontiguousarray(array)


def _subspaces(dim: int) -> int:
    many = max(-(-dim // DIMENSIONS), min(dim, SUBSPACES))
    return min(many + many % 2, MOST_SUBSPACES)


def _rotation(sample: Float32s, subspaces: int) -> Float32s:
    """The leading principal directions as columns, dealt out to subspaces of one width.

    Each direction goes to the subspace of the least product of variances that has room (Ge et
    al. 2013, section 4.2). Where there are more places than directions, columns are 0.
    """
    centred = sample.astype(np.float64)
    centred -= centred.mean(axis=0)
    variances, directions = np.linalg.eigh(centred.T @ centred)
    # subtle: rounded, because the last bits depend on how many threads BLAS has
    variances, directions = np.maximum(variances[::-1], 0), np.round(directions[:, ::-1], 5) + 0.0
    held = np.cumsum(variances) / max(variances.sum(), np.finfo(np.float64).tiny)
    kept = min(int(np.searchsorted(held, VARIANCE)) + 1, len(held))
    width = -(-kept // subspaces)
    kept = min(width * subspaces, len(variances))
    logs = np.log(np.maximum(variances[:kept], variances[0] * 1e-9 + np.finfo(np.float64).tiny))
    logs -= logs.min()
    rotation = np.zeros((len(variances), subspaces, width), np.float32)
    products, taken = np.zeros(subspaces), np.zeros(subspaces, np.int64)
    for direction in range(kept):
        place = int(np.argmin(np.where(taken < width, products, np.inf)))
        rotation[:, place, taken[place]] = directions[:, direction]
        products[place] += logs[direction]
        taken[place] += 1
    return rotation.reshape(len(variances), -1)


def _centroids(parts: Float32s) -> Float32s:
    """16 centroids of each subspace, float32 (m, width, 16), of parts (m, width, n): Lloyd 1982."""
    _, width, n = parts.shape
    first = np.random.default_rng(0).choice(n, CENTROIDS, replace=n < CENTROIDS)
    centroids = np.ascontiguousarray(parts[:, :, np.sort(first)])
    for part, mine in zip(parts, centroids, strict=True):
        for _ in range(ROUNDS):
            nearest = _nearest_centroid(part, mine)
            counts = np.bincount(nearest, minlength=CENTROIDS)
            for axis in range(width):
                sums = np.bincount(nearest, part[axis], CENTROIDS)
                mine[axis, counts > 0] = (sums / np.maximum(counts, 1))[counts > 0]
    return centroids


def _nearest_centroid(part: Float32s, centroids: Float32s) -> Bytes:
    """The number of the nearest centroid (width, 16) of each column of a part (width, n)."""
    with np.errstate(over="ignore", invalid="ignore"):
        closeness = centroids.T @ part  # grows as the distance falls, less half the norms
        closeness -= np.einsum("ij,ij->j", centroids, centroids)[:, None] / 2
    nearest = np.zeros(part.shape[1], np.uint8)
    best = closeness[0]
    for number in range(1, CENTROIDS):
        np.copyto(nearest, np.uint8(number), where=closeness[number] > best)
        np.maximum(best, closeness[number], out=best)
    return nearest


def _parts(vectors: Float32s, rotation: Float32s, subspaces: int) -> Float32s:
    """Rotated vectors cut up, float32 (m, width, n)."""
    rotated = np.ascontiguousarray((vectors @ rotation).T)
    return rotated.reshape(subspaces, -1, len(vectors))


def _encoded(vectors: Float32s, rotation: Float32s, centroids: Float32s) -> Bytes:
    """The codes, blocks of 128 rows; the last block is filled with zeros."""
    m = len(centroids)
    codes = np.zeros((-(-len(vectors) // BLOCK), m // 2, BLOCK), np.uint8)
    for start, rows in _slices(vectors):
        parts = _parts(rows, rotation, m)
        numbers = np.zeros((m, -(-len(rows) // BLOCK) * BLOCK), np.uint8)
        for mine, part, own in zip(numbers, parts, centroids, strict=True):
            mine[: len(rows)] = _nearest_centroid(part, own)
        # subtle: byte 64z + 2i + h of a line is row 64z + 32h + i of the block, because sums
        # of even and odd bytes are kept apart
        pairs = (numbers[::2] | numbers[1::2] << 4).reshape(m // 2, -1, 2, 2, 32)
        lines = pairs.transpose(1, 0, 2, 4, 3).reshape(-1, m // 2, BLOCK)
        codes[start // BLOCK : start // BLOCK + len(lines)] = lines
    return codes


def _slices(vectors: Float32s) -> Iterator[tuple[int, Float32s]]:
    for start in range(0, len(vectors), ROWS_AT_ONCE):
        yield start, vectors[start : start + ROWS_AT_ONCE]
