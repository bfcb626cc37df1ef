"""Blends of sparse and dense vectors: the formulas, the folder, and who runs the dense model."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blends import make_blend
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_models import WORDS, make_bert

from searchlib import Document, Engine, Settings
from searchlib.encoders.blend import blended, inputs, mixed, ridge, stored_terms
from searchlib.encoders.blend_layout import base_of, carry_blend, read_blend
from searchlib.encoders.dense import DenseEncoder, Pooled
from searchlib.encoders.heads import Terms
from searchlib.encoders.last import LastVectors
from searchlib.encoders.lookup import LookupEncoder
from searchlib.encoders.pruning import Pruning, shortened
from searchlib.encoders.sparse import SparseEncoder
from searchlib.encoders.ternary import Ternary
from searchlib.errors import UnsupportedModel

TEXTS = ["the cat in the garden", "bread dough and yeast in the oven", "", "a boat"]


def test_ridge_is_least_squares_with_a_penalty() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 4)), rng.normal(size=(30, 5000))
    prior = rng.normal(size=(4, 5000))
    longer = np.vstack([x, math.sqrt(0.2) * np.eye(4)])
    for start, right in ((None, np.zeros((4, 5000))), (prior.astype(np.float32), prior)):
        made = ridge(x.T @ x, (x.T @ y).astype(np.float32), 0.2, start)
        expected = np.linalg.lstsq(longer, np.vstack([y, math.sqrt(0.2) * right]), rcond=None)[0]
        np.testing.assert_allclose(made, expected, atol=1e-5)


def naive(
    own: dict[int, float], row: Sequence[float], share: float, extra: int
) -> dict[int, float]:
    """The formula of the file's head, term by term."""
    length = math.sqrt(sum(w * w for w in own.values()))
    reach = math.sqrt(sum(p * p for p in row)) or 1.0
    mixed = {
        id: (1 - share) * own.get(id, 0.0) + share * length * (row[id] / reach)
        for id in range(len(row))
    }
    order = sorted((id for id in mixed if mixed[id] > 0), key=lambda id: (-mixed[id], id))
    return {id: mixed[id] for id in sorted(order[: len(own) + extra])}


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(st.integers(0, 11), st.integers(1, 5), max_size=6),
    st.lists(st.integers(0, 4), min_size=12, max_size=12),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    st.integers(0, 3),
)
def test_blended_equals_the_formula(
    own: dict[int, int], row: list[int], share: float, extra: int
) -> None:
    ids = np.array(sorted(own), np.int32)
    weights = np.array([own[id] for id in sorted(own)], np.float32)
    positions = np.arange(len(ids), dtype=np.int32) + 3
    made = blended(Terms(ids, weights, positions), np.array(row, np.float32), share, extra)
    expected = naive({id: float(w) for id, w in own.items()}, row, share, extra) if own else {}
    found = dict(zip(made.ids.tolist(), made.weights.tolist(), strict=True))
    assert made.ids.tolist() == sorted(made.ids.tolist())
    # subtle: of two terms that differ by rounding only, either may stay
    assert sorted(found.values()) == pytest.approx(sorted(expected.values()), rel=1e-5)
    everything = naive({id: float(w) for id, w in own.items()}, row, share, 12) if own else {}
    for id, weight in found.items():
        assert weight == pytest.approx(everything[id], rel=1e-5)
    assert made.positions is not None
    places = dict(zip(ids.tolist(), positions.tolist(), strict=True))
    assert made.positions.tolist() == [places.get(id, -1) for id in made.ids.tolist()]


@given(
    size=st.integers(1, 700),
    different=st.integers(1, 900),
    extra=st.integers(0, 60),
    data=st.data(),
)
def test_of_a_large_vocabulary_the_heaviest_stay(
    size: int, different: int, extra: int, data: st.DataObject
) -> None:
    """Against sorting all of them; of equal ones the first."""
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    predicted = rng.integers(0, different, size).astype(np.float32)
    terms = Terms(np.array([size - 1], np.int32), np.array([1.0], np.float32))
    reach = math.sqrt(float(np.square(predicted, dtype=np.float64).sum()))
    made = blended(terms, predicted, 0.5, extra)
    mixed = predicted * np.float32(0.5 / reach) if reach else np.zeros(size, np.float32)
    mixed[-1] += np.float32(0.5)
    order = np.lexsort((np.arange(size), -mixed))[: 1 + extra]
    expected = np.sort(order[mixed[order] > 0])
    np.testing.assert_array_equal(made.ids, expected)
    np.testing.assert_array_equal(made.weights, mixed[expected])


