from numpy import float32, uint8
from numpy.typing import NDArray

def kernels() -> list[str]: ...
def product(
    rows: NDArray[float32],
    codes: NDArray[uint8],
    scales: NDArray[float32],
    out: NDArray[float32],
    kernel: str,
    workers: int,
    /,
) -> None: ...
