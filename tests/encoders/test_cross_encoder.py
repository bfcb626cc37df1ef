"""Cross-encoders against sentence-transformers' CrossEncoder, on tiny random classifiers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import make_bert, make_classifier

from searchlib.encoders.cross import CrossEncoder, log_odds, relevant_label
from searchlib.errors import BadInput, ModelNotFound, UnsupportedModel

QUERY = "the blues band in the garden"
TEXTS = [
    "the band played the blues in the night",
    "",
    "a doctor reads",
    "bread and water " * 40,  # cut
    "zzz \U0001f600 unknown words",
    "the band played the blues in the night",
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier with one label."""
    return make_classifier(tmp_path_factory.mktemp("cross"))


def reference(folder: Path, query: str = QUERY) -> np.ndarray[Any, np.dtype[np.float32]]:
    """sentence-transformers' raw scores, (n, labels)."""
    import torch
    from sentence_transformers import CrossEncoder as Reference

    peer = Reference(str(folder), device="cpu", local_files_only=True)
    pairs = [(query, text) for text in TEXTS]
    found = peer.predict(pairs, activation_fn=torch.nn.Identity(), batch_size=2)
    return np.asarray(found).reshape(len(TEXTS), -1)


@pytest.mark.parametrize("query", [QUERY, "", "the cat " * 60])
def test_scores_are_those_of_sentence_transformers(model: Path, query: str) -> None:
    found = CrossEncoder(model, "cpu").score(query, TEXTS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, reference(model, query)[:, 0], atol=1e-4)
    assert len(set(found.round(5).tolist())) > 2  # or they would agree on nothing


def test_a_score_does_not_depend_on_the_batch(model: Path) -> None:
    made = CrossEncoder(model, "cpu")
    alone = [float(made.score(QUERY, [text])[0]) for text in TEXTS]
    np.testing.assert_allclose(made.score(QUERY, TEXTS), alone, atol=1e-4)
    assert made.score(QUERY, []).shape == (0,)


def test_of_several_labels_the_score_is_the_log_odds_of_the_relevant_one(tmp_path: Path) -> None:
    folder = make_classifier(tmp_path / "nli", ("contradiction", "Entailment", "neutral"), seed=3)
    logits = reference(folder).astype(np.float64)
    p = np.exp(logits[:, 1]) / np.exp(logits).sum(axis=1)
    found = CrossEncoder(folder, "cpu").score(QUERY, TEXTS)
    np.testing.assert_allclose(found, np.log(p / (1 - p)), atol=1e-4)


def test_of_two_labels_without_names_the_second_is_relevant(tmp_path: Path) -> None:
    folder = make_classifier(tmp_path / "two", ("LABEL_0", "LABEL_1"), seed=4)
    assert "id2label" not in json.loads((folder / "config.json").read_text())
    logits = reference(folder)
    found = CrossEncoder(folder, "cpu").score(QUERY, TEXTS)
    np.testing.assert_allclose(found, logits[:, 1] - logits[:, 0], atol=1e-4)


def test_a_folder_that_sentence_transformers_saved(model: Path, tmp_path: Path) -> None:
    from sentence_transformers import CrossEncoder as Reference

    Reference(str(model), device="cpu").save_pretrained(str(tmp_path / "saved"))
    saved = CrossEncoder(tmp_path / "saved", "cpu").score(QUERY, TEXTS)
    assert saved.tolist() == CrossEncoder(model, "cpu").score(QUERY, TEXTS).tolist()


