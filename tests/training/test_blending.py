"""Fitting a blend to an index: the sums, the folder, and re-encoding with it without a model."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import WORDS

from indexes.errors import StorageFailed
from searchlib import Document, Engine, Settings
from searchlib.encoders.blend import inputs, ridge
from searchlib.encoders.dense import DenseEncoder
from searchlib.encoders.sparse import SparseEncoder
from searchlib.encoders.sparse_layout import read_sparse
from searchlib.encoders.ternary import Ternary
from searchlib.errors import BadInput
from searchlib.training import blending
from searchlib.training.blending import Sums, fit_blend
from searchlib.types import Passage

PLAIN = [word for word in WORDS if word.isalpha()]
RETRIEVERS = ("sparse", "lookup", "dense", "hybrid")


def documents() -> list[Document]:
    rng = np.random.default_rng(3)
    return [
        Document(f"d{i}", " ".join(rng.choice(PLAIN, int(rng.integers(4, 60)))), "Song")
        for i in range(30)
    ]


@pytest.fixture
def engine(tmp_path: Path, tiny_settings: Settings) -> Iterator[Engine]:
    with Engine.create(tmp_path / "i", tiny_settings) as made:
        made.add(documents())
        yield made


def test_sums_are_those_of_dense_matrices() -> None:
    from indexes.types import TermVectors

    rng = np.random.default_rng(0)
    rows: list[dict[str, float]] = [{"b": 2.0, "a": 1.0}, {}, {"c": 3.0}]
    vectors = rng.normal(size=(3, 2)).astype(np.float32)
    sums = Sums(2, 5)
    ids = {"b": 4, "a": 0, "c": 1}
    for part in (slice(0, 1), slice(1, 3)):  # any blocks give the same
        terms = TermVectors.of(rows[part])
        sums.add(vectors[part], terms, np.array([ids[t] for t in terms.terms], np.int32))
    y = np.zeros((3, 5))
    for i, row in enumerate(rows):
        for term, weight in row.items():
            y[i, ids[term]] = weight / np.sqrt(sum(w * w for w in row.values()))
    x = inputs(vectors).astype(np.float64)
    np.testing.assert_allclose(sums.squares, x.T @ x, rtol=1e-6)
    np.testing.assert_allclose(sums.products, x.T @ y, atol=1e-6)
    np.testing.assert_allclose(sums.total, y.sum(axis=0), rtol=1e-6)
    products, prior = (x.T @ y).astype(np.float32), rng.normal(size=(3, 5)).astype(np.float32)
    for given, penalty in ((None, 0.1 * np.trace(x.T @ x) / 3), (prior, 0.5)):
        expected = Ternary.of(ridge(x.T @ x, products, penalty, given))
        np.testing.assert_allclose(sums.fit(given).matrix(), expected.matrix(), atol=1e-5)


def answers(engine: Engine, query: str) -> dict[str, dict[str, float]]:
    return {name: dict(engine.rank([query], 40, retriever=name)[0]) for name in RETRIEVERS}


def forbidden(*_: object) -> Any:
    raise AssertionError("a model was run")


def test_fit_then_reencode_runs_no_model(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = fit_blend(engine, tmp_path / "blended", seed=1)
    assert report.passages == engine.info()["passages"] > 30
    assert 0 < report.held_out < report.passages
    assert -1 <= report.baseline <= 1
    settings = replace(engine.settings, sparse_model=str(tmp_path / "blended"))
    with monkeypatch.context() as patched:
        patched.setattr(SparseEncoder, "encode_document", forbidden)
        patched.setattr(DenseEncoder, "encode_document", forbidden)
        done = engine.reencode(settings)
    assert (done.encoded, done.known) == (0, report.passages)
    with Engine.create(tmp_path / "fresh", settings) as fresh:
        fresh.add(documents())
        for name, ranking in answers(fresh, "cat boat garden").items():
            # stored weights are rounded to about three digits
            found = answers(engine, "cat boat garden")[name]
            assert found == pytest.approx(ranking, rel=2e-2, abs=2e-2), name


def test_small_blocks_and_a_small_sample(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.numpy import load_file

    made = []
    for name, block in (("a", 8192), ("b", 3)):
        monkeypatch.setattr(blending, "_READ", block)
        report = fit_blend(engine, tmp_path / name, passages=25)
        assert report.passages == 25
        made.append(load_file(tmp_path / name / "blend" / "model.safetensors"))
    np.testing.assert_allclose(made[0]["scales"], made[1]["scales"], atol=1e-3)
    assert (made[0]["codes"] == made[1]["codes"]).mean() > 0.99
    assert made[0]["codes"].shape == (33, -(-len(WORDS) // 4))


def test_what_the_dense_vectors_tell_is_predicted(tmp_path: Path, engine: Engine) -> None:
    """With as many numbers as passages a prediction is nearer than the mean is, on what was seen.

    And the held-out figures are of a fit without them: random models carry nothing over.
    """
    report = fit_blend(engine, tmp_path / "m", document_share=0.25, query_share=0.0)
    config = json.loads((tmp_path / "m" / "blend" / "blend.json").read_bytes())
    assert (config["document_share"], config["query_share"]) == (0.25, 0.0)
    assert config["dense"] == engine.settings.dense_model
    assert config["dense_fingerprint"] == DenseEncoder(config["dense"]).fingerprint
    assert config["sparse_digest"] == read_sparse(Path(config["sparse"])).digest()
    fit_blend(engine, tmp_path / "any", any_version=True)
    config = json.loads((tmp_path / "any" / "blend" / "blend.json").read_bytes())
    assert (config["sparse_digest"], config["dense_fingerprint"]) == (None, None)
    card = (tmp_path / "m" / "README.md").read_text()
    assert f"{report.cosine:.3f}" in card
    assert f"{report.passages:,} passages" in card


def test_an_index_with_a_blend_gets_its_own(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sparse model is run anew, the dense one is not, and the old map is where it begins."""
    first = fit_blend(engine, tmp_path / "first")
    assert first.prior is None
    base = engine.settings.sparse_model
    engine.reencode(replace(engine.settings, sparse_model=str(tmp_path / "first")))
    fitted: list[Any] = []
    monkeypatch.setattr(blending, "write_blend", lambda *given: fitted.append(given))
    fit_blend(engine, tmp_path / "second")
    monkeypatch.undo()
    ((layout, map, report, gains),) = fitted
    assert gains is None
    assert layout.sparse == base
    assert report.prior == str(tmp_path / "first")
    # the sums are of what the plain model makes, not of what is stored
    sums = Sums(32, len(WORDS))
    texts = [passage.text for passage in map_passages(engine)]
    rows = SparseEncoder(str(base), length_power=0.3).encode_document(texts)
    ids = np.array([WORDS.index(term) for term in rows.terms], np.int32)
    sums.add(DenseEncoder(layout.dense).encode_document(texts), rows, ids)
    prior = SparseEncoder(tmp_path / "first").blend
    assert prior is not None
    expected = sums.fit(prior.map.matrix())
    assert (expected.codes == map.codes).mean() > 0.95
    fit_blend(engine, tmp_path / "second")
    with monkeypatch.context() as patched:
        patched.setattr(DenseEncoder, "dimension", 32)
        patched.setattr(DenseEncoder, "_made", forbidden)
        done = engine.reencode(replace(engine.settings, sparse_model=str(tmp_path / "second")))
    assert done.encoded == report.passages