def test_many_texts_blend_as_each_does_alone() -> None:
    rng = np.random.default_rng(5)
    map = Ternary.of(rng.normal(size=(5, 90)).astype(np.float32))
    vectors = rng.normal(size=(40, 4)).astype(np.float32)
    found = [Terms(np.arange(n % 7, dtype=np.int32), np.ones(n % 7, np.float32)) for n in range(40)]
    together = mixed(found, vectors, map, 0.4, 3)
    assert len(together) == len(found)
    for one, vector, made in zip(found, vectors, together, strict=True):
        [alone] = mixed([one], vector[None], map, 0.4, 3)
        np.testing.assert_array_equal(made.ids, alone.ids)
        np.testing.assert_array_equal(made.weights, alone.weights)


@pytest.mark.parametrize("power", [0.0, 0.3, 0.9])
def test_stored_rows_get_their_length_back(power: float) -> None:
    from indexes.types import TermVectors

    weights = np.array([3.0, 1.0, 0.5], np.float32)
    short = shortened(weights, power)
    rows = TermVectors(["a", "b", "c"], np.array([0, 0, 3]), np.arange(3, dtype=np.int32), short)
    empty, found = stored_terms(rows, np.array([5, 2, 9], np.int32), power)
    assert len(empty.ids) == 0
    assert found.ids.tolist() == [5, 2, 9]
    np.testing.assert_allclose(found.weights, weights, rtol=1e-5)


@pytest.fixture
def folder(tiny_sparse: Path, tiny_dense: Path, tmp_path: Path) -> Path:
    return make_blend(tmp_path / "blend", tiny_sparse, tiny_dense)


@pytest.fixture
def models(folder: Path, tiny_sparse: Path, tiny_dense: Path) -> tuple[Path, Path, Path]:
    return folder, tiny_sparse, tiny_dense


def by_hand(folder: Path, base: Path, dense: Path, texts: list[str], query: bool) -> list[Any]:
    from safetensors.numpy import load_file

    tensors = load_file(folder / "blend" / "model.safetensors")
    matrix = Ternary(tensors["codes"], tensors["scales"]).matrix()
    plain, vectors = SparseEncoder(base), DenseEncoder(dense).encode_document(texts)
    rows = plain.encode_query(texts) if query else plain.encode_document(texts)
    ids = {term: id for id, term in enumerate(WORDS)}
    share, extra = (0.3, 5) if query else (0.5, 0)
    made = []
    for i, prediction in enumerate(np.maximum(inputs(vectors) @ matrix, 0)):
        own = {ids[term]: weight for term, weight in rows.row(i).items()}
        row = naive(own, prediction.tolist(), share, extra)
        made.append({WORDS[id]: weight for id, weight in row.items()})
    return made


@pytest.mark.parametrize("query", [False, True])
@pytest.mark.parametrize("torch", [False, True])
def test_an_encoder_blends(
    models: tuple[Path, Path, Path], query: bool, torch: bool, request: pytest.FixtureRequest
) -> None:
    if torch:
        request.getfixturevalue("only_torch")
    folder, tiny_sparse, tiny_dense = models
    encoder = SparseEncoder(folder)
    encode = encoder.encode_query if query else encoder.encode_document
    rows = encode(TEXTS)
    expected = by_hand(folder, tiny_sparse, tiny_dense, TEXTS, query)
    for i, text in enumerate(TEXTS):
        assert rows.row(i) == pytest.approx(expected[i], rel=1e-3, abs=1e-4)
        assert encode([text]).row(0) == pytest.approx(rows.row(i), rel=1e-3, abs=1e-4)
    assert len(encode([])) == 0


def test_pruning_and_length_come_after(folder: Path) -> None:
    whole = SparseEncoder(folder).encode_document(TEXTS[:1]).row(0)
    some = SparseEncoder(folder, documents=Pruning(top_k=3), length_power=1.0)
    row = some.encode_document(TEXTS[:1]).row(0)
    best = sorted(whole, key=lambda term: -whole[term])[:3]
    length = math.sqrt(sum(whole[term] ** 2 for term in best))
    assert row == pytest.approx({term: whole[term] / length for term in best}, rel=1e-4)


