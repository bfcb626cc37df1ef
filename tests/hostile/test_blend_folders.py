"""Blends that lie or are spoiled: vectors, or one line of our errors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blends import make_blend
from fuzzing import fuzz, one_line, spoiled
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from test_model_folders import ODD, use
from tiny_models import make_bert

from searchlib.encoders.sparse import SparseEncoder
from searchlib.errors import UnsupportedModel

KEYS = ["dense_fingerprint", "document_share", "query_share", "extra_query_terms"]


@pytest.fixture
def folder(tmp_path: Path, tiny_sparse: Path, tiny_dense: Path) -> Path:
    return make_blend(tmp_path / "model", tiny_sparse, tiny_dense)


def test_settings_that_lie(folder: Path) -> None:
    path = folder / "blend" / "blend.json"
    good = json.loads(path.read_bytes())

    @fuzz(40)
    @given(st.dictionaries(st.sampled_from(KEYS), ODD, min_size=1, max_size=2))
    def run(changes: dict[str, Any]) -> None:
        path.write_text(json.dumps({**good, **changes}))
        use(folder, masked=True)

    run()


def test_spoiled_weights(folder: Path) -> None:
    path = folder / "blend" / "model.safetensors"
    good = path.read_bytes()

    @fuzz(40)
    @given(spoiled([good]))
    def run(data: bytes) -> None:
        path.write_bytes(data)
        use(folder, masked=True)

    run()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_map_of_no_numbers(folder: Path, value: float) -> None:
    path = folder / "blend" / "model.safetensors"
    tensors = load_file(path)
    tensors["scales"][1] = value
    save_file(tensors, path)
    refused(folder, "what is not a number")


@pytest.mark.parametrize(("rows", "columns"), [(1, None), (34, None), (33, 3), (33, 5000)])
def test_a_map_of_another_size(
    tmp_path: Path, tiny_sparse: Path, tiny_dense: Path, rows: int, columns: int | None
) -> None:
    made = make_blend(tmp_path / "m", tiny_sparse, tiny_dense, rows=rows, columns=columns)
    refused(made, "a map of")


@pytest.mark.parametrize("which", ["sparse", "dense"])
@pytest.mark.parametrize("model", ["", None, 7, "\0", ["x"], "/nowhere/at/all", ".", ".."])
def test_a_model_that_is_none(
    folder: Path, tmp_path: Path, which: str, model: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "blend" / "blend.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), which: model}))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    use(folder, masked=True)


def test_a_dense_model_that_is_a_blend(folder: Path, tmp_path: Path) -> None:
    """No folder may lead back to itself: a dense model is never blended."""
    path = folder / "blend" / "blend.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "dense": str(folder)}))
    refused(folder, "has no config.json")


def test_weights_that_are_missing(folder: Path) -> None:
    (folder / "blend" / "model.safetensors").unlink()
    refused(folder, "has no model.safetensors")


def test_numbers_too_large(tmp_path: Path, tiny_sparse: Path) -> None:
    """A dense model whose vectors overflow with the map."""
    dense = make_bert(tmp_path / "dense", masked=False)
    weights = load_file(dense / "model.safetensors")
    name = "encoder.layer.1.output.LayerNorm.bias"
    save_file({**weights, name: weights[name] + np.float32(1e37)}, dense / "model.safetensors")
    made = make_blend(tmp_path / "m", tiny_sparse, dense)
    use(made, masked=True)


def refused(folder: Path, reason: str) -> None:
    with pytest.raises(UnsupportedModel, match=reason) as caught:
        SparseEncoder(folder).encode_document(["the cat"])
    one_line(caught.value)
    shutil.rmtree(folder)
