"""What a training step sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Batch:
    """B queries and n documents that all of them are scored against.

    Every query meets every document: one expensive encoding serves B comparisons.
    `teacher` (B, n) float32: what the scores should be, on any scale that is common to a row;
    `positives` (B, n) bool: which documents answer which query. One of the two is given.
    """

    queries: Sequence[str]
    documents: Sequence[str]
    teacher: NDArray[np.float32] | None = None
    positives: NDArray[np.bool_] | None = None
