"""Matrices of -1, 0 and 1 with a scale a column: a sixteenth of the bytes of float32.

Ternary weight networks: Li et al. 2016 (arXiv:1605.04711), eq. 6: what is above 0.7 of a column's
mean magnitude stays, as the mean of what stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .activations import Array

try:
    from . import _ternary
except ImportError:  # installed without a compiler
    _ternary = None  # type: ignore[assignment, unused-ignore]

THRESHOLD = 0.7  # of the mean magnitude
_ENTRIES = np.array([0, 1, -1, 0], np.int8)  # what two bits stand for
_COLUMNS = 4096  # of a matrix at a time, in numpy
NUMPY = "numpy"


def kernels() -> list[str]:
    """What can make products here, the fastest first: C's kernels, and numpy."""
    return [*(_ternary.kernels() if _ternary is not None else []), NUMPY]


@dataclass(frozen=True)
class Ternary:
    """An (m, V) matrix.

    `codes`: (m, ceil(V / 4)) uint8, four entries a byte, two bits each, the lowest first: 0 for
    0, 1 for 1, 2 for -1. `scales`: (V,) float32, what a column's entries are multiplied by.

    >>> small = Ternary.of(np.array([[2.0, 0.1], [-2.0, 3.0]], np.float32))
    >>> small.matrix().tolist()
    [[2.0, 0.0], [-2.0, 3.0]]
    """

    codes: NDArray[np.uint8]
    scales: Array

    @classmethod
    def of(cls, matrix: Array) -> Ternary:
        """The ternary matrix nearest to one of float32, column by column."""
        signs = np.zeros((len(matrix), -(-matrix.shape[1] // 4) * 4), np.uint8)
        scales = np.empty(matrix.shape[1], np.float32)
        for start in range(0, matrix.shape[1], _COLUMNS):
            part = slice(start, start + _COLUMNS)
            some = matrix[:, part]
            sizes = np.abs(some)
            stays = sizes > THRESHOLD * sizes.mean(axis=0)
            scales[part] = (sizes * stays).sum(axis=0) / np.maximum(stays.sum(axis=0), 1)
            signs[:, start : start + some.shape[1]] = stays * np.where(some > 0, 1, 2)
        fours = signs.reshape(len(matrix), -1, 4) << np.array([0, 2, 4, 6], np.uint8)
        return cls(np.bitwise_or.reduce(fours, axis=2), scales)

    @classmethod
    def checked(cls, codes: NDArray[Any], scales: NDArray[Any], columns: int) -> Ternary:
        """The matrix of what a file holds; ValueError where it is none of so many columns."""
        if codes.dtype != np.uint8 or codes.ndim != 2 or codes.shape[1] != -(-columns // 4):
            raise ValueError(f"a map of {codes.dtype} {codes.shape} for {columns} columns")
        if scales.dtype != np.float32 or scales.shape != (columns,):
            raise ValueError(f"scales {scales.dtype} {scales.shape} for {columns} columns")
        if not np.isfinite(scales).all():
            raise ValueError("its map holds what is not a number")
        return cls(*(np.require(part, requirements=["C", "A"]) for part in (codes, scales)))

    @property
    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """What a file keeps of it."""
        return {"codes": self.codes, "scales": self.scales}

    def matrix(self) -> Array:
        """The same as float32 (m, V)."""
        return self._part(0, len(self.codes[0]))[:, : len(self.scales)] * self.scales

    def product(self, rows: Array, *, kernel: str | None = None, workers: int = 1) -> Array:
        """rows (n, m) times the matrix, float32 (n, V).

        `kernel`: one of `kernels()`. `workers`: threads that share the work.
        """
        kernel = kernels()[0] if kernel is None else kernel
        rows = np.ascontiguousarray(rows, np.float32)
        out = np.empty((len(rows), len(self.scales)), np.float32)
        if kernel != NUMPY:
            _ternary.product(rows, self.codes, self.scales, out, kernel, workers)
            return out
        for start in range(0, self.codes.shape[1], _COLUMNS // 4):
            stop = start + _COLUMNS // 4
            found = rows @ self._part(start, stop)
            part = slice(4 * start, 4 * stop)
            width = out[:, part].shape[1]
            out[:, part] = found[:, :width] * self.scales[part]
        return out

    def _part(self, start: int, stop: int) -> Array:
        """Entries of some bytes of every row, float32."""
        codes = self.codes[:, start:stop, None] >> np.array([0, 2, 4, 6], np.uint8)
        entries: Array = _ENTRIES[codes & 3].reshape(len(codes), -1).astype(np.float32)
        return entries
