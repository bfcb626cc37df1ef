"""Ternary matrices: the formula, the packing, and that C and numpy give the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from searchlib.encoders import ternary
from searchlib.encoders.ternary import Ternary, kernels

SIZES = st.tuples(st.integers(1, 9), st.integers(1, 40))
FLOATS = st.floats(-8, 8, width=32, allow_subnormal=False)


def naive(matrix: Any) -> Any:
    """Column by column, entry by entry."""
    made = np.zeros_like(matrix)
    for column in range(matrix.shape[1]):
        sizes = np.abs(matrix[:, column])
        stays = sizes > np.float32(0.7) * sizes.mean()
        if stays.any():
            made[stays, column] = np.sign(matrix[stays, column]) * sizes[stays].mean()
    return made


@given(SIZES.flatmap(lambda size: arrays(np.float32, size, elements=FLOATS)))
def test_the_formula(matrix: Any) -> None:
    made = Ternary.of(matrix)
    np.testing.assert_allclose(made.matrix(), naive(matrix), rtol=1e-5, atol=1e-6)
    rebuilt = Ternary.checked(made.codes, made.scales, matrix.shape[1])
    assert (rebuilt.matrix() == made.matrix()).all()


@pytest.mark.parametrize("columns", [1, 3, 4, 255, 256, 257, 2047, 2048, 2050, 9001])
@pytest.mark.parametrize(("texts", "rows"), [(0, 3), (1, 1), (1, 385), (3, 7)])
def test_products(texts: int, rows: int, columns: int) -> None:
    rng = np.random.default_rng(columns)
    made = Ternary.of(rng.normal(size=(rows, columns)).astype(np.float32))
    given = rng.normal(size=(rows, texts)).astype(np.float32).T  # not contiguous
    expected = given.astype(np.float64) @ made.matrix().astype(np.float64)
    for kernel in kernels():
        found = made.product(given, kernel=kernel)
        helped = made.product(given, kernel=kernel, workers=3)
        np.testing.assert_array_equal(found, helped)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_code_that_means_nothing_is_zero() -> None:
    odd = Ternary(np.full((2, 1), 0b11100100, np.uint8), np.ones(4, np.float32))
    assert odd.matrix().tolist() == [[0, 1, -1, 0]] * 2
    for kernel in kernels():
        assert odd.product(np.ones((1, 2), np.float32), kernel=kernel).tolist() == [[0, 2, -2, 0]]


@pytest.mark.skipif(ternary._ternary is None, reason="the extension is not compiled")
def test_the_extension_refuses_what_does_not_fit() -> None:
    codes, scales = np.zeros((2, 2), np.uint8), np.ones(7, np.float32)
    rows, out = np.ones((1, 2), np.float32), np.empty((1, 7), np.float32)
    product: Any = ternary._ternary.product
    product(rows, codes, scales, out, "any", 1)
    for wrong in (
        (rows[:, :1], codes, scales, out, "any"),
        (rows, codes[:, :1], scales, out, "any"),
        (rows, codes, scales[:4], out, "any"),
        (rows, codes, scales, out[:, :6], "any"),
        (rows.astype(np.float64), codes, scales, out, "any"),
        (rows, codes.astype(np.int32), scales, out, "any"),
        (rows[0], codes, scales, out, "any"),
        (rows, codes, scales, out, "numpy"),
    ):
        with pytest.raises((ValueError, BufferError)):
            product(*wrong, 1)


@pytest.mark.parametrize(
    ("codes", "scales", "columns"),
    [
        (np.zeros((2, 1), np.int8), np.ones(4, np.float32), 4),
        (np.zeros((2, 2), np.uint8), np.ones(4, np.float32), 4),
        (np.zeros(4, np.uint8), np.ones(4, np.float32), 4),
        (np.zeros((2, 1), np.uint8), np.ones(4, np.float64), 4),
        (np.zeros((2, 1), np.uint8), np.ones(3, np.float32), 4),
        (np.zeros((2, 1), np.uint8), np.full(4, np.nan, np.float32), 4),
    ],
)
def test_what_is_no_map(codes: Any, scales: Any, columns: int) -> None:
    with pytest.raises(ValueError, match=r"a map|scales|not a number"):
        Ternary.checked(codes, scales, columns)
