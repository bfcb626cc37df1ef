"""What encoders compute most, in C where the extension `_fused` was compiled, else in numpy.

`layers` runs a whole BERT over some texts at once, so that weights are read once for all;
`largest_logits` never writes the logits it takes the maximum of; `PositiveLogits` computes few of
those that a sparse head has no use for; `affine` serves the few tokens of a query, for which BLAS
spends its time on copies. All read a weight matrix where it lies (a mapped file), use the caller's
thread alone unless told otherwise, and let others run meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .activations import Array, gelu

try:
    from . import _fused
except ImportError:  # installed without a compiler
    _fused = None  # type: ignore[assignment, unused-ignore]

LONG = 0 if _fused is None else _fused.LONG
"""Tokens of a text from which on a matrix unit is used, where there is one. What is computed of a
text must not hang on those it is together with: short and long ones go apart."""
FEW_TOKENS = 64
FEW_WEIGHTS = 1 << 16
"""For up to so many tokens, or of so many weights, `affine` is the faster one; above, BLAS is."""
_FEWEST_ROWS = 12  # of a weight matrix, for the compiled kernels
_TILE = 1 << 20  # logits at a time in numpy: 4 MiB


def kernels() -> dict[str, int]:
    """The compiled kernels that run on this processor, by name, best first; empty without them."""
    return {} if _fused is None else {name: number for number, name in _fused.kinds()}


@cache
def best_kernel() -> int | None:
    """The number of the best compiled kernel, or None without them."""
    return next(iter(kernels().values()), None)


def largest_logits(
    texts: Sequence[Array], weight: Array, kernel: int | None, workers: int = 1
) -> Array:
    """(n, V) float32: for every v the largest rows[t] . weight[v] of each text's rows (T, D).

    `weight`: (V, D). `kernel`: a compiled one of `kernels()`, or None for numpy. A text has at
    least one row. `workers`: threads that share the work, for who has no other texts meanwhile.
    """
    out = np.empty((len(texts), len(weight)), np.float32)
    rows, lengths = joined(texts)
    if kernel is None or not _fits(rows, weight):
        for text, largest in zip(texts, out, strict=True):
            tile = tile_columns(_TILE, len(text))
            for start in range(0, len(weight), tile):
                part = slice(start, start + tile)
                np.max(text @ weight[part].T, axis=0, out=largest[part])
        return out
    _fused.largest(rows, lengths, weight, out, kernel, workers)
    return out


class PositiveLogits:
    """(n, V) float32: for every v the largest rows[t] . weight[v] + bias[v] of each text's rows
    (T, D) where that is above 0, and else a number that is not.

    `weight`: (V, D); `bias`: (V,). `kernel`, `workers`: as for `largest_logits`, whose bits these
    are. Where the processor multiplies bytes (AVX-512 VNNI), a copy of the weight in one byte a
    number tells which logits may be above 0, by a bound that never errs, and only those few are
    computed. May be called by several threads.

    >>> weight, bias = np.eye(16, dtype=np.float32), np.full(16, -1, np.float32)
    >>> rows = np.arange(32, dtype=np.float32).reshape(2, 16) / 8
    >>> PositiveLogits(weight, bias, best_kernel())([rows])[0, -2:].tolist()
    [2.75, 2.875]
    """

    def __init__(self, weight: Array, bias: Array, kernel: int | None) -> None:
        self._weight = weight
        self._bias = bias
        self._kernel = kernel
        wide = kernel is not None and kernel in (kernels().get("amx"), kernels().get("avx512"))
        fits = _fits(weight[:1], weight) and _readable(bias)
        self._coarse = _fused.coarse(weight, bias) if wide and fits else None

    def __call__(self, texts: Sequence[Array], workers: int = 1) -> Array:
        fits = all(_fits(rows, self._weight) for rows in texts)
        if self._coarse is not None and self._kernel is not None and fits:
            rows, lengths = joined(texts)
            out = np.empty((len(texts), len(self._weight)), np.float32)
            _fused.positive(
                rows, lengths, self._weight, self._bias, self._coarse, out, self._kernel, workers
            )
            return out
        found = largest_logits(texts, self._weight, self._kernel, workers)
        found += self._bias
        return found


def joined(texts: Sequence[Array]) -> tuple[Array, NDArray[np.int64]]:
    """The rows of all texts, one after the other, and how many each has."""
    lengths = np.array([len(rows) for rows in texts], np.int64)
    return texts[0] if len(texts) == 1 else np.concatenate(texts), lengths


def parted(rows: Array, lengths: NDArray[np.int64]) -> list[Array]:
    """Each text's rows, of what `joined` joined."""
    return np.split(rows, np.cumsum(lengths)[:-1]) if len(lengths) > 1 else [rows]


