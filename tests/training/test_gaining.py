"""A sparse model fine-tuned by factors of query terms: fitted, kept, met by an index, hostile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapting import corpus_of, small
from safetensors.numpy import save_file

from indexes.types import TermVectors
from searchlib import Engine, Settings
from searchlib.encoders.gains import FOLDER, TENSOR, read_gains
from searchlib.encoders.sparse import SparseEncoder
from searchlib.errors import UnsupportedModel
from searchlib.training import publishing
from searchlib.training.finetune import FinetuneSettings, finetune
from searchlib.training.fitting import FitSettings
from searchlib.training.gaining import fit_gains, write_gains
from searchlib.training.models import TrainableSparse
from searchlib.training.new_folder import new_folder

TEXTS = ["the cat is asleep", "bread and water", ""]


def gained_model(source: Path, target: Path, gains: Any) -> Path:
    with new_folder(target) as folder:
        write_gains(source, np.asarray(gains, np.float32), folder)
    return target


def factors(source: Path, seed: int = 0) -> Any:
    size = SparseEncoder(source).tokenizer.size
    return np.random.default_rng(seed).uniform(0.5, 2, size).astype(np.float32)


def test_factors_learn_which_terms_say_nothing() -> None:
    """Half of the terms of a query are in any passages, as heavy as its topic's."""
    rng = np.random.default_rng(0)

    def row(topic: int) -> dict[str, float]:
        noise = {f"n{i}": 2.0 for i in rng.choice(30, 6, replace=False)}
        return {f"t{topic}": 1.0, f"u{topic % 7}": 1.0, **noise}

    passages = TermVectors.of([row(i % 60) for i in range(60)])
    queries = TermVectors.of([row(i % 60) for i in range(180)])
    answers = [np.array([i % 60]) for i in range(180)]
    settings = FitSettings(learning_rate=0.1, share=1.0)
    log: list[dict[str, float]] = []
    made = fit_gains(queries, passages, answers, settings, seed=1, report=log.append)
    noise, topics = ([f for t, f in made.items() if t[0] == letter] for letter in "nt")
    assert np.mean(noise) < 0.5
    assert np.mean(topics) > 1
    assert [entry["step"] for entry in log] == list(range(1, 91))
    assert log[-1]["loss"] < log[0]["loss"] / 2
    assert made == fit_gains(queries, passages, answers, settings, seed=1)
    half = fit_gains(queries, passages, answers, replace(settings, share=0.5), seed=1)
    assert half == pytest.approx({term: factor**0.5 for term, factor in made.items()}, rel=1e-4)


def test_terms_of_no_passage_keep_their_weight() -> None:
    queries = TermVectors.of([{"a": 1.0, "lost": 3.0}, {"b": 1.0}])
    passages = TermVectors.of([{"a": 1.0, "b": 0.2}, {"b": 1.0, "a": 0.3}])
    made = fit_gains(
        queries, passages, [np.array([0]), np.array([1])], FitSettings(0.1, 1.0, steps=5)
    )
    assert made["lost"] == 1.0
    assert made.keys() == {"a", "b", "lost"}


def test_queries_change_and_documents_do_not(tmp_path: Path, tiny_sparse: Path) -> None:
    gains = factors(tiny_sparse)
    before = SparseEncoder(tiny_sparse)
    after = SparseEncoder(gained_model(tiny_sparse, tmp_path / "m", gains))
    assert after.fingerprint == before.fingerprint
    id = before.tokenizer.id
    for number in range(len(TEXTS)):
        document = after.encode_document(TEXTS).row(number)
        assert document == before.encode_document(TEXTS).row(number)
        plain = before.encode_query(TEXTS).row(number)
        expected = {term: weight * gains[id(term)] for term, weight in plain.items()}
        assert after.encode_query(TEXTS).row(number) == pytest.approx(expected)
    with pytest.raises(UnsupportedModel, match="train the model that it was made of"):
        TrainableSparse(tmp_path / "m", 32)


def test_an_index_takes_factors_without_encoding(
    tmp_path: Path, tiny_sparse: Path, tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = gained_model(tiny_sparse, tmp_path / "m", factors(tiny_sparse))
    with Engine.create(tmp_path / "i", tiny_settings) as engine:
        engine.add(corpus_of(12))
        [before] = engine.rank(["cat bread"], 20, retriever="sparse")

        def refuse(self: SparseEncoder, texts: Sequence[str]) -> None:
            raise AssertionError(texts)

        monkeypatch.setattr(SparseEncoder, "encode_document", refuse)
        report = engine.reencode(replace(tiny_settings, sparse_model=str(other)))
        assert (report.encoded, report.known) == (0, engine.snapshot.n_passages)
        [after] = engine.rank(["cat bread"], 20, retriever="sparse")
        assert dict(after) != pytest.approx(dict(before), rel=1e-3)


def test_finetuning_again_multiplies_factors(
    tmp_path: Path, tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "is_better", lambda judgements: True)
    documents = corpus_of(24)
    topics = {str(i): document.title for i, document in enumerate(documents)}
    qrels = {str(i): {document.id: 1} for i, document in enumerate(documents)}
    with Engine.create(tmp_path / "i", tiny_settings) as engine:
        engine.add(documents)
    settings = small(FinetuneSettings(kind="sparse"))
    finetune(tmp_path / "i", topics, qrels, tmp_path / "m", settings)
    first = read_gains(tmp_path / "m")
    assert first is not None
    assert (first != 1).any()
    with Engine.open(tmp_path / "i") as engine:
        engine.reencode(replace(engine.settings, sparse_model=str(tmp_path / "m")))
    finetune(tmp_path / "i", topics, qrels, tmp_path / "n", settings)
    second = read_gains(tmp_path / "n")
    assert second is not None
    assert ((second == first) == (first == 1)).mean() > 0.9
    assert "gains.steps" in (tmp_path / "n" / "README.md").read_text()


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({TENSOR: -np.ones(99, np.float32)}, "not above 0"),
        ({TENSOR: np.full(99, np.nan, np.float32)}, "not above 0"),
        ({TENSOR: np.ones((9, 9), np.float32)}, "no row of factors"),
        ({TENSOR: np.ones(99, np.int64)}, "no row of factors"),
        ({"other": np.ones(99, np.float32)}, "no row of factors"),
        ({TENSOR: np.ones(3, np.float32)}, "do not go together"),
    ],
)
def test_factors_that_are_none(
    tmp_path: Path, tiny_sparse: Path, tensors: dict[str, Any], said: str
) -> None:
    model = gained_model(tiny_sparse, tmp_path / "m", factors(tiny_sparse))
    save_file(tensors, model / FOLDER / "model.safetensors")
    with pytest.raises(UnsupportedModel, match=said):
        SparseEncoder(model).encode_query(TEXTS)
