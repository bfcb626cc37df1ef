from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from model_families import FAMILIES, TEXTS, make_model, save_modules
from numpy.typing import NDArray

from indexes.types import TermVectors
from searchlib.encoders.pruning import Pruning
from searchlib.encoders.sparse import SparseEncoder
from searchlib.errors import BadInput, UnsupportedModel

Tiny = Callable[..., Path]
LEAN = ["bert", "distilbert", "roberta", "xlm-roberta", "camembert", "electra"]


def matrix(vectors: TermVectors, encoder: SparseEncoder, width: int) -> NDArray[np.float32]:
    """(n, vocabulary) with a zero where there is no term."""
    dense = np.zeros((len(vectors), width), np.float32)
    for i in range(len(vectors)):
        for term, weight in vectors.row(i).items():
            id = encoder.tokenizer.id(term)
            column = int(term.split("#")[1][:-1]) if id is None else id
            assert dense[i, column] == 0
            assert weight > 0
            dense[i, column] = weight
    return dense


def naive(
    folder: Path, texts: list[str], pooling: str = "max", logs: int = 1
) -> NDArray[np.float32]:
    """The definition: a text at a time, all logits, every activation, then the pool."""
    import torch
    from transformers import AutoModelForMaskedLM

    encoder = SparseEncoder(folder)
    model = AutoModelForMaskedLM.from_pretrained(folder).eval()
    rows = []
    with torch.no_grad():
        for ids in encoder.tokenizer.encode(texts):
            weights = model(input_ids=torch.tensor(ids).long()[None])[0][0].relu()
            for _ in range(logs):
                weights = weights.log1p()
            rows.append((weights.amax(0) if pooling == "max" else weights.sum(0)).numpy())
    return np.stack(rows)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_equals_the_naive_computation(
    family: str, tiny: Tiny, only_torch: None
) -> None:
    expected = naive(tiny(family), TEXTS)
    encoder = SparseEncoder(tiny(family))
    found = matrix(encoder.encode_document(TEXTS), encoder, expected.shape[1])
    assert (expected > 0).sum() > 20
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_equals_sentence_transformers(
    family: str, tiny: Tiny, only_torch: None
) -> None:
    peer = pytest.importorskip("sentence_transformers").SparseEncoder(str(tiny(family)))
    texts = [text for text in TEXTS if text]  # ModernBERT's peer fails on nothing
    expected = peer.encode_document(texts).to_dense().numpy()
    encoder = SparseEncoder(tiny(family))
    found = matrix(encoder.encode_document(texts), encoder, expected.shape[1])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    found = matrix(encoder.encode_query(texts), encoder, expected.shape[1])
    np.testing.assert_allclose(found, peer.encode_query(texts).to_dense().numpy(), atol=1e-4)


@pytest.mark.parametrize("family", LEAN)
def test_numpy_equals_the_naive_computation(family: str, tiny: Tiny) -> None:
    expected = naive(tiny(family), TEXTS)
    encoder = SparseEncoder(tiny(family))
    found = matrix(encoder.encode_query(TEXTS), encoder, expected.shape[1])
    assert encoder._document_side._backbone._lean is not None
    assert "_network" not in vars(encoder._document_side._backbone)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("path", ["numpy", "torch"])
