"""Documents ordered by similarity, which block-max pruning needs: k-means over a projection."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Csr = Any
DIM = 64
PER_CLUSTER = 30  # rows, about
ITERATIONS = 4


def similarity_order(rows: Csr, seed: int = 0) -> Ints:
    """Rows with like rows beside each other: k-means over a random projection, (n,).

    Clusters ordered by clusters of their own.
    """
    rng = np.random.default_rng(seed)
    projection = rng.standard_normal((rows.shape[1], DIM), np.float32)
    points = rows @ projection
    points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-9)
    clusters = max(1, min(8192, rows.shape[0] // PER_CLUSTER))
    label, centres = _k_means(points, clusters, rng)
    above, _ = _k_means(centres, max(1, round(clusters**0.5)), rng)
    nearness = np.einsum("ij,ij->i", points, centres[label])
    return np.lexsort((nearness, label, above[label])).astype(np.int64)


def _k_means(
    points: NDArray[np.float32], count: int, rng: np.random.Generator
) -> tuple[Ints, NDArray[np.float32]]:
    """Labels and centres after a few of Lloyd's iterations over a sample."""
    sample = points[rng.permutation(len(points))[: 40 * count]]
    centres = sample[:count].copy()
    for _ in range(ITERATIONS):
        label = _nearest(sample, centres)
        sums = np.zeros_like(centres)
        np.add.at(sums, label, sample)
        size = np.bincount(label, minlength=count)
        centres[size > 0] = sums[size > 0] / size[size > 0, None]
    return _nearest(points, centres), centres


def _nearest(points: NDArray[np.float32], centres: NDArray[np.float32]) -> Ints:
    half = np.einsum("ij,ij->i", centres, centres) / 2
    parts = range(0, len(points), 8192)
    return np.concatenate([np.argmax(points[p : p + 8192] @ centres.T - half, 1) for p in parts])
