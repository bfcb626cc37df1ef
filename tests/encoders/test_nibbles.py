"""Four bits an entry: the formula, the error, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from searchlib.encoders.nibbles import STEP, Nibbles

SIZES = st.tuples(st.integers(0, 9), st.integers(1, 20))
FLOATS = st.floats(-8, 8, width=32, allow_subnormal=False)


@given(SIZES.flatmap(lambda size: arrays(np.float32, size, elements=FLOATS)))
def test_the_formula(matrix: Any) -> None:
    made = Nibbles.of(matrix)
    found = made.matrix()
    assert found.shape == matrix.shape
    for row, near in zip(matrix, found, strict=True):
        step = STEP * float(np.sqrt(np.square(row).mean()))
        inside = np.abs(row) < 7.9 * step
        assert (np.abs(row - near)[inside] <= 0.501 * step + 1e-6).all()
        assert np.allclose(np.abs(near[~inside]), 7.5 * step, rtol=1e-4)
    again = Nibbles.checked(made.codes, made.scales, *matrix.shape)
    np.testing.assert_array_equal(again.matrix(), found)
    backwards = np.arange(len(matrix))[::-1]
    np.testing.assert_array_equal(again.rows(backwards), found[::-1])


def test_the_error_of_a_normal_distribution_is_what_max_found() -> None:
    matrix = np.random.default_rng(0).normal(size=(50, 2000)).astype(np.float32)
    error = np.square(Nibbles.of(matrix).matrix() - matrix).mean()
    assert error == pytest.approx(0.01154, rel=0.03)


@pytest.mark.parametrize(
    ("codes", "scales"),
    [
        (np.zeros((2, 2), np.int8), np.ones(2, np.float32)),
        (np.zeros((2, 1), np.uint8), np.ones(2, np.float32)),
        (np.zeros((3, 2), np.uint8), np.ones(2, np.float32)),
        (np.zeros((2, 2), np.uint8), np.ones(2, np.float64)),
        (np.zeros((2, 2), np.uint8), np.ones(3, np.float32)),
        (np.zeros((2, 2), np.uint8), np.full(2, np.nan, np.float32)),
    ],
)
def test_what_is_no_matrix(codes: Any, scales: Any) -> None:
    with pytest.raises(ValueError, match=r"codes|scales|not a number"):
        Nibbles.checked(codes, scales, 2, 3)
