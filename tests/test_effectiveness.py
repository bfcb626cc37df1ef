"""Real collections give the published figures; skipped where the collections are absent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from searchlib import Engine, Settings
from searchlib.encoders.models import SPARSE_BASE, SPARSE_DEFAULT
from searchlib.errors import ModelNotFound
from searchlib.evaluation import Collection, evaluate, run_of, themselves
from searchlib.formats import read_documents

DATA = Path(__file__).parents[2] / "shared" / "data"
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="the shared test collections are not beside this checkout"
)

# BM25, Lucene's variant, k1=0.9, b=0.4, Porter, Lucene's 33 stop words
BM25 = {
    "scifact": 0.677,
    "cranfield": 0.343,
    "vaswani_npl": 0.438,
    "medline1033": 0.663,
    "cisi": 0.362,
    "squad_dev": 0.870,
    "cosqa_dev": 0.607,  # .598 without the parts of names like getElementById
}
# Brute force by scipy over the same models' vectors, one passage of 256 tokens a document; sparse
# queries times idf ** 0.75, sparse documents over their length ** 0.3
BRUTE_FORCE = {
    "medline1033": {"sparse": 0.786, "dense": 0.787},
    "cosqa_dev": {"sparse": 0.510, "dense": 0.793},
}


def ndcg(engine: Engine, collection: Collection, retriever: str) -> float:
    """nDCG@10 over the test queries; a query's own document is no result."""
    topics = collection.topics("test")
    rankings = engine.rank(list(topics.values()), 11, retriever=retriever)
    run = run_of(list(topics), rankings, k=10, themselves=themselves(engine.snapshot, topics))
    return evaluate(collection.qrels("test"), run, "nDCG@10").mean["nDCG@10"]


@needs_data
@pytest.mark.parametrize("name", sorted(BM25))
def test_bm25_gives_the_published_figure(name: str, tmp_path: Path) -> None:
    collection = Collection(DATA / name)
    with Engine.create(tmp_path / "i", Settings(dense_model=None, sparse_model=None)) as engine:
        engine.add(read_documents(collection.corpus))
        assert ndcg(engine, collection, "bm25") == pytest.approx(BM25[name], abs=0.005)


@needs_data
@pytest.mark.parametrize("name", sorted(BRUTE_FORCE))
def test_vectors_give_what_brute_force_gives_and_the_hybrid_more_than_words(
    name: str, tmp_path: Path
) -> None:
    collection = Collection(DATA / name)
    try:
        settings = Settings(max_passages=1, sparse_model=SPARSE_BASE)
        created = Engine.create(tmp_path / "i", settings)
    except ModelNotFound as error:
        pytest.skip(f"the default models cannot be had: {error}")
    with created as engine:
        engine.add(read_documents(collection.corpus))
        for retriever, expected in BRUTE_FORCE[name].items():
            assert ndcg(engine, collection, retriever) == pytest.approx(expected, abs=0.0035)
        assert ndcg(engine, collection, "hybrid") > BM25[name] + 0.1
        engine.reencode(replace(engine.settings, sparse_model=SPARSE_DEFAULT))
        assert ndcg(engine, collection, "sparse") > BRUTE_FORCE[name]["sparse"] + 0.01
