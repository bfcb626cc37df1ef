from typing import Any

from numpy import float32, int64
from numpy.typing import NDArray

LONG: int

def trim() -> None: ...
def kinds() -> list[tuple[int, str]]: ...
def largest(
    rows: NDArray[float32],
    lengths: NDArray[int64],
    weight: NDArray[float32],
    out: NDArray[Any],
    kind: int,
    workers: int,
    /,
) -> None: ...
def coarse(weight: NDArray[float32], bias: NDArray[float32], /) -> object | None: ...
def positive(
    rows: NDArray[float32],
    lengths: NDArray[int64],
    weight: NDArray[float32],
    bias: NDArray[float32],
    coarse: object,
    out: NDArray[Any],
    kind: int,
    workers: int,
    /,
) -> None: ...
def affine(
    rows: NDArray[float32],
    weight: NDArray[float32],
    bias: NDArray[float32],
    out: NDArray[Any],
    kind: int,
    /,
) -> None: ...
def normalise(
    rows: NDArray[Any], scale: NDArray[float32], shift: NDArray[float32], eps: float, kind: int, /
) -> None: ...
def transform(
    rows: NDArray[float32],
    weight: NDArray[float32],
    bias: NDArray[float32],
    scale: NDArray[float32],
    shift: NDArray[float32],
    eps: float,
    out: NDArray[Any],
    kind: int,
    /,
) -> None: ...
def fixed(arrays: tuple[NDArray[Any], ...], kind: int, /) -> object | None: ...
def layers(
    rows: NDArray[float32],
    lengths: NDArray[int64],
    out: NDArray[Any],
    arrays: tuple[NDArray[Any], ...],
    fixed: object | None,
    heads: int,
    eps: float,
    kind: int,
    workers: int,
    /,
) -> None: ...