@pytest.mark.parametrize("pooling", ["max", "sum"])
@pytest.mark.parametrize(("activation", "logs"), [("relu", 1), ("log1p_relu", 2)])
def test_splade_pooling_of_a_sparse_encoder_folder(
    *,
    path: str,
    pooling: str,
    activation: str,
    logs: int,
    tiny: Tiny,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    if path == "torch":
        request.getfixturevalue("only_torch")
    folder = shutil.copytree(tiny("bert"), tmp_path / "model")
    config = {"pooling_strategy": pooling, "activation_function": activation}
    save_modules(folder, [("Transformer", "", None), ("SpladePooling", "1_SpladePooling", config)])
    expected = naive(tiny("bert"), TEXTS, pooling, logs)
    encoder = SparseEncoder(folder)
    found = matrix(encoder.encode_document(TEXTS), encoder, expected.shape[1])
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_results_do_not_depend_on_the_batch(tiny: Tiny, only_torch: None) -> None:
    encoder = SparseEncoder(tiny("bert"))
    texts = TEXTS * 5
    together = encoder.encode_document(texts)
    for i, text in enumerate(texts):
        alone = encoder.encode_document([text]).row(0)
        assert together.row(i) == pytest.approx(alone, abs=1e-4)


def test_tiles_smaller_than_the_vocabulary(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, only_torch: None
) -> None:
    from searchlib.encoders import heads

    whole = SparseEncoder(tiny("bert")).encode_document(TEXTS)
    monkeypatch.setattr(heads, "tile_columns", lambda logits, rows: 7)
    monkeypatch.setattr(heads, "best_kernel", lambda: None)
    tiled = SparseEncoder(tiny("bert"))
    for found in (tiled.encode_document(TEXTS), tiled.encode_with_provenance(TEXTS).vectors):
        assert list(whole.terms) == list(found.terms)
        np.testing.assert_array_equal(whole.indices, found.indices)
        np.testing.assert_allclose(whole.values, found.values, atol=1e-5)


@pytest.mark.parametrize("path", ["numpy", "torch"])
def test_provenance_names_the_word_piece_with_the_largest_logit(
    path: str, tiny: Tiny, request: pytest.FixtureRequest
) -> None:
    import torch
    from transformers import AutoModelForMaskedLM

    if path == "torch":
        request.getfixturevalue("only_torch")
    encoder = SparseEncoder(tiny("bert"))
    text = "Cats near the OLD house"
    found = encoder.encode_with_provenance([text])
    model = AutoModelForMaskedLM.from_pretrained(tiny("bert")).eval()
    ids = encoder.tokenizer.encode([text])[0]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor(ids).long()[None])[0][0]
    spans = [(0, 0), (0, 4), (5, 9), (10, 13), (14, 17), (18, 23), (0, 0)]
    assert found.vectors.row(0) == pytest.approx(encoder.encode_document([text]).row(0), abs=1e-5)
    assert len(found.spans[0]) == len(found.vectors.row(0)) > 3
    for term, span in zip(found.vectors.row(0), found.spans[0], strict=True):
        id = encoder.tokenizer.id(term)
        if id is not None:
            assert span == spans[int(logits[:, id].argmax())]


def test_prompts_and_the_models_own_number_of_terms(tiny: Tiny, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny("bert"), tmp_path / "model")
    settings = {"prompts": {"query": "find ", "document": "paper "}, "max_active_dims": 4}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    bare, encoder = SparseEncoder(tiny("bert")), SparseEncoder(folder)
    full = bare.encode_document(["paper the dog"]).row(0)
    best = sorted(full, key=lambda term: -full[term])[:4]
    assert set(encoder.encode_document(["the dog"]).row(0)) == set(best)
    assert encoder.special_tokens_count == 3
    spans = encoder.encode_with_provenance(["the dog"]).spans[0]
    assert set(spans) <= {(0, 0), (0, 3), (4, 7)}


def test_pruning_of_documents_and_queries_is_separate(tiny: Tiny) -> None:
    encoder = SparseEncoder(tiny("bert"), documents=Pruning(top_k=3), queries=Pruning(ratio=0.5))
    full = SparseEncoder(tiny("bert")).encode_query(["the dog"]).row(0)
    best = sorted(full.values(), reverse=True)
    document, query = encoder.encode_document(["the dog"]), encoder.encode_query(["the dog"])
    assert sorted(document.row(0).values(), reverse=True) == pytest.approx(best[:3])
    kept = [weight for weight in best if weight >= best[0] / 2]
    assert sorted(query.row(0).values(), reverse=True) == pytest.approx(kept)
    assert len(kept) != 3


def test_fingerprint_follows_what_documents_depend_on(tiny: Tiny) -> None:
    base = SparseEncoder(tiny("bert"))
    same = SparseEncoder(tiny("bert"), queries=Pruning(top_k=3))
    other = [
        SparseEncoder(tiny("bert"), documents=Pruning(top_k=3)),
        SparseEncoder(tiny("bert"), max_tokens=12),
        SparseEncoder(tiny("electra")),
    ]
    assert base.fingerprint == same.fingerprint
    assert len({base.fingerprint, *(encoder.fingerprint for encoder in other)}) == 4


def test_no_texts_and_a_bare_string(tiny: Tiny) -> None:
    encoder = SparseEncoder(tiny("bert"))
    assert len(encoder.encode_document([])) == 0
    with pytest.raises(BadInput, match="not one string"):
        encoder.encode_query("one string")


def test_a_model_without_a_masked_head_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="BertModel"):
        _ = SparseEncoder(tiny("bert", masked=False)).fingerprint
    folder = shutil.copytree(tiny("bert"), tmp_path / "model")
    save_modules(folder, [("Transformer", "", None), ("Pooling", "1_Pooling", {})])
    with pytest.raises(UnsupportedModel, match="dense encoder"):
        SparseEncoder(folder).encode_query(["a"])


def test_what_is_neither_dense_nor_sparse_is_not_called_dense(tiny: Tiny, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny("bert"), tmp_path / "model")
    modules = [("Transformer", ""), ("Pooling", "1_P"), ("SparseAutoEncoder", "2_S")]
    save_modules(folder, [(name, path, {} if path else None) for name, path in modules])
    with pytest.raises(UnsupportedModel, match=r"SparseStaticEmbedding for queries$"):
        SparseEncoder(folder).encode_query(["a"])


