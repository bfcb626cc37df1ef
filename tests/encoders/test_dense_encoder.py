from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_families import FAMILIES, TEXTS, add_tokens, save_modules

from searchlib.encoders.cross import CrossEncoder
from searchlib.encoders.dense import DenseEncoder
from searchlib.encoders.dense_layout import read_dense
from searchlib.encoders.sparse_layout import read_sparse
from searchlib.errors import BadInput, ModelNotFound, UnsupportedModel

Tiny = Callable[..., Path]
LEAN = ["bert", "distilbert", "roberta", "xlm-roberta", "camembert", "electra"]
FULL_TEXTS = [text for text in TEXTS if text]
MODES = ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]


def peer(folder: Path) -> Any:
    return pytest.importorskip("sentence_transformers").SentenceTransformer(str(folder))


def pooled(tiny: Tiny, folder: Path, pooling: dict[str, Any], *more: Any) -> Path:
    shutil.copytree(tiny("bert", masked=False), folder)
    config = {"embedding_dimension": 16, **pooling}
    save_modules(folder, [("Transformer", "", None), ("Pooling", "1_Pooling", config), *more])
    text = (folder / "modules.json").read_text()
    base, own = "sentence_transformers.base.modules", "sentence_transformers.models"
    for name in ("Transformer", "Dense", "Normalize"):
        text = text.replace(f"{own}.{name}", f"{base}.{name}")
    (folder / "modules.json").write_text(text)
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_equals_sentence_transformers(
    family: str, tiny: Tiny, only_torch: None
) -> None:
    folder = tiny(family, masked=False)
    expected = peer(folder).encode(FULL_TEXTS)
    found = DenseEncoder(folder).encode_document(FULL_TEXTS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("family", LEAN)
def test_numpy_equals_torch(family: str, tiny: Tiny, request: pytest.FixtureRequest) -> None:
    lean = DenseEncoder(tiny(family, masked=False))
    found = lean.encode_query(TEXTS)
    assert "_network" not in vars(lean._body._backbone)
    request.getfixturevalue("only_torch")
    full = DenseEncoder(tiny(family, masked=False))
    np.testing.assert_allclose(found, full.encode_query(TEXTS), atol=1e-4)
    assert "_network" in vars(full._body._backbone)


@pytest.mark.parametrize("path", ["numpy", "torch"])
@pytest.mark.parametrize("mode", [*MODES, ["cls", "max", "weightedmean"]])
def test_pooling(
    mode: str | list[str], path: str, tiny: Tiny, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if path == "torch":
        request.getfixturevalue("only_torch")
    folder = pooled(tiny, tmp_path / "model", {"pooling_mode": mode})
    encoder = DenseEncoder(folder)
    expected = peer(folder).encode(FULL_TEXTS)
    np.testing.assert_allclose(encoder.encode_document(FULL_TEXTS), expected, atol=1e-4)
    assert encoder.dimension == 16 * (1 if isinstance(mode, str) else 3)


@pytest.mark.parametrize("path", ["numpy", "torch"])
def test_old_pooling_config_projection_normalisation_prompts_and_case(
    path: str, tiny: Tiny, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if path == "torch":
        request.getfixturevalue("only_torch")
    from safetensors.numpy import save_file

    old = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}
    dense = {
        "in_features": 32,
        "out_features": 5,
        "bias": True,
        "activation_function": "torch.nn.modules.activation.Tanh",
    }
    steps = [("Dense", "2_Dense", dense), ("Normalize", "3_Normalize", {})]
    folder = pooled(tiny, tmp_path / "model", old, *steps)
    rng = np.random.default_rng(3)
    linear = {
        "linear.weight": rng.standard_normal((5, 32), np.float32),
        "linear.bias": rng.standard_normal(5, np.float32),
    }
    save_file(linear, folder / "2_Dense" / "model.safetensors")
    settings = {"prompts": {"query": "find ", "document": "the paper "}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    bert = {"max_seq_length": 9, "do_lower_case": True}
    (folder / "sentence_bert_config.json").write_text(json.dumps(bert))

    encoder, reference = DenseEncoder(folder), peer(folder)
    assert encoder.max_tokens == 9
    queries, documents = encoder.encode_query(FULL_TEXTS), encoder.encode_document(FULL_TEXTS)
    assert queries.shape == (len(FULL_TEXTS), encoder.dimension) == (len(FULL_TEXTS), 5)
    np.testing.assert_allclose(queries, reference.encode_query(FULL_TEXTS), atol=1e-4)
    np.testing.assert_allclose(documents, reference.encode_document(FULL_TEXTS), atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(documents, axis=1), 1, atol=1e-5)
    assert np.abs(queries - documents).max() > 0.01


@pytest.mark.parametrize("path", ["numpy", "torch"])
def test_prompts_that_are_not_pooled(
    path: str, tiny: Tiny, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if path == "torch":
        request.getfixturevalue("only_torch")
    pooling = {"pooling_mode": ["mean", "cls", "weightedmean"], "include_prompt": False}
    folder = pooled(tiny, tmp_path / "model", pooling)
    settings = {"prompts": {"query": "find the dog ", "document": ""}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    expected = peer(folder).encode_query(FULL_TEXTS)
    found = DenseEncoder(folder).encode_query(FULL_TEXTS)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_results_do_not_depend_on_the_batch(tiny: Tiny, only_torch: None) -> None:
    encoder = DenseEncoder(tiny("bert", masked=False))
    together = encoder.encode_document(TEXTS * 5)
    alone = np.concatenate([encoder.encode_document([text]) for text in TEXTS * 5])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_empty_texts_have_finite_vectors(tiny: Tiny) -> None:
    encoder = DenseEncoder(tiny("bert", masked=False))
    assert np.isfinite(encoder.encode_document(["", " ", "\n"])).all()
    assert encoder.encode_query([]).shape == (0, 16)
    with pytest.raises(BadInput, match="not one string"):
        encoder.encode_query("one string")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("path", ["numpy", "torch"])
def test_texts_of_no_tokens_pool_nothing(
    mode: str, path: str, tiny: Tiny, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if path == "torch":
        request.getfixturevalue("only_torch")
    folder = pooled(tiny, tmp_path / "model", {"pooling_mode": mode})
    bare = json.loads((folder / "tokenizer.json").read_text()) | {"post_processor": None}
    (folder / "tokenizer.json").write_text(json.dumps(bare))
    texts = ["the quick dog", "", "a cat near the river and the old house", ""]
    encoder = DenseEncoder(folder)
    assert not encoder.encode_query([""]).any()
    found = encoder.encode_query(texts)
    assert found.any(axis=1).tolist() == [True, False, True, False]
    np.testing.assert_allclose(found[::2], peer(folder).encode(texts[::2]), atol=1e-4)


def test_tokens_that_a_model_has_no_embedding_for(tiny: Tiny, tmp_path: Path) -> None:
    """They may be in the tokenizer; one of them in a text is named."""
    folder = shutil.copytree(tiny("bert", masked=False), tmp_path / "model")
    rows = add_tokens(folder)
    encoder = DenseEncoder(folder)
    whole = DenseEncoder(tiny("bert", masked=False)).encode_query(TEXTS)
    np.testing.assert_array_equal(encoder.encode_query(TEXTS), whole)
    told = f"has {rows + 2} tokens, its model embeddings for {rows}, and none for number {rows + 1}"
    with pytest.raises(UnsupportedModel, match=told):
        encoder.encode_query([f"the cat <extra{rows + 1}>"])


@pytest.mark.parametrize("length", [-5, 2, "many", True, float("nan")])
def test_impossible_lengths_are_named(length: object, tiny: Tiny, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny("bert", masked=False), tmp_path / "model")
    for name, key in (
        ("tokenizer_config.json", "model_max_length"),
        ("sentence_bert_config.json", "max_seq_length"),
    ):
        (folder / name).write_text(json.dumps({key: length}))
        with pytest.raises(UnsupportedModel, match=f"model: {name} has {key} {length!r}; it must"):
            DenseEncoder(folder).encode_query(["a"])


def test_adapters_are_refused(tiny: Tiny, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny("bert", masked=False), tmp_path / "beside")
    (tmp_path / "alone").mkdir()
    for path in (folder, tmp_path / "alone"):
        (path / "adapter_config.json").write_text("{}")
        with pytest.raises(UnsupportedModel, match=r"adapter.* merge_and_unload\(\) and save_pre"):
            DenseEncoder(path).encode_query(["a"])


def test_many_texts_load_torch_and_few_do_not(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    from searchlib.encoders import backbone

    monkeypatch.setattr(backbone, "LEAN_WORK", 2e6)
    monkeypatch.setattr(backbone, "maybe_gpu", lambda: True)
    encoder = DenseEncoder(tiny("bert", masked=False))
    for _ in range(20):
        few = encoder.encode_query(["the quick dog"])
    assert "_network" not in vars(encoder._body._backbone)
    many = encoder.encode_document(["the quick dog"] * 100)
    assert "_network" in vars(encoder._body._backbone)
    np.testing.assert_allclose(many, few.repeat(100, axis=0), atol=1e-5)


def test_max_tokens_cuts_texts(tiny: Tiny) -> None:
    encoder = DenseEncoder(tiny("bert", masked=False), max_tokens=5)
    cut = encoder.encode_document(["the cat and dog near the river", "the cat and"])
    np.testing.assert_array_equal(cut[0], cut[1])
    for wrong in (2, 49):
        with pytest.raises(BadInput, match="must be between 3 and 48"):
            _ = DenseEncoder(tiny("bert", masked=False), max_tokens=wrong).max_tokens


def test_no_such_device(tiny: Tiny, only_torch: None) -> None:
    for device in ("cuda:99", "toaster", "meta"):
        with pytest.raises(BadInput, match=f"no device '{device}' here, only cpu"):
            DenseEncoder(tiny("bert", masked=False), device).encode_document(["a"])


def test_folders_that_are_no_dense_encoders(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnsupportedModel, match=r"none of config\.json, modules\.json"):
        DenseEncoder(tmp_path / "empty").encode_query(["a"])
    with pytest.raises(ModelNotFound, match="does not exist"):
        DenseEncoder(tmp_path / "nothing").encode_query(["a"])
    cases = [
        ([("Transformer", "", None), ("SpladePooling", "1_P", {})], "use it as a sparse encoder"),
        ([("Transformer", "", None)], "no Pooling"),
        ([("BoW", "", None), ("Pooling", "1_P", {})], "starts with BoW"),
        ([("Transformer", "", None), ("Pooling", "1_P", {"pooling_mode": "odd"})], "'odd'"),
        ([("Transformer", "../../..", None), ("Pooling", "1_P", {})], "outside itself"),
    ]
    for number, (modules, message) in enumerate(cases):
        folder = shutil.copytree(tiny("bert", masked=False), tmp_path / str(number))
        save_modules(folder, modules)
        with pytest.raises(UnsupportedModel, match=message):
            DenseEncoder(folder).encode_query(["a"])


def test_fingerprint_follows_the_case_of_texts(tiny: Tiny, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny("roberta", masked=False), tmp_path / "model")
    seen = set()
    for lower in (False, True):
        settings = {"max_seq_length": 40, "do_lower_case": lower}
        (folder / "sentence_bert_config.json").write_text(json.dumps(settings))
        encoder = DenseEncoder(folder)
        seen.add((encoder.fingerprint, encoder.encode_query(["DOG"]).tobytes()))
    assert len({fingerprint for fingerprint, _ in seen}) == len({row for _, row in seen}) == 2
    bert = shutil.copytree(tiny("bert", masked=False), tmp_path / "bert")
    seen = set()
    for lower in (True, False):
        settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": lower}
        (bert / "tokenizer_config.json").write_text(json.dumps(settings))
        encoder = DenseEncoder(bert)
        seen.add((encoder.fingerprint, encoder.encode_query(["DOG"]).tobytes()))
    assert len({fingerprint for fingerprint, _ in seen}) == len({row for _, row in seen}) == 2


@pytest.mark.parametrize("normal", [True, False])
def test_vectors_are_cut_as_the_model_says(normal: bool, tiny: Tiny, tmp_path: Path) -> None:
    more = [("Normalize", "2_Normalize", None)] if normal else []
    folder = pooled(tiny, tmp_path / "model", {"pooling_mode": "mean"}, *more)
    whole = DenseEncoder(folder).fingerprint
    for size in (5, 16, 99):
        settings = {"truncate_dim": size, "model_type": "SentenceTransformer", "prompts": {}}
        (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
        encoder = DenseEncoder(folder)
        found = encoder.encode_document(FULL_TEXTS)
        assert found.shape == (len(FULL_TEXTS), min(size, 16))
        np.testing.assert_allclose(found, peer(folder).encode(FULL_TEXTS), atol=1e-4)
        assert encoder.dimension == min(size, 16)
        assert encoder.fingerprint != whole
    for size in (0, -1, 1.5, True, "8"):
        (folder / "config_sentence_transformers.json").write_text(
            json.dumps({"truncate_dim": size})
        )
        with pytest.raises(UnsupportedModel, match=rf"truncate_dim is {size!r}; it must be"):
            DenseEncoder(folder).encode_document(["a"])


@pytest.mark.parametrize("name", ["custom_st.Transformer", "evil.Pooling", "Transformer"])
def test_modules_of_a_models_own_are_refused(name: str, tiny: Tiny, tmp_path: Path) -> None:
    folder = pooled(tiny, tmp_path / "model", {"pooling_mode": "mean"})
    modules = json.loads((folder / "modules.json").read_text())
    for module in modules:
        if module["type"].endswith(f".{name.rsplit('.', 1)[-1]}"):
            module["type"] = name
    (folder / "modules.json").write_text(json.dumps(modules))
    for read in (read_dense, read_sparse, lambda path: CrossEncoder(path).score("a", ["b"])):
        with pytest.raises(UnsupportedModel, match=f"a module of its own, '{name}', "):
            read(folder)


def test_remote_code_is_not_executed(tiny: Tiny, tmp_path: Path, only_torch: None) -> None:
    folder = shutil.copytree(tiny("bert", masked=False), tmp_path / "model")
    marker = tmp_path / "executed"
    code = f"open({str(marker)!r}, 'w')\nclass Config: pass\nclass Model: pass\n"
    (folder / "code.py").write_text(code)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "code.Config", "AutoModel": "code.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    expected = DenseEncoder(tiny("bert", masked=False)).encode_document(TEXTS)
    np.testing.assert_allclose(DenseEncoder(folder).encode_document(TEXTS), expected, atol=1e-5)
    config["model_type"] = "none-that-exists"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedModel, match="cannot load"):
        DenseEncoder(folder).encode_document(TEXTS)
    assert not marker.exists()