def test_types_are_left_out_where_the_model_has_none(tmp_path: Path) -> None:
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    folder = make_classifier(tmp_path / "distil")
    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    config = DistilBertConfig(
        vocab_size=size, dim=16, n_heads=2, n_layers=1, hidden_dim=32,
        max_position_embeddings=64, num_labels=1, initializer_range=0.3,
    )  # fmt: skip
    DistilBertForSequenceClassification(config).save_pretrained(folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings |= {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]"}
    settings["model_input_names"] = ["input_ids", "attention_mask"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    found = CrossEncoder(folder, "cpu").score(QUERY, TEXTS)
    np.testing.assert_allclose(found, reference(folder)[:, 0], atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "types"),
    [
        ({"tokenizer_class": "BertTokenizer"}, True),
        ({"tokenizer_class": "TokenizersBackend"}, False),
        ({"tokenizer_class": "PreTrainedTokenizerFast"}, False),
        (
            {
                "tokenizer_class": "TokenizersBackend",
                "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
            },
            True,
        ),
    ],
)
def test_types_are_given_where_the_tokenizer_gives_them(
    settings: dict[str, Any], types: bool, model: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(model, tmp_path / "model")
    own = {"pad_token": "[PAD]", "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(own | settings))
    found = CrossEncoder(folder, "cpu").score(QUERY, TEXTS)
    np.testing.assert_allclose(found, reference(folder)[:, 0], atol=1e-4)
    typed = CrossEncoder(model, "cpu").score(QUERY, TEXTS)
    assert np.allclose(found, typed, atol=1e-4) is types


def test_the_default_prompt_goes_before_queries(model: Path, tmp_path: Path) -> None:
    from sentence_transformers import CrossEncoder as Reference

    prompts = {"judge": "doctor teacher: ", "other": "boat "}
    made = Reference(str(model), device="cpu", prompts=prompts, default_prompt_name="judge")
    made.save_pretrained(str(tmp_path / "prompted"))
    found = CrossEncoder(tmp_path / "prompted", "cpu").score(QUERY, TEXTS)
    np.testing.assert_allclose(found, reference(tmp_path / "prompted")[:, 0], atol=1e-4)
    plain = CrossEncoder(model, "cpu")
    np.testing.assert_allclose(found, plain.score(prompts["judge"] + QUERY, TEXTS), atol=1e-4)
    assert not np.allclose(found, plain.score(QUERY, TEXTS), atol=1e-2)


@pytest.mark.parametrize(
    ("names", "label"),
    [
        (["anything"], 0),
        (["LABEL_0", "LABEL_1"], 1),
        (["yes", "no"], 0),
        (["irrelevant", "Relevant"], 1),
    ],
)
def test_which_label_is_relevant(names: list[str], label: int) -> None:
    assert relevant_label(dict(enumerate(names)), Path("m")) == label


@pytest.mark.parametrize(
    "names",
    [["a", "b"], ["LABEL_0", "LABEL_1", "LABEL_2"], ["yes", "true"], ["1", "2", "3", "4", "5"]],
)
def test_labels_that_say_nothing_are_refused(names: list[str]) -> None:
    with pytest.raises(UnsupportedModel, match="which one means relevant"):
        relevant_label(dict(enumerate(names)), Path("m"))


def test_log_odds_of_large_logits_are_finite() -> None:
    logits = np.array([[0, 500, -500], [500, 0, 499]], np.float32)
    assert log_odds(logits, 1).tolist() == pytest.approx([500, -500.3133], abs=1e-3)


def test_what_is_no_cross_encoder_is_refused(tmp_path: Path, model: Path) -> None:
    cases = {
        "it is a BertModel": make_bert(tmp_path / "dense", masked=False),
        "it is a BertForMaskedLM": make_bert(tmp_path / "sparse", masked=True),
    }
    headless = make_bert(tmp_path / "headless", masked=False)
    config = json.loads((headless / "config.json").read_text())
    config["architectures"] = ["BertForSequenceClassification"]
    (headless / "config.json").write_text(json.dumps(config))
    cases["lacks the weights classifier"] = headless
    pickled = shutil.copytree(model, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    cases["only pytorch_model.bin, which may hold code"] = pickled
    several = shutil.copytree(model, tmp_path / "several")
    modules = [
        {"idx": i, "name": str(i), "path": "", "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(["Transformer", "LogitScore"])
    ]
    (several / "modules.json").write_text(json.dumps(modules))
    cases["made of Transformer, LogitScore"] = several
    for message, folder in cases.items():
        with pytest.raises(UnsupportedModel, match=message) as caught:
            CrossEncoder(folder, "cpu").score(QUERY, TEXTS)
        assert "\n" not in str(caught.value)


def test_remote_code_is_never_run(model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model, tmp_path / "remote")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForSequenceClassification": "evil.Model"}
    config["model_type"] = "evil"
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(UnsupportedModel):
        CrossEncoder(folder, "cpu").score(QUERY, TEXTS)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"num_labels": 10**9},
        {"num_labels": 0},
        {"id2label": ["a"]},
        {"id2label": {}},
        {"id2label": {"x": "a"}},
        {"type_vocab_size": "x"},
        {"vocab_size": 10**9},
        {"max_position_embeddings": 3},
        {"architectures": 7},
    ],
    ids=str,
)
def test_configs_that_lie(model: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = shutil.copytree(model, tmp_path / "lies")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(UnsupportedModel) as caught:
        CrossEncoder(folder, "cpu").score(QUERY, TEXTS)
    assert "\n" not in str(caught.value)


def test_bad_input(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="does not exist"):
        CrossEncoder(tmp_path / "nowhere").score(QUERY, TEXTS)
    with pytest.raises(BadInput, match="not one string"):
        CrossEncoder(model).score(QUERY, "text")
    with pytest.raises(BadInput, match="illegal max_tokens value: 999"):
        CrossEncoder(model, "cpu", 999).score(QUERY, TEXTS)
