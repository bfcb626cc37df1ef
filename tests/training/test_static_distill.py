"""Distillation: the regression equals its closed form, and folders open everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_models import WORDS

from searchlib import Document, Engine, Settings
from searchlib.encoders.dense import DenseEncoder
from searchlib.errors import BadInput, BadQuery
from searchlib.training.corpus import index_sample, index_texts
from searchlib.training.distill import (
    Sample,
    bags,
    chosen,
    fit,
    nearness,
    prior,
    reduced,
    ridge,
    sif,
)
from searchlib.training.static_model import distill_model, distill_vectors

PLAIN = [word for word in WORDS if word.isalpha()]


def texts(count: int) -> list[str]:
    rng = np.random.default_rng(5)
    return [" ".join(rng.choice(PLAIN, rng.integers(4, 12))) for _ in range(count)]


def problem(rows: int = 30, tokens: int = 12, dimension: int = 3) -> tuple[object, ...]:
    rng = np.random.default_rng(1)
    ids = [rng.integers(0, tokens, rng.integers(1, 9)).astype(np.int32) for _ in range(rows)]
    made = bags(ids, tokens)
    targets = rng.normal(size=(rows, dimension)).astype(np.float32)
    start = rng.normal(size=(tokens, dimension)).astype(np.float32)
    return made, targets, start


def test_bags_hold_shares() -> None:
    made = bags([np.array([1, 1, 0, 2], np.int32), np.array([], np.int32)], 4)
    assert made.toarray().tolist() == [[0.25, 0.5, 0.25, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("strength", [0.01, 0.1, 10.0])
def test_ridge_equals_its_closed_form(strength: float) -> None:
    """E = s E0 + (W'W + l I)^-1 W'(D - s W E0), s = <W E0, D> / |W E0|^2."""
    rows, targets, start = problem()
    dense = rows.toarray().astype(np.float64)
    made = dense @ start
    scaled = start * (made * targets).sum() / (made * made).sum()
    penalty = strength * (dense**2).sum() / len(dense)
    change = np.linalg.solve(
        dense.T @ dense + penalty * np.eye(dense.shape[1]), dense.T @ (targets - dense @ scaled)
    )

    def loss(vectors: np.ndarray) -> float:
        return ((dense @ vectors - targets) ** 2).sum() + penalty * ((vectors - scaled) ** 2).sum()

    found = ridge(rows, targets, start, strength)
    assert loss(found) <= loss(scaled + change) * (1 + 1e-3)
    assert loss(found) < loss(scaled + change / 2)


def test_a_strong_ridge_only_scales() -> None:
    rows, targets, start = problem()
    found = ridge(rows, targets, start, 1e9)
    np.testing.assert_allclose(found / start, (found / start)[0, 0], rtol=1e-3)


def test_what_is_linear_is_found_again_also_on_what_was_held_out() -> None:
    rng = np.random.default_rng(2)
    ids = [rng.integers(0, 20, 15).astype(np.int32) for _ in range(400)]
    rows = bags(ids, 20)
    truth = rng.normal(size=(20, 5)).astype(np.float32)
    found = fit(rows, rows @ truth, rng.normal(size=(20, 5)).astype(np.float32), seed=0)
    assert found.cosine > 0.97
    assert found.neighbours > 0.6
    wrong = fit(rows, rng.normal(size=(400, 5)).astype(np.float32), truth, seed=0)
    assert wrong.cosine < 0.5


def test_copies_of_what_was_learned_from_are_not_held_out() -> None:
    """Vectors that no tokens explain are told of what was seen, and of nothing else."""
    rng = np.random.default_rng(4)
    ids = [rng.integers(0, 60, 8).astype(np.int32) for _ in range(120)]
    targets = rng.normal(size=(120, 8)).astype(np.float32)
    start = rng.normal(size=(60, 8)).astype(np.float32)
    copied = fit(bags(ids * 9, 60), np.tile(targets, (9, 1)), start, seed=0)
    once = fit(bags(ids, 60), targets, start, seed=0)
    assert copied.cosine == pytest.approx(once.cosine, abs=0.01)
    assert copied.neighbours == pytest.approx(once.neighbours, abs=0.01)
    assert once.cosine is not None
    assert once.cosine < 0.3
    few = fit(bags(ids[:9] * 90, 60), np.tile(targets[:9], (90, 1)), start, seed=0)
    assert (few.cosine, few.neighbours) == (None, None)
    some = fit(bags(ids[:50], 60), targets[:50], start, seed=0)
    assert some.cosine is not None
    assert some.neighbours is None


def test_whole_documents_are_held_out() -> None:
    """Passages of a document are about one thing, which no token tells."""
    rng = np.random.default_rng(4)
    documents = np.repeat(np.arange(20), 20)
    ids = [np.append(rng.integers(0, 60, 6), 60 + d).astype(np.int32) for d in documents]
    targets = rng.normal(size=(20, 8)).astype(np.float32)[documents]
    rows, start = bags(ids, 80), rng.normal(size=(80, 8)).astype(np.float32)
    each, whole = fit(rows, targets, start, seed=0), fit(rows, targets, start, 0, documents)
    assert each.cosine is not None
    assert whole.cosine is not None
    assert each.cosine > 0.8
    assert whole.cosine < 0.3
    np.testing.assert_array_equal(each.vectors, whole.vectors)
    alone = fit(rows, targets, start, 0, np.zeros(400, np.int64))
    assert (alone.cosine, alone.neighbours) == (None, None)


def test_common_tokens_weigh_less_and_the_mean_goes() -> None:
    assert sif(np.array([1000, 10, 0])).tolist() == sorted(sif(np.array([1000, 10, 0])))
    alone = np.array([[1, 2], [3, 4]], np.float32)
    made = prior(alone, np.array([1, 1]))
    np.testing.assert_allclose(made[0], -made[1], rtol=1e-6)


def test_pca_keeps_products_where_vectors_lie_in_few_directions() -> None:
    rng = np.random.default_rng(3)
    flat = (rng.normal(size=(50, 2)) @ rng.normal(size=(2, 6))).astype(np.float32)
    small = reduced(flat, flat, 2)
    assert small.shape == (50, 2)
    np.testing.assert_allclose(small @ small.T, flat @ flat.T, atol=1e-4)
    assert reduced(flat, flat, 6) is flat


def test_nearness_of_the_same_vectors_is_1() -> None:
    vectors = np.eye(30, dtype=np.float32) + 0.01 * np.arange(30, dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine, shared = nearness(vectors, vectors, np.arange(5))
    assert cosine == pytest.approx(1)
    assert shared == 1


def test_chosen_is_fair_ordered_and_refuses_too_few() -> None:
    many = [f"t{i}" for i in range(100)]
    picks = [chosen(many, 10, seed) for seed in range(300)]
    assert all(pick == sorted(pick, key=many.index) and len(set(pick)) == 10 for pick in picks)
    counts = np.bincount([many.index(text) for pick in picks for text in pick], minlength=100)
    assert counts.min() > 8  # of 30 expected
    assert counts.max() < 60
    with pytest.raises(BadInput, match="10 are the least"):
        chosen(["a"] * 9 + [" "], 100, 0)


def test_a_model_becomes_a_folder_that_opens_everywhere(tmp_path: Path, tiny_dense: Path) -> None:
    sample = Sample([*texts(200), "songs \u96e8 songs", "songs dogs", "dogs songs", "dogs"])
    report = distill_model(sample, str(tiny_dense), tmp_path / "fast", words=5)
    assert report.dimension == 32
    assert report.words == 2  # songs and dogs: in three texts each, of two pieces
    assert report.cosine is not None
    assert report.cosine > 0.2
    asked = ["the cat played songs", "dogs \u96e8 bread", "music"]
    found = DenseEncoder(tmp_path / "fast").encode_document(asked)
    assert found.shape == (3, 32)
    peer = pytest.importorskip("sentence_transformers").SentenceTransformer
    opened = peer(str(tmp_path / "fast"), device="cpu")
    np.testing.assert_allclose(found, opened.encode(asked), atol=1e-5)
    assert f"{report.cosine:.3f}" in (tmp_path / "fast" / "README.md").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fast"]


def test_fitted_vectors_are_nearer_to_the_model_than_tokens_alone(tiny_dense: Path) -> None:
    found = texts(300)
    teacher = DenseEncoder(tiny_dense)
    targets = teacher.encode_document(found)
    tokenizer = teacher.tokenizer
    rows = bags(tokenizer.words(found), tokenizer.size)
    alone = teacher.encode_document([tokenizer.term(i) for i in range(tokenizer.size)])
    start = prior(alone, np.asarray(rows.sum(axis=0)).ravel())
    centred = targets - targets.mean(axis=0)

    def cosine(vectors: np.ndarray) -> float:
        made = rows @ vectors
        lengths = np.linalg.norm(made, axis=1) * np.linalg.norm(centred, axis=1)
        return float(((made * centred).sum(axis=1) / lengths).mean())

    fitted = fit(rows, targets, start, seed=0)
    assert fitted.cosine > cosine(start)
    assert cosine(fitted.vectors) > fitted.cosine


def test_figures_are_of_as_many_numbers_as_vectors_have() -> None:
    """What is linear is found again, but not in two of its eight directions."""
    rng = np.random.default_rng(2)
    rows = bags([rng.integers(0, 20, 15).astype(np.int32) for _ in range(400)], 20)
    targets = rows @ rng.normal(size=(20, 8)).astype(np.float32)
    start = rng.normal(size=(20, 8)).astype(np.float32)
    every, two = (fit(rows, targets, start, 0, dimension=n) for n in (None, 2))
    whole = fit(rows, targets, start, 0, dimension=8)
    assert two.vectors.shape == (20, 2)
    assert every.cosine is not None
    assert two.cosine is not None
    assert two.neighbours is not None
    assert two.cosine < 0.8
    assert every.cosine > 0.97
    assert two.neighbours < 0.4
    assert whole.cosine == pytest.approx(every.cosine, abs=1e-3)


def test_fewer_dimensions(tmp_path: Path, tiny_dense: Path) -> None:
    distill_model(Sample(texts(40)), str(tiny_dense), tmp_path / "small", dimension=8)
    assert DenseEncoder(tmp_path / "small").dimension == 8


@pytest.mark.parametrize("options", [{"dimension": 1}, {"dimension": 33}, {"words": -1}])
def test_senseless_numbers_are_refused_and_nothing_stays(
    tmp_path: Path, tiny_dense: Path, options: dict[str, int]
) -> None:
    with pytest.raises(BadInput, match="illegal"):
        distill_model(Sample(texts(20)), str(tiny_dense), tmp_path / "x", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_seed_that_is_none_is_refused(tmp_path: Path, tiny_dense: Path) -> None:
    with pytest.raises(BadQuery, match="illegal seed: -1"):
        distill_model(Sample(texts(20)), str(tiny_dense), tmp_path / "x", seed=-1)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_not_touched(tmp_path: Path, tiny_dense: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(BadInput, match="there already"):
        distill_model(Sample(texts(20)), str(tiny_dense), tmp_path / "there")
    assert list((tmp_path / "there").iterdir()) == []


def test_an_index_lends_its_vectors(tmp_path: Path, tiny_dense: Path) -> None:
    settings = Settings(dense_model=str(tiny_dense), sparse_model=None)
    documents = [Document(str(i), text, "Song") for i, text in enumerate(texts(30))]
    with Engine.create(tmp_path / "i", settings) as engine:
        engine.add(documents)
        engine.delete(["3"])
        sample = index_sample(engine, 100, 0)
        assert len(list(index_texts(engine))) == 29
    assert sorted(sample.texts) == sorted(f"Song {d.text}" for d in documents if d.id != "3")
    expected = DenseEncoder(tiny_dense).encode_document(sample.texts)
    assert sample.vectors is not None
    np.testing.assert_allclose(sample.vectors, expected, atol=2e-3)
    assert sample.documents is not None
    assert len(set(sample.documents)) == 29


def test_word_vectors_become_a_model(tmp_path: Path) -> None:
    words = ["[UNK]", "cat", "dog", "bread", "the"]
    vectors = np.eye(5, dtype=np.float32)
    sample = Sample(["the Cat", "the dog", "the bread", "the the unheard"] * 3)
    report = distill_vectors(sample, words, vectors, tmp_path / "w", "a.vec")
    assert (report.tokens, report.words, report.cosine) == (6, 0, None)
    assert report.known == 8 / 9  # "unheard" and nothing else has none
    card = (tmp_path / "w" / "README.md").read_text()
    assert "88.9% of the words in the corpus's passages have one" in card
    assert "added" not in card
    found = DenseEncoder(tmp_path / "w").encode_document(["CAT, the", "cat", "dog", "unheard"])
    assert found[0] @ found[1] > found[0] @ found[2]
    assert not found[3].any()


@pytest.mark.parametrize("words", [["Cat", "Dog"], ["unheard_of"], ["chat", "chien"]])
def test_word_vectors_of_which_the_corpus_has_none(tmp_path: Path, words: list[str]) -> None:
    sample = Sample(["the cat - and the dog", "unheard of"] * 6)
    with pytest.raises(BadInput, match=f"a.vec has a vector of no word .*'{words[0]}'"):
        distill_vectors(sample, words, np.eye(len(words), 2, dtype=np.float32), tmp_path / "w",
                        "a.vec")  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_signs_are_no_words(tmp_path: Path) -> None:
    sample = Sample(["the cat, the dog. (the - cat!)"] * 10)
    words = ["the", "cat", "dog"]
    vectors = np.eye(3, dtype=np.float32)
    assert distill_vectors(sample, words, vectors, tmp_path / "w", "a.vec").known == 1