def map_passages(engine: Engine) -> list[Passage]:
    splitter = engine.splitter()
    return [passage for document in documents() for passage in splitter(document)]


def test_a_plain_index_with_one_passage_a_document(tmp_path: Path, tiny_settings: Settings) -> None:
    """Its encoders cut texts, and the blend's dense model is still one with the index's."""
    settings = replace(tiny_settings, max_passages=1)
    with Engine.create(tmp_path / "i", settings) as engine:
        engine.add(documents())
        fit_blend(engine, tmp_path / "m")
        done = engine.reencode(replace(engine.settings, sparse_model=str(tmp_path / "m")))
        assert done.encoded == 0
        assert len(engine.search("cat boat", retriever="hybrid")) == 10


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"document_share": 1.5}, "illegal document share: 1.5, must be between 0 and 1"),
        ({"query_share": float("nan")}, "illegal query share: nan"),
        ({"extra_query_terms": -1}, "illegal extra query terms: -1"),
        ({"passages": 3}, "illegal number of passages: 3, must be 10 or more"),
    ],
)
def test_numbers_without_sense(
    engine: Engine, tmp_path: Path, given: dict[str, Any], reason: str
) -> None:
    with pytest.raises(BadInput, match=reason):
        fit_blend(engine, tmp_path / "m", **given)
    assert not (tmp_path / "m").exists()


def test_nothing_is_left_of_a_folder_that_cannot_be_written(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(StorageFailed, match="no space left on the device"):
        fit_blend(engine, tmp_path / "m")
    assert sorted(tmp_path.iterdir()) == before


def test_copies_of_a_passage_are_held_out_together(tmp_path: Path, tiny_settings: Settings) -> None:
    """20 documents are copies of two: one of these is held out, with all its copies."""
    texts = [" ".join(PLAIN[:6]), " ".join(PLAIN[6:12])]
    with Engine.create(tmp_path / "copies", tiny_settings) as engine:
        engine.add(Document(f"d{i}", texts[i % 2]) for i in range(20))
        assert fit_blend(engine, tmp_path / "m").held_out == 10


def test_an_index_with_too_little(tmp_path: Path, tiny_settings: Settings) -> None:
    with Engine.create(tmp_path / "few", tiny_settings) as engine:
        engine.add(documents()[:2])
        with pytest.raises(BadInput, match="10 are the least to learn of"):
            fit_blend(engine, tmp_path / "m")
    with Engine.create(tmp_path / "copies", tiny_settings) as engine:
        engine.add(Document(f"d{i}", "the cat and the dog") for i in range(12))
        with pytest.raises(BadInput, match="has one document, or copies of one"):
            fit_blend(engine, tmp_path / "m")
    bare = replace(tiny_settings, dense_model=None)
    with (
        Engine.create(tmp_path / "bare", bare) as engine,
        pytest.raises(BadInput, match="has no dense vectors"),
    ):
        fit_blend(engine, tmp_path / "m")
