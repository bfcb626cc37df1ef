"""Fixtures for the whole suite: tiny models, a small corpus of our own, an index of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_models import make_bert, make_queries

from searchlib import Document, Engine, Settings

# Exactness is tested on the CPU, on any machine alike; `tests/gpu` says what a GPU may round.
if not os.environ.get("SEARCHLIB_TEST_GPU"):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

CORPUS = [
    Document("blues", "The blues band played. A song in the night.", "Concert", {"year": 1999}),
    Document("cat", "The cat is asleep on the roof. The bird is in the tree.", "", {"year": 2005}),
    Document("bread", "Yeast heats the dough. Bread in the oven.", "Bread", {"year": 2010}),
    Document("plants", "A plant eats light. The leaf grows in water and light.", "Leaf", {}),
    Document(
        "x/y \U0001f43f#1", "The doctor reads a letter. Medicine to the child.", "", {"year": 2020}
    ),
    Document(
        "long",
        "The teacher writes a book. " * 40 + "The boat is in the river.",
        "School",
        {"year": 2021},
    ),
    Document("empty", "", "", {"year": 1999}),
]


@pytest.fixture(scope="session")
def tiny_dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random dense encoder."""
    return make_bert(tmp_path_factory.mktemp("dense"), masked=False)


@pytest.fixture(scope="session")
def tiny_sparse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random masked-language model."""
    return make_bert(tmp_path_factory.mktemp("sparse"), masked=True, seed=1)


@pytest.fixture(scope="session")
def tiny_queries(tmp_path_factory: pytest.TempPathFactory, tiny_dense: Path) -> Path:
    """A folder with a random table of query vectors for the dense encoder."""
    return make_queries(tmp_path_factory.mktemp("queries") / "table", tiny_dense)


@pytest.fixture(scope="session")
def tiny_settings(tiny_dense: Path, tiny_sparse: Path, tiny_queries: Path) -> Settings:
    """Settings with the tiny models, a table for queries, and short passages."""
    return Settings(
        dense_model=str(tiny_dense), sparse_model=str(tiny_sparse),
        static_queries=str(tiny_queries), passage_tokens=32, overlap=4,
    )  # fmt: skip


@pytest.fixture(scope="session")
def corpus() -> list[Document]:
    """Seven short documents: one of several passages, one empty, one with an odd id."""
    return CORPUS


@pytest.fixture(scope="session")
def engine(
    tmp_path_factory: pytest.TempPathFactory, tiny_settings: Settings, corpus: list[Document]
) -> Iterator[Engine]:
    """An index of the corpus with all representations; not to be changed."""
    path = tmp_path_factory.mktemp("index") / "corpus.index"
    with Engine.create(path, tiny_settings) as made:
        made.add(corpus)
        yield made
