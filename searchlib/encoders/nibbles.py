"""Matrices in four bits an entry, with a scale a row: an eighth of the bytes of float32.

Entries are rounded to sixteen equal steps around 0, whose width suits a normal distribution best:
.3352 of a row's root mean square (Max 1960, IRE Transactions on Information Theory 6(1), table II);
the squared error is then .0115 of the entries' own squares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .activations import Array

STEP = 0.3352  # of a row's root mean square
_LEVELS = np.arange(16, dtype=np.float32) - np.float32(7.5)


@dataclass(frozen=True)
class Nibbles:
    """An (n, dim) matrix.

    `codes`: (n, ceil(dim / 2)) uint8, two entries a byte, the lower bits first; code c of row r
    stands for (c - 7.5) * scales[r]. `scales`: (n,) float32.

    >>> small = Nibbles.of(np.array([[1.0, -1.0]], np.float32))
    >>> small.rows(np.array([0])).round(1).tolist()
    [[0.8, -0.8]]
    """

    codes: NDArray[np.uint8]
    scales: Array
    dim: int

    @classmethod
    def of(cls, matrix: Array) -> Nibbles:
        """A float32 matrix in four bits an entry; a row of zeros stays one."""
        scales = (STEP * np.sqrt(np.square(matrix).mean(axis=1))).astype(np.float32)
        steps = matrix / np.where(scales > 0, scales, 1)[:, None]
        codes = np.clip(np.floor(steps + 8), 0, 15).astype(np.uint8)
        if matrix.shape[1] % 2:
            codes = np.hstack([codes, np.zeros((len(codes), 1), np.uint8)])
        return cls(codes[:, ::2] | codes[:, 1::2] << np.uint8(4), scales, matrix.shape[1])

    @classmethod
    def checked(cls, codes: NDArray[Any], scales: NDArray[Any], rows: int, dim: int) -> Nibbles:
        """The matrix of what a file holds; ValueError where it is none of that shape."""
        if codes.dtype != np.uint8 or codes.shape != (rows, -(-dim // 2)):
            raise ValueError(f"codes {codes.dtype} {codes.shape} for {rows} rows of {dim}")
        if scales.dtype != np.float32 or scales.shape != (rows,):
            raise ValueError(f"scales {scales.dtype} {scales.shape} for {rows} rows")
        if not np.isfinite(scales).all():
            raise ValueError("it holds what is not a number")
        return cls(codes, scales, dim)

    @property
    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """What a file keeps of it."""
        return {"codes": self.codes, "scales": self.scales}

    def rows(self, ids: NDArray[np.integer[Any]]) -> Array:
        """Rows `ids` (n,), float32 (n, dim)."""
        codes = self.codes[ids]
        made = np.empty((len(codes), 2 * codes.shape[1]), np.float32)
        made[:, ::2] = _LEVELS[codes & 15]
        made[:, 1::2] = _LEVELS[codes >> 4]
        made *= self.scales[ids, None]
        return made[:, : self.dim]

    def matrix(self) -> Array:
        """All rows, float32 (n, dim)."""
        return self.rows(np.arange(len(self.codes)))
