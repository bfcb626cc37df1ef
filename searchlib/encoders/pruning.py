"""Fewer terms a text: by count, by weight, by ratio to the largest weight."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import BadInput
from ..typed import check_types


@dataclass(frozen=True)
class Pruning:
    """Which terms of a text are kept; the default keeps all of them.

    `top_k`: the k heaviest (ties by id). `threshold`: weights above it. `ratio`: weights of at
    least `ratio` times the text's largest (0.1 is OpenSearch's default); good values are 0 to
    0.2. All three hold at once.

    >>> Pruning(ratio=0.5)(np.array([3, 7, 9]), np.array([1.0, 2.0, 0.5], np.float32))
    (array([3, 7]), array([1., 2.], dtype=float32))
    """

    top_k: int | None = None
    threshold: float = 0.0
    ratio: float = 0.0

    def __post_init__(self) -> None:
        check_types(self, BadInput, "illegal {} value")
        if self.top_k is not None and self.top_k < 1:
            raise BadInput(f"illegal top_k value: {self.top_k}, must be at least 1, or None")
        if self.threshold < 0:
            raise BadInput(f"illegal threshold value: {self.threshold}, must be at least 0")
        if not 0 <= self.ratio <= 1:
            raise BadInput(f"illegal ratio value: {self.ratio}, must be between 0 and 1")

    def __call__(
        self, ids: NDArray[np.int32], weights: NDArray[np.float32]
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The (ids, weights) of one text that stay, in their order."""
        if not len(weights):
            return ids, weights
        if self.threshold > 0 or self.ratio > 0:
            floor = np.float32(self.ratio) * weights.max()
            keep = (weights > self.threshold) & (weights >= floor)
            ids, weights = ids[keep], weights[keep]
        if self.top_k is not None and len(weights) > self.top_k:
            best = np.sort(np.lexsort((ids, -weights))[: self.top_k])
            ids, weights = ids[best], weights[best]
        return ids, weights

    def to_json(self) -> dict[str, int | float | None]:
        """As JSON values."""
        return {"top_k": self.top_k, "threshold": self.threshold, "ratio": self.ratio}


def shortened(weights: NDArray[np.float32], power: float) -> NDArray[np.float32]:
    """Weights (m,) divided by their Euclidean length to that power.

    >>> shortened(np.array([3, 4], np.float32), 1.0)
    array([0.6, 0.8], dtype=float32)
    """
    if not power or not len(weights):
        return weights
    # subtle: in float64, so that the length is the same however a processor adds
    length = math.sqrt(float(np.square(weights, dtype=np.float64).sum()))
    return weights / np.float32(length**power)