def test_what_was_only_predicted_comes_from_nowhere(folder: Path, tiny_sparse: Path) -> None:
    own = SparseEncoder(tiny_sparse).encode_document(TEXTS[:1]).row(0)
    found = SparseEncoder(folder).encode_with_provenance(TEXTS[:1])
    terms = list(found.vectors.row(0))
    assert set(terms) - set(own)
    for term, span in zip(terms, found.spans[0], strict=True):
        if term not in own:
            assert span == (0, 0)
    assert any(span != (0, 0) for span in found.spans[0])


def test_the_table_of_lookup_is_the_plain_models(folder: Path, tiny_sparse: Path) -> None:
    plain, other = LookupEncoder(tiny_sparse), LookupEncoder(folder)
    for text in TEXTS:
        assert plain.encode_query([text]).row(0) == other.encode_query([text]).row(0)
    assert plain.fingerprint != other.fingerprint  # their documents differ


def test_fingerprints_tell_blends_apart(folder: Path, tiny_sparse: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "blend" / "blend.json").read_bytes())
    seen = {SparseEncoder(folder).fingerprint, SparseEncoder(tiny_sparse).fingerprint}
    assert SparseEncoder(folder).plain_fingerprint in seen
    for change in ({"document_share": 0.4}, {"query_share": 0.1}, {"extra_query_terms": 7}):
        (folder / "blend" / "blend.json").write_text(json.dumps({**config, **change}))
        seen.add(SparseEncoder(folder).fingerprint)
    (folder / "blend" / "blend.json").write_text(json.dumps(config))
    path = folder / "blend" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    seen.add(SparseEncoder(folder).fingerprint)
    assert len(seen) == 6


def test_the_dense_models_name_does_not_matter(
    folder: Path, tiny_dense: Path, tmp_path: Path
) -> None:
    before = SparseEncoder(folder).fingerprint
    config = json.loads((folder / "blend" / "blend.json").read_bytes())
    config["dense"] = str(shutil.copytree(tiny_dense, tmp_path / "moved"))
    (folder / "blend" / "blend.json").write_text(json.dumps(config))
    assert SparseEncoder(folder).fingerprint == before


