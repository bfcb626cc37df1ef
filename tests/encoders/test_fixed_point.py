"""Layers in whole numbers of 16 bits: near float32's, each text as if alone, within 32 bits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from searchlib.encoders import native
from searchlib.encoders.activations import gelu
from searchlib.encoders.dense import DenseEncoder
from searchlib.encoders.lean import LeanEncoder

SQUARE = ("query", "key", "value", "mixed")
Arrays = tuple[native.Array, ...]


def layer_of(dim: int, wide: int, rng: np.random.Generator) -> dict[str, native.Array]:
    """Weights and biases of one layer as a trained one has them: products of middling size."""
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(SQUARE, (dim, dim))
    shapes |= {"norm1": (dim,), "up": (wide, dim), "down": (dim, wide), "norm2": (dim,)}
    made: dict[str, native.Array] = {}
    for part in (*SQUARE, "norm1", "up", "down", "norm2"):
        rows = rng.standard_normal(shapes[part]).astype(np.float32)
        made[part] = (
            rows / np.float32(np.sqrt(shapes[part][-1])) if rows.ndim == 2 else rows * 0 + 1
        )
        made[f"{part} bias"] = rng.standard_normal(shapes[part][0]).astype(np.float32) / 10
    return made


def usable() -> list[int]:
    """The kernels of this processor that multiply whole numbers."""
    arrays = tuple(layer_of(32, 64, np.random.default_rng(0)).values())
    return [kernel for kernel in native.kernels().values() if native.fixed_point(arrays, kernel)]


KERNELS = usable()
pytestmark = pytest.mark.skipif(not KERNELS, reason="this processor has no VNNI, or no compiler")


def naive(x: native.Array, layer: dict[str, native.Array], heads: int) -> native.Array:
    """The same in float64, as the papers have it."""
    made = {name: array.astype(np.float64) for name, array in layer.items()}
    x = x.astype(np.float64)  # type: ignore[assignment]

    def linear(x: native.Array, part: str) -> native.Array:
        return x @ made[part].T + made[f"{part} bias"]

    def norm(x: native.Array, part: str) -> native.Array:
        x = x - x.mean(axis=1, keepdims=True)
        x = x / np.sqrt(np.square(x).mean(axis=1, keepdims=True) + 1e-12)
        return x * made[part] + made[f"{part} bias"]

    tokens, dim = x.shape
    q, k, v = (
        linear(x, part).reshape(tokens, heads, dim // heads).transpose(1, 0, 2)
        for part in ("query", "key", "value")
    )
    scores = np.exp(q @ k.transpose(0, 2, 1) / np.sqrt(dim // heads))
    mixed = (scores / scores.sum(axis=-1, keepdims=True)) @ v
    x = norm(x + linear(mixed.transpose(1, 0, 2).reshape(tokens, dim), "mixed"), "norm1")
    return norm(x + linear(gelu(linear(x, "up")), "down"), "norm2")


def through(
    texts: list[native.Array], arrays: Arrays, heads: int, kernel: int, workers: int = 1
) -> list[native.Array]:
    fixed = native.fixed_point(arrays, kernel)
    assert fixed is not None
    return native.layers(texts, arrays, heads, 1e-12, kernel, fixed=fixed, workers=workers)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", [(32, 64), (24, 50), (36, 14), (64, 96), (130, 262), (384, 1536)])
def test_layers_are_near_those_of_real_numbers(kernel: int, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(sum(shape))
    layer = layer_of(*shape, rng)
    arrays = tuple(layer.values())
    lengths = (1, 5, 16, 17, 33, 64, 3, 90)
    texts = [rng.standard_normal((tokens, shape[0]), np.float32) for tokens in lengths]
    together = through(texts, arrays, 2, kernel)
    plain = native.layers(texts, arrays, 2, 1e-12, kernel)
    for text, found, floats in zip(texts, together, plain, strict=True):
        wanted = naive(text, layer, 2)
        np.testing.assert_allclose(found, wanted, atol=1e-3)
        assert np.sqrt(np.square(found - wanted).mean()) < 1e-4
        assert not np.array_equal(found, floats)
        [alone] = through([text], arrays, 2, kernel)
        np.testing.assert_array_equal(found, alone)
        [helped] = through([text], arrays, 2, kernel, workers=3)
        np.testing.assert_array_equal(found, helped)


def test_all_kernels_find_the_same_whole_numbers() -> None:
    rng = np.random.default_rng(7)
    arrays = tuple(layer_of(64, 128, rng).values())
    text = rng.standard_normal((21, 64), np.float32)
    first, *others = (through([text], arrays, 4, kernel)[0] for kernel in KERNELS)
    for found in others:
        np.testing.assert_array_equal(found, first)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", ["flat", "one", "two", "half", "signs"])
def test_sums_stay_within_32_bits(kernel: int, shape: str) -> None:
    """What the second matrix reads is parallel to its rows: the largest sums that there are."""
    dim, wide = 32, 256
    layer = layer_of(dim, wide, np.random.default_rng(1))
    numbers = np.zeros(wide, np.float32)
    numbers[:: {"flat": 1, "one": 32, "two": 16, "half": 2, "signs": 1}[shape]] = 37
    signs = np.where(np.arange(wide) % 3 == 0, -1, 1) if shape == "signs" else np.ones(wide)
    layer["up"][:] = 0  # so that every token's numbers are gelu(bias): 37 or 0
    layer["up bias"][:] = numbers
    sizes = np.linspace(-2, 2, dim)
    layer["down"][:] = sizes[:, None] * (numbers * signs)[None, :]
    text = np.random.default_rng(2).standard_normal((40, dim), np.float32)
    [found] = through([text], tuple(layer.values()), 2, kernel)
    np.testing.assert_allclose(found, naive(text, layer, 2), atol=1e-3)


@pytest.mark.parametrize("kernel", KERNELS)
def test_nothing_stays_nothing_and_what_is_no_number_none(kernel: int) -> None:
    layer = layer_of(32, 64, np.random.default_rng(3))
    layer["up"][:], layer["up bias"][:], layer["down"][5:9] = 0, 0, 0
    text = np.random.default_rng(4).standard_normal((18, 32), np.float32)
    [found] = through([text], tuple(layer.values()), 2, kernel)
    np.testing.assert_allclose(found, naive(text, layer, 2), atol=1e-3)
    broken = text.copy()
    broken[3, 7] = np.nan  # which every token attends to
    [found] = through([broken], tuple(layer.values()), 2, kernel)
    assert np.isnan(found).all()
    layer["query"][:], layer["value"][:] = 0, 0
    layer["value"][0, 0] = 1
    broken[3, 7] = 1e20  # a number, but not its square
    [found] = through([broken], tuple(layer.values()), 2, kernel)
    assert np.isnan(found).all()
    small = layer_of(32, 64, np.random.default_rng(5))
    small["value"] *= np.float32(1e-25)  # products that no float32 square can tell from nothing
    [found] = through([text], tuple(small.values()), 2, kernel)
    np.testing.assert_allclose(found, naive(text, small, 2), atol=1e-3)


@pytest.mark.parametrize("kernel", KERNELS)
def test_weights_that_are_not_made_for_it(kernel: int) -> None:
    rng = np.random.default_rng(6)
    for dim, wide in ((33, 64), (32, 63)):  # numbers go in pairs
        assert native.fixed_point(tuple(layer_of(dim, wide, rng).values()), kernel) is None
    layer = layer_of(32, 64, rng)
    for wrong in (np.nan, np.inf, 3e38):
        layer["up"][3, 3] = wrong
        assert native.fixed_point(tuple(layer.values()), kernel) is None
    arrays, other = (tuple(layer_of(32, wide, rng).values()) for wide in (64, 96))
    text = rng.standard_normal((3, 32), np.float32)
    for fixed in (native.fixed_point(other, kernel), native.fixed_point(arrays * 2, kernel)):
        with pytest.raises(ValueError, match="shapes"):
            native.layers([text], arrays, 2, 1e-12, kernel, fixed=fixed)
    with pytest.raises(ValueError, match="Capsule"):
        native.layers([text], arrays, 2, 1e-12, kernel, fixed=object())
    other_kinds = {"any"} & set(native.kernels())
    for name in other_kinds:
        assert native.fixed_point(arrays, native.kernels()[name]) is None
        fixed = native.fixed_point(arrays, kernel)
        with pytest.raises(ValueError, match="shapes"):
            native.layers([text], arrays, 2, 1e-12, native.kernels()[name], fixed=fixed)


@pytest.mark.parametrize("unit", [True, False])
def test_vectors_of_length_1_are_made_of_them_and_others_are_not(
    unit: bool, tiny_dense: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if native.best_kernel() not in KERNELS:
        pytest.skip("the best kernel here is a matrix unit's")
    kinds = ["Transformer", "Pooling", "Normalize"][: 3 if unit else 2]
    folder = tmp_path / "model"
    shutil.copytree(tiny_dense, folder)
    for i, kind in enumerate(kinds):
        (folder / f"{i}_{kind}").mkdir()
    modules = [
        {"idx": i, "path": f"{i}_{kind}" if i else "", "type": f"sentence_transformers.{kind}"}
        for i, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    pooling = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    made = DenseEncoder(folder).encode_document(["music by the river", "a cat"])
    monkeypatch.setattr(LeanEncoder, "fixed", None)
    floats = DenseEncoder(folder).encode_document(["music by the river", "a cat"])
    assert np.array_equal(made, floats) is not unit
    np.testing.assert_allclose(made, floats, atol=1e-4)


def test_the_default_models_vectors_are_those_of_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Measured: 4e-5 at most; sentence-transformers is to be met within 1e-4."""
    texts = [
        "how do plants eat",
        "rust",
        "The moon pulls the sea; twice a day the water comes and goes. " * 9,
        "INC48371: flaky test_timeout_is_honoured on arm64, see log",
        "Störche ziehen im Herbst nach Süden; 雨 and \N{GRINNING FACE} are of other alphabets.",
        "heart failure in elderly patients with type 2 diabetes " * 30,
    ]
    found = DenseEncoder().encode_document(texts)
    monkeypatch.setattr(LeanEncoder, "fixed", None)
    floats = DenseEncoder().encode_document(texts)
    np.testing.assert_allclose(found, floats, atol=1e-4)
    assert (np.square(found - floats).sum(axis=1) < 1e-6).all()
