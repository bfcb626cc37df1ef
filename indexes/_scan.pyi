from typing import Any, Literal

from numpy.typing import NDArray

def nearest(
    codes: NDArray[Any],
    centroids: NDArray[Any],
    rotated: NDArray[Any],
    eligible: NDArray[Any] | None,
    n_rows: int,
    found: NDArray[Any],
    counts: NDArray[Any],
    /,
) -> None: ...
def best(
    codes: NDArray[Any],
    centroids: NDArray[Any],
    rotated: NDArray[Any],
    eligible: NDArray[Any] | None,
    n_rows: int,
    wanted: int,
    vectors: NDArray[Any],
    query: NDArray[Any],
    rows: NDArray[Any],
    scores: NDArray[Any],
    /,
) -> int: ...
def scan(
    vectors: NDArray[Any],
    query: NDArray[Any],
    eligible: NDArray[Any] | None,
    rows: NDArray[Any],
    scores: NDArray[Any],
    /,
) -> int: ...
def products(
    vectors: NDArray[Any], query: NDArray[Any], rows: NDArray[Any], scores: NDArray[Any], /
) -> None: ...
def use(instructions: Literal["plain", "avx2", "avx512"], /) -> bool: ...
