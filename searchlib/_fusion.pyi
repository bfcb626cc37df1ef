from typing import Any

from numpy import float32, float64, int64
from numpy.typing import NDArray

def complete(
    given: list[Any],
    ids: NDArray[int64],
    scores: NDArray[float32],
    missing: NDArray[int64],
    counts: NDArray[int64],
    /,
) -> int: ...
def fuse(
    scores: NDArray[float32],
    pool: NDArray[float32],
    weights: NDArray[float64],
    rate: float,
    guides: NDArray[int64] | None,
    rates: NDArray[float64] | None,
    coverage: NDArray[float64] | None,
    fused: NDArray[float32],
    /,
) -> None: ...
def best(
    ids: NDArray[int64],
    scores: NDArray[float32],
    best_ids: NDArray[int64],
    best_scores: NDArray[float32],
    /,
) -> None: ...