def test_another_dense_model_is_refused(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "blend" / "blend.json").read_bytes())
    config["dense"] = str(make_bert(tmp_path / "other", masked=False, seed=5))
    (folder / "blend" / "blend.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedModel, match="made with another dense model than"):
        SparseEncoder(folder).encode_query(["a"])


def test_another_sparse_model_is_refused(folder: Path, tmp_path: Path) -> None:
    path = folder / "blend" / "blend.json"
    config = json.loads(path.read_bytes())
    other = make_bert(tmp_path / "other", masked=True, seed=5)
    path.write_text(json.dumps({**config, "sparse": str(other)}))
    with pytest.raises(UnsupportedModel, match="made with another sparse model than"):
        SparseEncoder(folder).encode_query(["a"])
    path.write_text(json.dumps({**config, "sparse": str(other), "sparse_digest": None}))
    assert len(SparseEncoder(folder).encode_query(["a"])) == 1  # any version will do


def test_a_blend_of_a_blend_is_refused(folder: Path, tmp_path: Path) -> None:
    second = Path(shutil.copytree(folder, tmp_path / "second"))
    path = second / "blend" / "blend.json"
    config = {**json.loads(path.read_bytes()), "sparse": str(folder), "sparse_digest": None}
    path.write_text(json.dumps(config))
    with pytest.raises(UnsupportedModel, match="which is a blend itself"):
        SparseEncoder(second).encode_query(["a"])


def test_a_trained_model_carries_the_blend_of_its_base(
    folder: Path, tiny_sparse: Path, tmp_path: Path
) -> None:
    assert base_of(folder) == tiny_sparse.resolve()
    assert base_of(tiny_sparse) == tiny_sparse
    trained = Path(shutil.copytree(tiny_sparse, tmp_path / "trained"))
    carry_blend(tiny_sparse, trained)
    assert read_blend(trained) is None
    carry_blend(folder, trained)
    assert base_of(trained) == trained.resolve()
    again = Path(shutil.copytree(trained, tmp_path / "again"))
    carry_blend(trained, again)  # as a second training does
    assert base_of(again) == again.resolve()
    (tmp_path / "link").symlink_to(trained)
    a = SparseEncoder(folder)
    for b in (SparseEncoder(trained), SparseEncoder(tmp_path / "link")):
        assert a.encode_document(TEXTS).row(0) == b.encode_document(TEXTS).row(0)
        assert a.fingerprint == b.fingerprint
        plain = b.plain(str(trained))
        assert plain.blend is None
        assert plain.encode_document(TEXTS).row(1) == (
            SparseEncoder(tiny_sparse).encode_document(TEXTS).row(1)
        )


def test_factors_and_blends_go_together(folder: Path, tiny_sparse: Path, tmp_path: Path) -> None:
    from searchlib.training.gaining import write_gains

    factors = np.linspace(0.5, 2, len(WORDS)).astype(np.float32)
    plain = SparseEncoder(folder).encode_query(["the cat"]).row(0)
    ids = {term: id for id, term in enumerate(WORDS)}
    expected = pytest.approx({t: w * factors[ids[t]] for t, w in plain.items()}, rel=1e-5)
    (tmp_path / "upon").mkdir()  # factors of the blend
    write_gains(folder, factors, tmp_path / "upon")
    (tmp_path / "base").mkdir()  # a blend of a model with factors
    write_gains(tiny_sparse, factors, tmp_path / "base")
    config = json.loads((folder / "blend" / "blend.json").read_bytes())
    config["sparse"] = str(tmp_path / "base")
    (folder / "blend" / "blend.json").write_text(json.dumps(config))
    for path in (tmp_path / "upon", folder):
        assert SparseEncoder(path).encode_query(["the cat"]).row(0) == expected


def test_stored_dense_vectors_spare_the_dense_model(
    folder: Path, tiny_dense: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = DenseEncoder(tiny_dense).encode_document(TEXTS)
    expected = SparseEncoder(folder).encode_document(TEXTS)
    encoder = SparseEncoder(folder)
    assert encoder.blend is not None
    encoder.blend.remind(TEXTS, vectors)
    texts = counted(monkeypatch)
    assert encoder.encode_document(TEXTS[1:]).row(0) == expected.row(1)
    assert texts == []
    encoder.encode_document(["a boat", "another"])
    assert texts == ["another"]
    encoder.encode_document(TEXTS[:1])  # only the last ones are kept
    assert texts == ["another", TEXTS[0]]


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    texts: list[str] = []
    original = Pooled.vectors

    def count(self: Pooled, given: Sequence[str], prompt: str) -> Any:
        texts.extend(given)
        return original(self, given, prompt)

    monkeypatch.setattr(Pooled, "vectors", count)
    return texts


def test_one_forward_pass_serves_both_fields(
    folder: Path, tiny_settings: Settings, corpus: list[Document], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from dataclasses import replace

    with Engine.create(tmp_path / "i", replace(tiny_settings, sparse_model=str(folder))) as engine:
        texts = counted(monkeypatch)
        engine.add(corpus)
        assert len(texts) == len(set(texts)) > len(corpus)
    with Engine.open(tmp_path / "i") as engine:
        texts.clear()
        engine.search("the cat in the river", retriever="hybrid")
        engine.rank(["a boat", "bread"], 5, retriever="hybrid")
        assert sorted(texts) == ["a boat", "bread", "the cat in the river"]


def test_a_plain_model_asks_for_no_dense_one(
    tiny_sparse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offered() -> object:
        raise AssertionError("asked")

    assert len(SparseEncoder(tiny_sparse, dense=offered).encode_query(["a cat"])) == 1
    assert SparseEncoder(tiny_sparse).plain_fingerprint is None


def test_last_vectors_know_texts_and_prompts() -> None:
    made: list[tuple[str, ...]] = []

    def make(texts: Sequence[str]) -> Any:
        made.append(tuple(texts))
        return np.array([[len(text), len(made)] for text in texts], np.float32)

    last = LastVectors()
    assert last.get(["a", "bb", "a"], "", make).tolist() == [[1, 1], [2, 1], [1, 1]]
    assert last.get(["bb"], "", make).tolist() == [[2, 1]]
    assert last.get(["ccc", "a"], "", make).tolist() == [[3, 2], [1, 1]]
    assert last.get(["a"], "query: ", make).tolist() == [[1, 3]]
    assert last.get(["a"], "", make).tolist() == [[1, 4]]
    assert made == [("a", "bb"), ("ccc",), ("a",), ("a",)]


def test_a_plain_folder_has_no_blend(tiny_sparse: Path) -> None:
    assert read_blend(tiny_sparse) is None
    assert inputs(np.zeros((0, 3), np.float32)).shape == (0, 4)
