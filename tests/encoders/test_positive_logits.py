"""Logits above 0 are those of all products, bit for bit, though few products are made."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchlib.encoders import native
from searchlib.encoders.activations import Array
from searchlib.encoders.native import PositiveLogits, largest_logits

KERNELS = [None, *native.kernels().values()]
WIDE = native.kernels().get("avx512")
LENGTHS = [(1,), (9,), (16,), (33,), (170,), (3, 40, 17), (1, 2, 31, 1, 64, 5, 20, 2), (1,) * 40]


def coded(weight: Array, bias: Array) -> bool:
    """Whether bytes are multiplied here."""
    return PositiveLogits(weight, bias, WIDE)._coarse is not None


MULTIPLIES_BYTES = coded(np.ones((12, 4), np.float32), np.zeros(12, np.float32))
needs_bytes = pytest.mark.skipif(not MULTIPLIES_BYTES, reason="needs AVX-512 VNNI and a compiler")


def made(lengths: tuple[int, ...], dim: int, rows: int, seed: int = 0) -> tuple[list[Array], Array]:
    rng = np.random.default_rng(seed)
    texts = [4 * rng.standard_normal((tokens, dim), np.float32) for tokens in lengths]
    return texts, rng.standard_normal((rows, dim), np.float32) / 8


def assert_the_same(
    texts: list[Array], weight: Array, bias: Array, kernel: int | None, workers: int = 1
) -> Array:
    """What is found, where it is the same as by multiplying everything."""
    with np.errstate(all="ignore"):
        expected = largest_logits(texts, weight, kernel) + bias
        found = PositiveLogits(weight, bias, kernel)(texts, workers)
    assert found.shape == expected.shape
    above = expected > 0
    np.testing.assert_array_equal(found > 0, above)
    np.testing.assert_array_equal(found[above], expected[above])
    return found


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize(("dim", "rows"), [(128, 1000), (32, 12), (36, 397), (20, 50), (7, 40)])
@pytest.mark.parametrize("shift", [0, -3, -9])
def test_those_above_0_are_the_same(
    kernel: int | None, lengths: tuple[int, ...], dim: int, rows: int, shift: float
) -> None:
    texts, weight = made(lengths, dim, rows)
    bias = np.random.default_rng(1).standard_normal(rows, np.float32) + np.float32(shift)
    alone = assert_the_same(texts, weight, bias, kernel)
    np.testing.assert_array_equal(assert_the_same(texts, weight, bias, kernel, 3), alone)
    if kernel is not None:  # BLAS adds columns up in another order
        columns = [np.asfortranarray(text) for text in texts]
        np.testing.assert_array_equal(assert_the_same(columns, weight, bias, kernel), alone)


@needs_bytes
def test_few_are_computed_where_few_are_above_0() -> None:
    texts, weight = made((150, 20, 20), 128, 8192)
    bias = np.full(8192, -20, np.float32)  # logits have a deviation of 5.7
    found = assert_the_same(texts, weight, bias, WIDE)
    above = int((found > 0).sum())
    assert 10 < above < 2000
    assert np.count_nonzero(found) < 2 * above


@needs_bytes
@pytest.mark.parametrize("dim", [4, 128, 384, 2048])
def test_logits_next_to_0_are_told_apart(dim: int) -> None:
    texts, weight = made((5, 30), dim, 600, seed=dim)
    for largest in largest_logits(texts, weight, WIDE):
        ulp = np.spacing(np.abs(largest))
        for bias in (-largest, ulp - largest, -ulp - largest, 2 * ulp - largest):
            assert_the_same(texts, weight, bias, WIDE)


@needs_bytes
def test_what_is_no_number_does_as_it_does_without_codes() -> None:
    texts, weight = made((4, 20, 3), 8, 60)
    bias = np.full(60, -1, np.float32)
    weight[3, 2], weight[4, 1], weight[5, 0] = np.nan, np.inf, -np.inf
    weight[6], weight[7], weight[8], weight[9] = 0, 1e-30, 1e30, 3e38
    bias[10], bias[11], bias[12], bias[6] = np.nan, np.inf, -np.inf, 1
    texts[0][1, 1], texts[0][2], texts[0][3] = np.nan, 0, 1e-25
    texts[1][5, 3], texts[1][6], texts[1][7] = np.inf, 1e25, -3e38
    assert_the_same(texts, weight, bias, WIDE)


NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@needs_bytes
@settings(deadline=None)
@given(st.data(), st.integers(1, 40), st.sampled_from([4, 8, 20]), st.booleans())
def test_any_numbers(data: st.DataObject, tokens: int, dim: int, spread: bool) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    weight = rng.standard_normal((13, dim), np.float32)
    text = rng.standard_normal((tokens, dim), np.float32)
    if spread:  # numbers of very different sizes, in a row and among rows
        weight *= (10.0 ** rng.integers(-12, 12, (13, dim))).astype(np.float32)
        text *= (10.0 ** rng.integers(-12, 12, (tokens, 1))).astype(np.float32)
    for _ in range(3):
        row, place = data.draw(st.integers(0, 12)), data.draw(st.integers(0, dim - 1))
        weight[row, place] = data.draw(NUMBERS)
        text[data.draw(st.integers(0, tokens - 1)), place] = data.draw(NUMBERS)
    with np.errstate(all="ignore"):
        [largest] = largest_logits([text], weight, WIDE)
        bias = (-largest * rng.choice([0, 0.999, 1, 1.001], 13)).astype(np.float32)
        bias = np.nan_to_num(bias)
    assert_the_same([text], weight, bias, WIDE)


@needs_bytes
def test_several_threads_may_ask() -> None:
    texts, weight = made((30, 9, 60, 12), 64, 3000)
    bias = np.full(3000, -6, np.float32)
    logits = PositiveLogits(weight, bias, WIDE)
    expected = logits(texts)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: logits(texts, 2), range(12)):
            np.testing.assert_array_equal(found, expected)


@needs_bytes
def test_what_does_not_fit_is_refused() -> None:
    from searchlib.encoders import _fused

    assert WIDE is not None
    [x], weight = made((3,), 8, 20)
    bias, out, one = np.zeros(20, np.float32), np.empty((1, 20), np.float32), np.array([3])
    codes = _fused.coarse(weight, bias)
    assert codes is not None
    _fused.positive(x, one, weight, bias, codes, out, WIDE, 1)
    for wrong in (
        (x[:, :4], one, weight, bias, codes, out),
        (x, one, weight[:13], bias[:13], codes, out[:, :13].copy()),
        (x, one, weight, bias[:13], codes, out),
        (x, one, weight, bias, codes, out[:, :13].copy()),
        (x, np.array([2]), weight, bias, codes, out),
        (x, one, weight, bias, _fused.coarse(weight[:13], bias[:13]), out),
    ):
        with pytest.raises(ValueError, match="shapes"):
            _fused.positive(*wrong, WIDE, 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="shapes"):
        _fused.coarse(weight, bias[:13])
    with pytest.raises(ValueError, match="Capsule"):
        _fused.positive(x, one, weight, bias, object(), out, WIDE, 1)
    if (narrow := native.kernels().get("avx2")) is not None:
        with pytest.raises(ValueError, match="shapes"):
            _fused.positive(x, one, weight, bias, codes, out, narrow, 1)
