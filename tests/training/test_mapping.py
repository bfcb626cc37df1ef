"""A dense model fine-tuned by a map of its vectors: fitted, exported, and met by an index."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapting import corpus_of, small

from searchlib import Engine, Settings
from searchlib.encoders.dense import DenseEncoder
from searchlib.encoders.dense_layout import read_dense
from searchlib.encoders.lean import LeanEncoder
from searchlib.encoders.pooling import normalize
from searchlib.errors import BadQuery, UnsupportedModel
from searchlib.training import mapping, publishing
from searchlib.training.adapt import AdaptSettings, adapt
from searchlib.training.distill import Sample
from searchlib.training.export import export_map
from searchlib.training.finetune import FinetuneSettings, finetune
from searchlib.training.fitting import FitSettings
from searchlib.training.log import read_log
from searchlib.training.mapping import MAP, fit_map
from searchlib.training.new_folder import new_folder
from searchlib.training.static_model import distill_model

TEXTS = ["the cat is asleep", "bread and water", "a doctor writes", ""]


@pytest.fixture(scope="module")
def normal_dense(tmp_path_factory: pytest.TempPathFactory, tiny_dense: Path) -> Path:
    """The tiny dense model in sentence-transformers' layout, with vectors of length 1."""
    folder = tmp_path_factory.mktemp("normal") / "model"
    shutil.copytree(tiny_dense, folder)
    names = ["Transformer", "Pooling", "Normalize"]
    modules = [
        {"idx": i, "name": str(i), "path": f"{i}_{name}" if i else "",
         "type": f"sentence_transformers.models.{name}"}
        for i, name in enumerate(names)
    ]  # fmt: skip
    (folder / "modules.json").write_text(json.dumps(modules))
    for number, name in enumerate(names[1:], 1):
        (folder / f"{number}_{name}").mkdir()
    pooling = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


@pytest.mark.parametrize("whole", [False, True])
def test_static_vectors_are_refused_and_no_work_is_left(
    tmp_path: Path, tiny_dense: Path, tiny_settings: Settings, whole: bool
) -> None:
    documents = corpus_of(24)
    distill_model(
        Sample([document.text for document in documents]), str(tiny_dense), tmp_path / "s"
    )
    with Engine.create(
        tmp_path / "i", replace(tiny_settings, dense_model=str(tmp_path / "s"))
    ) as engine:
        engine.add(documents)
    topics = {document.id: document.title for document in documents}
    qrels = {document.id: {document.id: 1} for document in documents}
    settings = small(FinetuneSettings(kind="dense", whole=whole))
    with pytest.raises(UnsupportedModel, match=r"holds static vectors.*cannot be trained.*distill"):
        finetune(tmp_path / "i", topics, qrels, tmp_path / "m", settings)
    with pytest.raises(UnsupportedModel, match="holds static vectors"):
        adapt(tmp_path / "i", tmp_path / "m", small(AdaptSettings(kind="dense")))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["i", "s"]