def affine(rows: Array, weight: Array, bias: Array, kernel: int | None) -> Array:
    """(T, V) float32 rows @ weight.T + bias, as the transpose of a contiguous array.

    `kernel`: as for `largest_logits`. A layer that reads the result finds its columns contiguous.
    """
    # subtle: BLAS asks the system for 32 MB for each thread that multiplies
    large = len(rows) > FEW_TOKENS and weight.size > FEW_WEIGHTS
    if kernel is None or large or not (_fits(rows, weight) and _readable(bias)):
        # subtle: for a short text W @ X' is up to twice as fast in BLAS as X @ W'
        product: Array = (weight @ rows.T).T
        product += bias
        return product
    out = np.empty((len(weight), len(rows)), np.float32)
    _fused.affine(rows, weight, bias, out, kernel)
    return out.T


def normalised(rows: Array, norm: tuple[Array, Array], eps: float, kernel: int | None) -> Array:
    """Layer normalisation (Ba et al. 2016, arXiv:1607.06450) of rows (T, D), which may be used up.

    `norm`: scale and shift, (D,) each. `kernel`: as for `largest_logits`.
    """
    if kernel is not None and _readable(rows, *norm) and rows.flags.writeable:
        _fused.normalise(rows, *norm, eps, kernel)
        return rows
    rows = rows - rows.mean(axis=-1, keepdims=True)
    variance: Array = np.square(rows).mean(axis=-1, keepdims=True)
    rows /= np.sqrt(variance + np.float32(eps))
    rows *= norm[0]
    rows += norm[1]
    return rows


def transformed(
    rows: Array,
    dense: tuple[Array, Array],
    norm: tuple[Array, Array],
    eps: float,
    kernel: int | None,
) -> Array:
    """(T, V) float32: gelu(rows @ weight.T + bias), normalised: what a sparse head reads.

    `dense`: weight (V, D) and bias (V,). `kernel`: as for `largest_logits`.
    """
    weight, bias = dense
    if kernel is None or not (_fits(rows, weight) and _readable(bias, *norm)):
        return normalised(gelu(affine(rows, weight, bias, kernel)), norm, eps, None)
    out = np.empty((len(rows), len(weight)), np.float32)
    _fused.transform(rows, weight, bias, *norm, eps, out, kernel)
    return out


def layers(
    texts: Sequence[Array],
    arrays: tuple[Array, ...],
    heads: int,
    eps: float,
    kernel: int,
    *,
    fixed: object | None = None,
    workers: int = 1,
) -> list[Array]:
    """(T, D) float32 of each text: its rows (T, D) through layers of a post-norm BERT with gelu.

    `arrays`: 16 a layer, weight and bias of query, key, value, mixed, norm1, up, down, norm2,
    each C-contiguous. `kernel`: a compiled one. `fixed`: what `fixed_point` made of the arrays for
    this kernel: products are of whole numbers then. `workers`: as for `largest_logits`. ValueError
    where their shapes don't fit.
    """
    rows, lengths = joined(texts)
    out = np.empty(rows.shape, np.float32)
    _fused.layers(rows, lengths, out, arrays, fixed, heads, eps, kernel, workers)
    return parted(out, lengths)


def fixed_point(arrays: tuple[Array, ...], kernel: int) -> object | None:
    """The weights of `layers`' arrays in whole numbers of 16 bits, 32 numbers to a factor.

    None where the processor (AVX-512 VNNI, AVX-VNNI) or the weights are not made for that: of an
    odd depth, or not finite. Takes half the weights' memory, and a nanosecond a number.
    """
    return None if _fused is None else _fused.fixed(arrays, kernel)


def runs_layers(arrays: tuple[Array, ...], dim: int) -> bool:
    """Whether `layers` can run these arrays over rows of `dim` here."""
    return (
        best_kernel() is not None
        and dim >= _FEWEST_ROWS
        and all(len(array) >= _FEWEST_ROWS for array in arrays)
        and all(array.flags.c_contiguous and array.flags.aligned for array in arrays)
    )


def give_back() -> None:
    """Let the system have the memory that was freed, where the C library keeps it (glibc).

    Encoding leaves small results between large gaps, and glibc gives back none of these by itself.
    """
    if _fused is not None:
        _fused.trim()


def tile_columns(logits: int, rows: int) -> int:
    """Columns a tile of `rows` rows: `logits` in all, at least 256, a multiple of 64."""
    return max(logits // max(rows, 1) // 64 * 64, 256)


def _fits(rows: NDArray[Any], weight: NDArray[Any]) -> bool:
    return (
        len(weight) >= _FEWEST_ROWS
        and rows.shape[0] > 0
        and rows.shape[1] > 0
        and rows.dtype == np.float32
        and rows.flags.aligned
        and _readable(weight)
    )


def _readable(*arrays: NDArray[Any]) -> bool:
    """Whether compiled code can read arrays where they lie; a mapped file may hold them askew."""
    return all(
        array.dtype == np.float32 and array.flags.c_contiguous and array.flags.aligned
        for array in arrays
    )
