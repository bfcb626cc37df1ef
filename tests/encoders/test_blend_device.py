"""Blends on a GPU, whose code runs on torch's CPU too; and half precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from blends import make_blend
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from searchlib.encoders import backbone
from searchlib.encoders.blend import blended, inputs, predicted
from searchlib.encoders.blend_device import DeviceMap, blended_rows
from searchlib.encoders.dense import DenseEncoder
from searchlib.encoders.gpu import Half, planless_attention
from searchlib.encoders.heads import Terms
from searchlib.encoders.sparse import SparseEncoder
from searchlib.encoders.ternary import Ternary

TEXTS = ["the cat in the garden", "bread dough and yeast in the oven", "", "a boat"]

TERMS = st.dictionaries(st.integers(0, 14), st.integers(1, 5), max_size=6)
ROWS = st.lists(st.integers(0, 4), min_size=12, max_size=12)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(TERMS, ROWS), min_size=1, max_size=5),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    st.integers(0, 3),
)
def test_rows_blended_together_equal_those_one_by_one(
    texts: list[tuple[dict[int, int], list[int]]], share: float, extra: int
) -> None:
    found = [
        Terms(
            np.array(sorted(own), np.int32),
            np.array([own[id] for id in sorted(own)], np.float32),
        )
        for own, _ in texts
    ]
    rows = np.array([row for _, row in texts], np.float32)
    together = blended_rows(found, torch.from_numpy(rows), share, extra)
    for terms, row, made in zip(found, rows, together, strict=True):
        expected = blended(terms, row, share, extra)
        assert made.positions is None
        # subtle: of two terms that differ by rounding only, either may stay
        assert sorted(made.weights) == pytest.approx(sorted(expected.weights), rel=1e-5)
        all_of_it = blended(terms, row, share, 15)
        weights = dict(zip(all_of_it.ids.tolist(), all_of_it.weights.tolist(), strict=True))
        assert made.ids.tolist() == sorted(made.ids.tolist())
        for id, weight in zip(made.ids.tolist(), made.weights.tolist(), strict=True):
            assert weight == pytest.approx(weights[id], rel=1e-5)


def test_a_blend_on_a_gpu_is_the_blend(
    tiny_sparse: Path, tiny_dense: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = SparseEncoder(make_blend(tmp_path / "m", tiny_sparse, tiny_dense))
    expected = [encoder.encode_document(TEXTS), encoder.encode_query(TEXTS)]
    monkeypatch.setattr(DenseEncoder, "gpu", torch.device("cpu"))  # torch's code, wherever it runs
    made = [encoder.encode_document(TEXTS), encoder.encode_query(TEXTS)]
    assert "_device_map" in vars(encoder.blend)
    for some, wanted in zip(made, expected, strict=True):
        for row in range(len(TEXTS)):
            assert some.row(row) == pytest.approx(wanted.row(row), rel=1e-4)


def test_weights_that_are_no_numbers_are_refused_on_a_gpu_too() -> None:
    terms = [Terms(np.array([0], np.int32), np.array([np.inf], np.float32))]
    with pytest.raises(ValueError, match="not numbers"):
        blended_rows(terms, torch.ones(1, 3), 0.5, 1)


def test_a_map_on_a_device_predicts_what_the_map_does() -> None:
    rng = np.random.default_rng(0)
    map = Ternary.of(rng.normal(size=(5, 30)).astype(np.float32))
    vectors = rng.normal(size=(3, 4)).astype(np.float32)
    made = DeviceMap(map, torch.device("cpu")).predicted(inputs(vectors))
    np.testing.assert_allclose(made.numpy(), predicted(vectors, map), atol=1e-5)


def test_what_overflows_in_half_precision_is_computed_with_more_reach() -> None:
    seen: list[torch.dtype] = []

    def network() -> Tensor:
        made = torch.full((2, 3), 300.0) @ torch.full((3, 3), 100.0)  # 90,000: beyond fp16
        seen.append(made.dtype)
        return made

    half = Half("cpu")
    for _ in range(2):
        assert half.run(network, lambda hidden: float(hidden.max())) == pytest.approx(9e4, rel=0.01)
    assert seen[0] == torch.float16
    assert torch.float16 not in seen[1:]  # it has learned


def test_what_fits_in_half_precision_stays_in_it() -> None:
    half = Half("cpu")
    kind = half.run(lambda: torch.ones(2, 3) @ torch.ones(3, 3), lambda hidden: hidden.dtype)
    assert kind == half.kind == torch.float16


def test_a_gpu_that_is_hidden_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for hidden in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        backbone.maybe_gpu.cache_clear()
        assert not backbone.maybe_gpu()
    backbone.maybe_gpu.cache_clear()


def test_attention_without_plans_leaves_torch_as_it_was() -> None:
    before = torch.backends.cuda.cudnn_sdp_enabled()
    with planless_attention():
        assert not torch.backends.cuda.cudnn_sdp_enabled()
    assert torch.backends.cuda.cudnn_sdp_enabled() == before


def test_texts_tokenised_on_several_cores_are_the_same(
    tiny_dense: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indexes.threads.cores", lambda: 3)
    tokenizer = DenseEncoder(tiny_dense).tokenizer
    some = [f"the cat in the garden {'night ' * i}" for i in range(50)]
    found, expected = (
        tokenizer.encode(some, "song ", parallel=True),
        tokenizer.encode(some, "song "),
    )
    assert [ids.tolist() for ids in found] == [ids.tolist() for ids in expected]