def matrix(seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return (np.eye(32) + 0.3 * rng.standard_normal((32, 32))).astype(np.float32)


def mapped_model(source: Path, target: Path, seed: int = 0) -> Path:
    layout, size = read_dense(source), DenseEncoder(source).dimension
    with new_folder(target) as folder:
        export_map(source, layout, matrix(seed)[:size, :size], folder)
    return target


def cut(source: Path, target: Path, size: int) -> Path:
    """A copy of a model, of whose vectors the first numbers are kept."""
    shutil.copytree(source, target)
    settings = {"truncate_dim": size, "prompts": {}, "model_type": "SentenceTransformer"}
    (target / "config_sentence_transformers.json").write_text(json.dumps(settings))
    return target


def test_a_map_learns_what_answers_have_in_common() -> None:
    """Half of each vector is noise that hides which passage answers; new queries gain too."""
    rng = np.random.default_rng(0)
    meaning = rng.standard_normal((200, 8))
    queries, passages = (
        normalize(np.hstack([meaning, 2 * rng.standard_normal((200, 24))]).astype(np.float32))
        for _ in range(2)
    )

    def found(matrix: Any) -> float:
        asked, read = (normalize(v @ matrix) for v in (queries, passages))
        return float(np.mean((asked @ read.T).argmax(axis=1)[100:] == np.arange(100, 200)))

    answers = [np.array([i]) for i in range(100)]
    settings = FitSettings(learning_rate=1e-2, share=1.0)
    log: list[dict[str, float]] = []
    made = fit_map(
        queries[:100], passages, answers, settings, normal=True, seed=3, report=log.append
    )
    assert found(made) > 2 * found(np.eye(32, dtype=np.float32)) > 0
    assert [entry["step"] for entry in log] == list(range(1, 91))
    assert log[-1]["loss"] < log[0]["loss"] / 2
    again = fit_map(queries[:100], passages, answers, settings, normal=True, seed=3)
    np.testing.assert_array_equal(made, again)
    half = fit_map(
        queries[:100], passages, answers, replace(settings, share=0.5), normal=True, seed=3
    )
    np.testing.assert_allclose(half, (made + np.eye(32)) / 2, atol=1e-6)


@pytest.fixture
def only_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights in whole numbers, so that vectors are the peer's to all its digits."""
    monkeypatch.setattr(LeanEncoder, "fixed", None)


@pytest.mark.usefixtures("only_floats")
@pytest.mark.parametrize("size", [8, 32, 100])
def test_a_map_of_vectors_that_are_cut(tmp_path: Path, normal_dense: Path, size: int) -> None:
    from sentence_transformers import SentenceTransformer

    source = cut(normal_dense, tmp_path / "source", size)
    before = DenseEncoder(source).encode_document(TEXTS)
    rows = matrix()[: before.shape[1], : before.shape[1]]
    expected = before @ rows
    target = mapped_model(source, tmp_path / "m")
    found = DenseEncoder(target).encode_document(TEXTS)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    theirs = SentenceTransformer(str(target), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(theirs, expected, atol=1e-5)
    again = DenseEncoder(mapped_model(target, tmp_path / "again")).encode_document(TEXTS)
    np.testing.assert_allclose(again, expected @ rows, atol=1e-5)


@pytest.mark.usefixtures("only_floats")
@pytest.mark.parametrize("normal", [True, False])
def test_a_mapped_model_opens_as_it_is(
    tmp_path: Path, tiny_dense: Path, normal_dense: Path, normal: bool
) -> None:
    from sentence_transformers import SentenceTransformer

    source = normal_dense if normal else tiny_dense
    target = mapped_model(source, tmp_path / "m")
    before, after = DenseEncoder(source), DenseEncoder(target)
    vectors = before.encode_document(TEXTS) @ matrix()
    expected = normalize(vectors) if normal else vectors
    np.testing.assert_allclose(after.encode_document(TEXTS), expected, atol=1e-5)
    theirs = SentenceTransformer(str(target), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(theirs, expected, atol=1e-5)
    assert after.plain_fingerprint == before.fingerprint != after.fingerprint
    assert before.plain_fingerprint is None
    np.testing.assert_allclose(
        after.mapped(before.encode_document(TEXTS)), after.encode_document(TEXTS), atol=1e-5
    )
    again = DenseEncoder(mapped_model(target, tmp_path / "again", seed=1))
    assert again.plain_fingerprint == after.fingerprint
    vectors = expected @ matrix(1)
    np.testing.assert_allclose(
        again.encode_document(TEXTS), normalize(vectors) if normal else vectors, atol=1e-4
    )


def test_an_index_takes_a_mapped_model_without_running_it(
    tmp_path: Path, normal_dense: Path, tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(tiny_settings, dense_model=str(normal_dense))
    mapped = replace(settings, dense_model=str(mapped_model(normal_dense, tmp_path / "m")))
    documents = corpus_of(12)

    def scores(engine: Engine) -> Any:
        found = engine.rank(["cat bread", "the river"], 20, retriever="dense")
        return [dict(ranking) for ranking in found]

    with Engine.create(tmp_path / "fresh", mapped) as fresh:
        fresh.add(documents)
        expected = scores(fresh)
    with Engine.create(tmp_path / "i", settings) as engine:
        engine.add(documents)
        old = scores(engine)

        def refuse(self: DenseEncoder, texts: Sequence[str]) -> None:
            raise AssertionError(texts)

        with monkeypatch.context() as patched:
            patched.setattr(DenseEncoder, "encode_document", refuse)
            report = engine.reencode(mapped)
        assert (report.encoded, report.known) == (0, engine.snapshot.n_passages)
        for found, wanted, before in zip(scores(engine), expected, old, strict=True):
            assert found == pytest.approx(wanted, abs=1e-4)
            assert found != pytest.approx(before, abs=1e-2)


def test_finetuning_a_dense_model_fits_a_map_once(
    tmp_path: Path, normal_dense: Path, tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was fitted before a kill is not fitted again; queries with new answers are told of."""
    monkeypatch.setattr(publishing, "is_better", lambda judgements: True)
    documents = corpus_of(24)
    with Engine.create(tmp_path / "i", replace(tiny_settings, dense_model=str(normal_dense))) as e:
        e.add(documents)
    topics = {str(i): documents[i % 24].text.split(".")[i // 24] for i in range(36)}
    qrels = {str(i): {f"d{i % 24}": 1} for i in range(36)}
    settings = small(FinetuneSettings(kind="dense", seed=1, map=replace(MAP, steps=5, queries=8)))

    def stop(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("searchlib.training.finetune.finish", stop)
        with pytest.raises(KeyboardInterrupt):
            finetune(tmp_path / "i", topics, qrels, tmp_path / "m", settings)
    monkeypatch.setattr(mapping, "fit_map", stop)
    outcome = finetune(tmp_path / "i", topics, qrels, tmp_path / "m", settings)
    assert outcome.steps == 5
    assert [entry["step"] for entry in read_log(tmp_path / "m" / "log.jsonl")] == [1, 2, 3, 4, 5]
    names = [judgement.queries for judgement in outcome.judgements]
    assert names == [
        f"{part}, {retriever}"
        for retriever in ("dense", "hybrid")
        for part in ("held-out judged queries", "of them, with new answers")
    ]
    counts = [judgement.comparison.queries for judgement in outcome.judgements]
    assert 0 < counts[1] < counts[0] == 5
    card = (tmp_path / "m" / "README.md").read_text()
    assert "map.steps" in card
    assert "mining." not in card
    assert DenseEncoder(tmp_path / "m").plain_fingerprint == DenseEncoder(normal_dense).fingerprint


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", 0), ("queries", 0), ("passages", 0), ("share", 0.0), ("share", 1.5),
     ("learning_rate", float("nan")), ("spread", 0.0)],
)  # fmt: skip
def test_illegal_numbers(name: str, value: float) -> None:
    with pytest.raises(BadQuery, match=f"illegal {name}: {value}"):
        replace(MAP, **{name: value})  # type: ignore[arg-type]
