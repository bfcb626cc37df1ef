"""The compiled products of encoders equal numpy's, on every kind of processor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from searchlib.encoders import backbone, native
from searchlib.encoders.activations import gelu
from searchlib.encoders.lean import LeanEncoder

KERNELS = [None, *native.kernels().values()]
SHAPES = [  # tokens, dimensions, rows of the matrix
    (1, 1, 12),
    (1, 7, 13),
    (5, 128, 100),
    (16, 32, 12),
    (17, 32, 24),
    (33, 20, 397),
    (64, 384, 50),
    (185, 128, 1000),
    (70, 2100, 40),
    (24, 32, 32),  # from here on what AMX's tiles are for
    (48, 32, 32),
    (50, 64, 397),
    (64, 384, 1000),
    (81, 1536, 100),
    (257, 96, 33),
    (200, 4128, 64),
    (9, 40, 5),  # fewer rows than a kernel's block
]


def arrays(tokens: int, dim: int, rows: int) -> tuple[native.Array, native.Array, native.Array]:
    rng = np.random.default_rng(tokens * dim + rows)
    made = [rng.standard_normal(shape, np.float32) for shape in ((tokens, dim), (rows, dim), rows)]
    return made[0], made[1], made[2]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", SHAPES)
def test_largest_logits(kernel: int | None, shape: tuple[int, int, int]) -> None:
    x, weight, _ = arrays(*shape)
    expected = (x.astype(np.float64) @ weight.T.astype(np.float64)).max(axis=0)
    for rows in (x, np.asfortranarray(x)):
        found = native.largest_logits([rows], weight, kernel)[0]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("tokens", [1, 3, 9, 31])
def test_places_beyond_the_text_never_win(kernel: int | None, tokens: int) -> None:
    x = np.full((tokens, 4), 1, np.float32)
    found = native.largest_logits([x], np.full((30, 4), -2, np.float32), kernel)[0]
    np.testing.assert_array_equal(found, np.full(30, -8, np.float32))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", SHAPES)
def test_affine(kernel: int | None, shape: tuple[int, int, int]) -> None:
    x, weight, bias = arrays(*shape)
    expected = x.astype(np.float64) @ weight.T.astype(np.float64) + bias
    for rows in (x, np.asfortranarray(x)):
        found = native.affine(rows, weight, bias, kernel)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "compiled"),
    [((256, 128, 128), True), ((64, 384, 384), True), ((65, 384, 384), False)],
)
def test_small_products_do_without_blas(
    shape: tuple[int, int, int], compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if native.best_kernel() is None:
        pytest.skip("the extension was not compiled")
    from searchlib.encoders import _fused

    calls: list[int] = []

    class Counted:
        @staticmethod
        def affine(*arguments: object) -> None:
            calls.append(1)
            _fused.affine(*arguments)  # type: ignore[arg-type]

    x, weight, bias = arrays(*shape)
    monkeypatch.setattr(native, "_fused", Counted)
    found = native.affine(x, weight, bias, native.best_kernel())
    np.testing.assert_allclose(found, x @ weight.T + bias, rtol=1e-3, atol=1e-3)
    assert bool(calls) == compiled


def test_kernels_refuse_what_does_not_fit() -> None:
    if native.best_kernel() is None:
        pytest.skip("the extension was not compiled")
    from searchlib.encoders import _fused

    x, weight, bias = arrays(3, 4, 20)
    out, best = np.empty((20, 3), np.float32), native.best_kernel()
    assert best is not None
    one, largest = np.array([3]), np.empty((1, 20), np.float32)
    _fused.largest(x, one, weight, largest, best, 1)
    for wrong in (
        (x[:, :3], one, weight, largest),
        (x, one, weight, largest[:, :19].copy()),
        (x, one, weight, np.empty((2, 20), np.float32)),
        (x, one, weight[:5], largest[:, :5].copy()),
        (x, np.array([2]), weight, largest),
        (x, np.array([2, 2]), weight, np.empty((2, 20), np.float32)),
        (x, np.array([3, 0]), weight, np.empty((2, 20), np.float32)),
        (x, np.array([4, -1]), weight, np.empty((2, 20), np.float32)),
        (x, np.array([], np.int64), weight, largest[:0]),
        (x, one.astype(np.int32), weight, largest),
    ):
        with pytest.raises(ValueError, match="shapes"):
            _fused.largest(*wrong, best, 1)
    with pytest.raises(ValueError, match="shapes"):
        _fused.affine(x, weight, bias, out.T.copy(), best)
    with pytest.raises(ValueError, match="float32"):
        _fused.affine(x, weight, bias.astype(np.float64), out, best)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="kernel"):
        _fused.affine(x, weight, bias, out, 99)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", SHAPES)
def test_what_stands_around_the_layers(kernel: int | None, shape: tuple[int, int, int]) -> None:
    x, weight, bias = arrays(*shape)
    _, scale, shift = arrays(shape[2], 1, shape[2])
    norm = scale[:, 0], shift
    exact = gelu(x @ weight.T + bias).astype(np.float64)
    exact -= exact.mean(axis=1, keepdims=True)
    exact = exact / np.sqrt(np.square(exact).mean(axis=1, keepdims=True) + 1e-5) * norm[0] + norm[1]
    found = native.transformed(x, (weight, bias), norm, 1e-5, kernel)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, exact, atol=1e-3)
    made = np.ascontiguousarray(gelu(x @ weight.T + bias))
    np.testing.assert_allclose(native.normalised(made, norm, 1e-5, kernel), exact, atol=1e-3)
    if kernel is not None:
        with pytest.raises(ValueError, match="shapes"):
            native.normalised(made, (norm[0][1:], norm[1]), 1e-5, kernel)
    if kernel is not None and shape[2] >= 12:
        with pytest.raises(ValueError, match="shapes"):
            native.transformed(x, (weight, bias[1:]), norm, 1e-5, kernel)


@pytest.mark.parametrize("kernel", KERNELS[1:])
@pytest.mark.parametrize("tokens", [1, 2, 11, 16, 17, 32, 33, 48])
def test_layers_equal_numpys(kernel: int, tokens: int, tiny: Callable[..., Path]) -> None:
    encoder = LeanEncoder(tiny("bert", masked=False))
    assert encoder.compiled
    arrays, heads, eps = encoder._arrays, encoder._heads, encoder._eps
    rng = np.random.default_rng(tokens)
    ids = rng.integers(0, len(encoder._words), tokens).astype(np.int32)
    start = encoder._words[ids] + encoder._positions[np.arange(tokens)] + encoder._type0
    from searchlib.encoders.lean import _layer_norm

    [found] = native.layers([_layer_norm(start, encoder._norm, eps)], arrays, heads, eps, kernel)
    encoder.__dict__["compiled"] = False
    np.testing.assert_allclose(found, encoder.hidden([ids])[0], atol=1e-5)
    with pytest.raises(ValueError, match="shapes"):
        native.layers([start], arrays[:-1], heads, eps, kernel)
    with pytest.raises(ValueError, match="shapes"):
        native.layers([start], (arrays[0][:15], *arrays[1:]), heads, eps, kernel)
    with pytest.raises(ValueError, match="shapes"):
        native.layers([np.ascontiguousarray(start[:, 1:])], arrays, heads, eps, kernel)


@pytest.mark.parametrize("kernel", KERNELS[1:])
@pytest.mark.parametrize(
    "lengths",
    [
        (47,),
        (49,),
        (64,),
        (65,),
        (130,),
        (25, 31),
        (24, 32, 33, 50),
        (5, 3, 2),
        (90, 1, 40),
        (1, 2, 3, 20, 20, 20, 31, 1, 7, 9),
    ],
)
def test_layers_of_some_texts(kernel: int, lengths: tuple[int, ...], tiny_dense: Path) -> None:
    from searchlib.encoders.lean import _attend, _layer_norm, _linear

    encoder = LeanEncoder(tiny_dense)  # of 32 dimensions, as tiles need
    rng = np.random.default_rng(sum(lengths))
    texts = [rng.standard_normal((tokens, 32), np.float32) for tokens in lengths]
    found = native.layers(texts, encoder._arrays, encoder._heads, encoder._eps, kernel)
    assert [rows.shape for rows in found] == [(tokens, 32) for tokens in lengths]
    # random weights this large make much of little; of all-MiniLM's vectors it is 2e-6
    atol = 1e-3 if kernel == native.kernels().get("amx") else 2e-5
    for start, rows in zip(texts, found, strict=True):
        x = start
        for layer in encoder._layers:
            mixed = _linear(_attend(x, layer, encoder._heads), layer.mixed)
            x = _layer_norm(mixed + x, layer.norm1, encoder._eps)
            narrow = _linear(encoder._act(_linear(x, layer.up)), layer.down)
            x = _layer_norm(narrow + x, layer.norm2, encoder._eps)
        np.testing.assert_allclose(rows, x, atol=atol)
    if _alike(lengths, kernel):
        for start, rows in zip(texts, found, strict=True):
            args = ([start], encoder._arrays, encoder._heads, encoder._eps, kernel)
            [alone] = native.layers(*args)
            np.testing.assert_array_equal(rows, alone)
            [helped] = native.layers(*args, workers=3)
            np.testing.assert_array_equal(rows, helped)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(
    "lengths", [(1, 1), (3, 40, 17), (33, 64, 5, 16), (1, 2, 3, 4, 5, 20, 20, 20, 31, 1, 7, 64, 9)]
)
@pytest.mark.parametrize("dim", [32, 20])
def test_largest_logits_of_some_texts(
    kernel: int | None, lengths: tuple[int, ...], dim: int
) -> None:
    rng = np.random.default_rng(dim)
    texts = [rng.standard_normal((tokens, dim), np.float32) for tokens in lengths]
    weight = rng.standard_normal((397, dim), np.float32)
    found = native.largest_logits(texts, weight, kernel)
    assert found.shape == (len(lengths), 397)
    for rows, largest in zip(texts, found, strict=True):
        expected = (rows.astype(np.float64) @ weight.T.astype(np.float64)).max(axis=0)
        np.testing.assert_allclose(largest, expected, rtol=1e-5, atol=1e-4)
        if kernel is not None and _alike(lengths, kernel):
            [alone] = native.largest_logits([rows], weight, kernel)
            np.testing.assert_array_equal(largest, alone)
            [helped] = native.largest_logits([rows], weight, kernel, workers=3)
            np.testing.assert_array_equal(largest, helped)


def _alike(lengths: tuple[int, ...], kernel: int) -> bool:
    """Whether a kernel computes these texts in one way, so that company changes no bit."""
    return kernel != native.kernels().get("amx") or len({n < native.LONG for n in lengths}) == 1


def test_long_texts_are_multiplied_by_tiles(tiny_dense: Path) -> None:
    if "amx" not in native.kernels():
        pytest.skip("this processor has no AMX, or the system does not allow it")
    encoder = LeanEncoder(tiny_dense)
    text = np.random.default_rng(0).standard_normal((170, 32), np.float32)
    by_tiles, without = (
        native.layers([text], encoder._arrays, encoder._heads, encoder._eps, native.kernels()[kind])
        for kind in ("amx", "avx512")
    )
    assert not np.array_equal(by_tiles[0], without[0])  # near each other: the test above


@pytest.mark.parametrize("threads", ["1", "3"])
def test_many_texts_need_no_torch_where_layers_are_compiled(
    threads: str, tiny: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    if native.best_kernel() is None:
        pytest.skip("the extension was not compiled")
    from searchlib.encoders.dense import DenseEncoder

    monkeypatch.setattr(backbone, "LEAN_WORK", 0.0)
    monkeypatch.setattr(backbone, "maybe_gpu", lambda: False)
    monkeypatch.setattr(backbone, "threads", lambda: int(threads))
    encoder = DenseEncoder(tiny("bert", masked=False))
    texts = ["the quick dog", "a cat near the river and the old house", "music"] * 30
    together = encoder.encode_document(texts)
    assert "_network" not in vars(encoder._body._backbone)
    alone = np.concatenate([encoder.encode_document([text]) for text in texts[:3]])
    np.testing.assert_allclose(together, np.tile(alone, (30, 1)), atol=1e-5)


def test_threads_heeds_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbone, "cores", lambda: 8)
    for value, expected in (("3", 3), ("99", 8), ("0", 8), ("", 8), ("2,1", 8), ("²", 8)):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert backbone.threads() == expected
