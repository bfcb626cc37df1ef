from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from searchlib.encoders.dense import DenseEncoder
from searchlib.encoders.sparse import SparseEncoder
from searchlib.encoders.weights import Weights
from searchlib.errors import UnsupportedModel

Tiny = Callable[..., Path]


def save(folder: Path, **tensors: NDArray[np.generic]) -> Path:
    from safetensors.numpy import save_file

    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    return folder


def test_tensors_come_with_their_shapes_and_half_precision_as_float32(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    values = torch.randn(5, 3)
    tensors = {
        "full": values,
        "half": values.half(),
        "brain": values.bfloat16(),
        "whole": torch.arange(4),
        "none": torch.zeros(0, 2),
    }
    save_file(tensors, tmp_path / "model.safetensors")
    weights = Weights(tmp_path)
    assert set(weights) == set(tensors)
    for name, tensor in tensors.items():
        expected = tensor.float().numpy() if tensor.is_floating_point() else tensor.numpy()
        np.testing.assert_array_equal(weights[name], expected)
        assert weights[name].dtype == expected.dtype


def test_shards(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"a": np.ones(2, np.float32)}, tmp_path / "one.safetensors")
    save_file({"b": np.zeros(2, np.float32)}, tmp_path / "two.safetensors")
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert set(Weights(tmp_path)) == {"a", "b"}
    (tmp_path / "two.safetensors").unlink()
    with pytest.raises(UnsupportedModel, match=r"lacks two\.safetensors"):
        Weights(tmp_path)


@pytest.mark.parametrize("cut", [0, 4, 8, 30, -1])
def test_a_file_cut_short_is_one_clear_line(cut: int, tmp_path: Path) -> None:
    path = save(tmp_path, a=np.arange(100, dtype=np.float32)) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UnsupportedModel, match=r"model\.safetensors") as caught:
        Weights(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[4,0]}}',
        b'{"a":{"dtype":"Q9","shape":[1],"data_offsets":[0,4]}}',
        b'{"a":3}',
        b"\xff\xfe",
    ],
)
def test_a_header_that_lies_is_one_clear_line(header: bytes, tmp_path: Path) -> None:
    data = len(header).to_bytes(8, "little") + header + b"\0" * 4
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(UnsupportedModel, match="is damaged"):
        Weights(tmp_path)


def test_a_damaged_model_is_refused_by_encoders(tiny: Tiny, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny("bert", masked=False), tmp_path / "model")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    for use in (lambda e: e.fingerprint, lambda e: e.encode_query(["a"])):
        with pytest.raises(UnsupportedModel, match="damaged"):
            use(DenseEncoder(folder))


def test_pickled_weights_are_refused(tiny: Tiny, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny("bert", masked=False), tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UnsupportedModel, match=r"no model\.safetensors.*pytorch_model\.bin"):
        DenseEncoder(folder).encode_query(["a"])


def test_digest_sees_one_changed_value_in_a_small_tensor(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    large, small = rng.random(100_000, np.float32), rng.random(300, np.float32)
    first = Weights(save(tmp_path / "a", large=large, small=small)).digest()
    assert Weights(save(tmp_path / "b", small=small, large=large)).digest() == first
    other = small.copy()
    other[150] += 1
    assert Weights(save(tmp_path / "c", large=large, small=other)).digest() != first
    assert Weights(save(tmp_path / "d", large=large * 1.01, small=small)).digest() != first
    shaped = Weights(save(tmp_path / "e", large=large, small=small.reshape(3, 100)))
    assert shaped.digest() != first


@pytest.mark.parametrize("padding", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("masked", [True, False])
def test_a_model_whose_tensors_lie_askew_gives_the_same(
    padding: int, masked: bool, tiny: Callable[..., Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny("bert", masked=masked), tmp_path / "model")
    path = folder / "model.safetensors"
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + size] + b" " * padding
    path.write_bytes(len(header).to_bytes(8, "little") + header + data[8 + size :])
    texts = ["the quick dog", "a cat near the river and the old house"]
    if masked:
        one, other = (SparseEncoder(f).encode_document(texts) for f in (tiny("bert"), folder))
        assert one.terms == other.terms
        np.testing.assert_allclose(one.values, other.values, atol=1e-5)
    else:
        both = (tiny("bert", masked=False), folder)
        vectors = [DenseEncoder(of).encode_document(texts) for of in both]
        np.testing.assert_allclose(*vectors, atol=1e-5)
