"""Queries' vectors from a table: the formula, what is refused, and the table that comes along."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tiny_models import make_queries

from searchlib.encoders.dense import DenseEncoder
from searchlib.encoders.lookup import LookupEncoder
from searchlib.encoders.models import (
    DENSE_DEFAULT,
    QUERIES_DEFAULT,
    SPARSE_BASE,
    TABLES,
    resolve,
)
from searchlib.encoders.neighbours import kept_neighbours
from searchlib.encoders.static_queries import StaticQueries, static_queries
from searchlib.errors import BadInput, ModelMismatch, ModelNotFound, UnsupportedModel

Tiny = Callable[..., Path]


@pytest.fixture
def dense(tiny: Tiny) -> Path:
    return tiny("bert", masked=False)


@pytest.fixture
def table(tmp_path: Path, dense: Path) -> Path:
    return make_queries(tmp_path / "table", dense)


def test_a_query_is_the_normalised_mean_of_its_pieces(table: Path, dense: Path) -> None:
    queries = StaticQueries(table)
    tokenizer, matrix = DenseEncoder(dense).tokenizer, queries.matrix()
    texts = ["the dog and the river", "[CLS] dog [SEP]", "", "dog"]
    found = queries.encode_query(texts)
    assert found.shape == (4, 32)
    assert found.dtype == np.float32
    for text, row in zip(["the dog and the river", "dog"], found[[0, 3]], strict=True):
        [ids] = tokenizer.words([text])
        mean = np.mean([matrix[id] for id in ids.tolist()], axis=0)
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-6)
    np.testing.assert_array_equal(found[1], found[3])  # special tokens that are typed say nothing
    assert not found[2].any()
    assert queries.encode_query([]).shape == (0, 32)
    np.testing.assert_array_equal(queries.encode_query(texts[:0:-1]), found[:0:-1])


def test_shares_add_up_to_the_query(table: Path) -> None:
    queries = StaticQueries(table)
    shares = queries.shares("the dog and the river")
    assert [piece for piece, _ in shares] == ["the", "dog", "and", "river"]
    [whole] = queries.encode_query(["the dog and the river"])
    np.testing.assert_allclose(sum(vector for _, vector in shares), whole, atol=1e-6)
    assert queries.shares("") == []


def test_what_is_refused(table: Path, dense: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="list of strings"):
        StaticQueries(table).encode_query("dog")
    with pytest.raises(UnsupportedModel, match="no table of queries' vectors"):
        StaticQueries(dense).encode_query(["dog"])
    other = make_queries(tmp_path / "vocabulary", dense, vocabulary="0")
    with pytest.raises(UnsupportedModel, match="another vocabulary"):
        StaticQueries(other).encode_query(["dog"])
    mine = make_queries(tmp_path / "mine", dense, dense_fingerprint="a" * 32)
    with pytest.raises(ModelMismatch, match="searchlib glance"):
        StaticQueries(mine, "b" * 32).encode_query(["dog"])
    assert StaticQueries(mine, "a" * 32).encode_query(["dog"]).any()
    assert StaticQueries(table, "b" * 32).encode_query(["dog"]).any()  # made for any version
    (table / "queries.json").write_text("{}")
    with pytest.raises(UnsupportedModel, match="must say dense, vocabulary, dimension"):
        StaticQueries(table).encode_query(["dog"])


def test_a_damaged_table_is_named(table: Path) -> None:
    save_file({"codes": np.zeros((3, 3), np.float32)}, table / "model.safetensors")
    with pytest.raises(UnsupportedModel, match="table"):
        StaticQueries(table).encode_query(["dog"])


def test_which_model_has_a_table(table: Path) -> None:
    assert static_queries(QUERIES_DEFAULT, DENSE_DEFAULT) is not None
    assert static_queries(QUERIES_DEFAULT, "another/model") is None
    assert static_queries(str(table), "another/model") is not None
    assert static_queries(None, DENSE_DEFAULT) is None
    assert static_queries(QUERIES_DEFAULT, None) is None


@pytest.fixture
def default_models() -> None:
    for name in (DENSE_DEFAULT, SPARSE_BASE):
        try:
            resolve(name)
        except ModelNotFound as error:
            pytest.skip(f"the default models cannot be had: {error}")


@pytest.mark.usefixtures("default_models")
def test_the_table_that_comes_along_resembles_the_model() -> None:
    texts = ["where do penguins live", "repairing a bicycle tyre", "symptoms of flu in children"]
    found, model = StaticQueries().encode_query(texts), DenseEncoder().encode_query(texts)
    cosines = (found * model).sum(axis=1)
    assert (cosines > 0.7).all()
    assert cosines.mean() > 0.75
    assert (np.argmax(found @ model.T, axis=1) == np.arange(3)).all()


@pytest.mark.usefixtures("default_models")
def test_the_expansions_that_come_along_are_the_models() -> None:
    encoder = LookupEncoder()
    digest, tokenizer = encoder._layout.plain().digest(), encoder.tokenizer
    assert [path.name for path in TABLES.iterdir()] == [f"{digest}-4"]
    kept = kept_neighbours(digest, tokenizer)
    assert kept is not None
    ids = list(range(2000, 2040))
    found = encoder._documents.expander.heaviest([tokenizer.wrap([id]) for id in ids], 4)
    for id, terms in zip(ids, found, strict=True):
        places = slice(kept.starts[id], kept.starts[id + 1])
        assert kept.ids[places].tolist() == terms.ids.tolist()
        np.testing.assert_allclose(kept.weights[places], terms.weights, rtol=1e-4)