def test_a_text_of_no_tokens_has_no_terms(tiny: Tiny, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny("bert"), tmp_path / "model")
    bare = json.loads((folder / "tokenizer.json").read_text()) | {"post_processor": None}
    (folder / "tokenizer.json").write_text(json.dumps(bare))
    found = SparseEncoder(folder).encode_document(["", "the dog"])
    assert not found.row(0)
    assert found.row(1)


def test_weights_that_are_missing_are_named(tiny: Tiny, tmp_path: Path, only_torch: None) -> None:
    from safetensors.numpy import load_file, save_file

    folder = shutil.copytree(tiny("bert"), tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    del tensors["cls.predictions.transform.dense.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UnsupportedModel, match=r"predictions\.transform\.dense\.weight"):
        SparseEncoder(folder).encode_document(["a"])


@pytest.mark.parametrize("family", ["bert", "roberta", "electra", "distilbert"])
def test_a_head_that_is_not_tied_to_the_embeddings(
    family: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """transformers stores such a head with two biases, where it has two, and adds the second."""
    from transformers import AutoModelForMaskedLM

    model = AutoModelForMaskedLM.from_pretrained(
        make_model(tmp_path / "tied", family), tie_word_embeddings=False
    )
    generator = np.random.default_rng(0)
    heads = ("bias", "decoder", "vocab_projector", "generator_lm_head")
    for name, weight in model.named_parameters():
        if any(part in heads for part in name.split(".")[-2:]) and weight.shape[0] > 100:
            noise = generator.normal(size=tuple(weight.shape)).astype(np.float32)
            weight.data.copy_(weight.data.new_tensor(noise))
    folder = shutil.copytree(tmp_path / "tied", tmp_path / "model")
    model.save_pretrained(folder)
    expected = naive(folder, TEXTS)
    lean = SparseEncoder(folder)
    found = matrix(lean.encode_document(TEXTS), lean, expected.shape[1])
    assert "_network" not in vars(lean._document_side._backbone)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    request.getfixturevalue("only_torch")
    full = SparseEncoder(folder)
    found = matrix(full.encode_document(TEXTS), full, expected.shape[1])
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_old_names_of_layer_norm(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.numpy import load_file, save_file

    from searchlib.encoders import backbone

    monkeypatch.setattr(backbone, "maybe_gpu", lambda: True)
    folder = shutil.copytree(tiny("bert"), tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for name, tensor in tensors.items()
    }
    assert any("gamma" in name for name in old)
    save_file(old, folder / "model.safetensors", {"format": "pt"})
    expected = SparseEncoder(tiny("bert")).encode_query(TEXTS[:2])
    lean = SparseEncoder(folder).encode_query(TEXTS[:2])
    np.testing.assert_array_equal(lean.values, expected.values)
    encoder = SparseEncoder(folder)
    encoder._document_side._backbone._spent = 1e30  # torch from now on
    full = encoder.encode_document(TEXTS * 2).select(0, 2)
    assert "_network" in vars(encoder._document_side._backbone)
    np.testing.assert_allclose(full.values, expected.values, atol=1e-4)


def test_several_threads_may_share_an_encoder(tiny: Tiny, only_torch: None) -> None:
    from concurrent.futures import ThreadPoolExecutor

    encoder = SparseEncoder(tiny("bert"))
    expected = [encoder.encode_document([text]).row(0) for text in TEXTS]
    with ThreadPoolExecutor(4) as threads:
        work = [TEXTS[i:] + TEXTS[:i] for i in range(len(TEXTS))] * 4
        for texts, found in zip(work, threads.map(encoder.encode_document, work), strict=True):
            for row, text in enumerate(texts):
                assert found.row(row) == pytest.approx(expected[TEXTS.index(text)], abs=1e-4)


def test_a_power_of_their_length_divides_documents_and_not_queries(tiny: Tiny) -> None:
    plain, shortened = SparseEncoder(tiny("bert")), SparseEncoder(tiny("bert"), length_power=0.3)
    whole, part = plain.encode_document(TEXTS), shortened.encode_document(TEXTS)
    for i in range(len(TEXTS)):
        weights = whole.row(i)
        length = sum(weight**2 for weight in weights.values()) ** 0.15
        expected = {term: weight / length for term, weight in weights.items()}
        assert part.row(i) == pytest.approx(expected, rel=1e-5)
    assert shortened.encode_query(TEXTS).row(0) == plain.encode_query(TEXTS).row(0)
    traced = shortened.encode_with_provenance(TEXTS).vectors
    assert traced.row(0) == pytest.approx(part.row(0), rel=1e-4)
    assert shortened.fingerprint != plain.fingerprint
