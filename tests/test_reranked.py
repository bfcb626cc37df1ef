"""Reranking: with a reranker whose scores are known, and with a tiny cross-encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import make_classifier

from searchlib import Document, Engine, Settings
from searchlib.encoders.cross import CrossEncoder
from searchlib.errors import BadQuery

QUERY = "water and light in the night"


@dataclass
class Counting:
    """A text is worth its number of words `wanted`; it keeps what it read."""

    wanted: str = "river"
    name: str = "counting"
    read: list[str] = field(default_factory=list)

    def score(self, query: str, texts: Sequence[str]) -> Any:
        self.read += texts
        return np.array([text.lower().split().count(self.wanted) for text in texts], np.float32)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An index of documents with several passages."""
    settings = Settings(dense_model=None, sparse_model=None, passage_tokens=16, overlap=0)
    blank = "sea " * 16
    documents = [
        Document(
            "late", blank + "boat " * 14 + blank + "boat river river river " * 3, "", {"n": 1}
        ),
        Document("early", "boat river " * 7 + blank * 3, "", {"n": 2}),
        Document("none", "boat " * 10, "", {"n": 3}),
        Document("hidden", "boat boat boat boat " * 3 + blank + "river " * 14, "", {"n": 4}),
        *(Document(f"sea-{i}", blank) for i in range(4)),
    ]
    with Engine.create(tmp_path_factory.mktemp("long") / "l.index", settings) as engine:
        engine.add(documents)
        yield engine


def test_a_document_is_worth_its_best_passage_of_those_read(long: Engine) -> None:
    """Passages with "boat" that BM25 likes best are read: of `hidden`, one, without a river."""
    reranker = Counting()
    made = long.reranked("bm25_passage", reranker, depth=10, passages=1)
    hits = long.search("boat", 10, retriever=made)
    assert {hit.id: hit.score for hit in hits}["hidden"] == 0
    assert len(reranker.read) == 4  # documents with boats, a passage each
    everything = long.reranked("bm25_passage", Counting(), passages=9)
    scores = {hit.id: hit.score for hit in long.search("boat", 10, retriever=everything)}
    assert scores["hidden"] >= 10
    assert next(iter(scores)) == "hidden"


def test_the_passage_that_is_shown_is_the_one_that_counted(long: Engine) -> None:
    made = long.reranked("bm25_passage", Counting(), passages=2)
    hits = {hit.id: hit for hit in long.search("boat", 10, retriever=made, explain=True)}
    late = hits["late"]
    assert "river" in late.snippet
    by_passage = long.search("boat", 50, retriever=made, unit="passage")
    best = {hit.document: hit.score for hit in reversed(by_passage)}
    assert {id: hit.score for id, hit in hits.items()} == best


def test_only_the_best_are_read_each_passage_once(long: Engine) -> None:
    reranker = Counting()
    made = long.reranked("bm25", reranker, depth=2, passages=9)
    hits = long.search("boat", 1, retriever=made, explain=True)
    assert len(hits) == 1
    read = len(reranker.read)
    first = set(long.rank(["boat"], 2, retriever="bm25")[0].ids)
    counts = [long.snapshot.passages_of(int(n))[1] for n in long.snapshot.lookup(sorted(first))]
    assert read == sum(counts)
    long.explain("boat", hits[0].id, retriever=made)
    made.scores("boat", long.snapshot.lookup([hits[0].id]), None, "document")
    assert len(reranker.read) == read
    assert long.rank(["boat"], 4, retriever=made)[0].ids != ()
    assert len(reranker.read) > read  # k above depth: more are read


def test_scores_are_the_rerankers_and_depend_on_nothing_else(long: Engine) -> None:
    def scores(name: str, k: int, depth: int) -> dict[str, float]:
        made = long.reranked(name, Counting(), depth=depth, passages=9)
        return dict(long.rank(["boat"], k, retriever=made)[0])

    everything = scores("bm25", 10, 10)
    assert scores("bm25_passage", 4, 1) == everything
    assert scores("bm25", 2, 7).items() <= everything.items()
    together = long.rank(["boat", "sea"], 10, retriever=long.reranked("bm25", Counting()))
    assert [len(ranking) for ranking in together] == [4, 7]


def test_equal_scores_keep_the_order_of_ids(long: Engine) -> None:
    ranking = long.rank(["boat"], 10, retriever=long.reranked("bm25", Counting("zzz")))[0]
    numbers = long.snapshot.lookup(ranking.ids).tolist()
    assert numbers == sorted(numbers)


@pytest.mark.parametrize("unit", ["document", "passage"])
@pytest.mark.parametrize("passages", [1, 2, 9])
def test_explanations_add_up(long: Engine, unit: Any, passages: int) -> None:
    made = long.reranked("bm25_passage", Counting(), passages=passages)
    hits = long.search("boat sea", 20, retriever=made, unit=unit, explain=True)
    assert hits
    for hit in hits:
        assert hit.explanation is not None
        assert hit.explanation.recompute() == hit.score
        leaf = hit.explanation.parts[0] if hit.explanation.parts else hit.explanation
        assert leaf.name.startswith("counting of query and passage #")
        assert leaf.note.startswith("bm25_passage gave ")


def test_filters_pages_and_sorting(long: Engine) -> None:
    made = long.reranked("bm25", Counting(), depth=2)
    ids = [hit.id for hit in long.search("boat", 5, retriever=made, where="n >= 3")]
    assert set(ids) == {"none", "hidden"}
    pages = [long.search("boat", 1, retriever=made, offset=i) for i in range(5)]
    assert sorted(hit.id for page in pages for hit in page) == ["early", "hidden", "late", "none"]
    assert [hit.rank for page in pages for hit in page] == [1, 2, 3, 4]
    reranker = Counting()
    sorting = long.reranked("bm25", reranker)
    by_field = [h.id for h in long.search("boat", 5, retriever=sorting, sort="-n")]
    assert by_field == ["hidden", "none", "early", "late"]


def test_a_reranked_fusion_of_what_feedback_refined(engine: Engine) -> None:
    made = engine.reranked(engine.refined("hybrid"), Counting("water"))
    hits = engine.search(QUERY, 10, retriever=made, explain=True)
    assert hits[0].id == "plants"
    for hit in hits:
        assert hit.explanation is not None
        assert hit.explanation.recompute() == hit.score
    fused = engine.fused([made, "bm25"])
    [best, *_] = engine.search(QUERY, 10, retriever=fused, explain=True)
    assert best.explanation is not None
    assert best.explanation.recompute() == pytest.approx(best.score, abs=1e-4)


def test_a_cross_encoder_reads_title_and_passage(engine: Engine, tmp_path: Path) -> None:
    folder = make_classifier(tmp_path / "cross")
    hits = engine.search(QUERY, 3, retriever=engine.reranked("bm25", folder), explain=True)
    records = engine.snapshot.records(engine.snapshot.lookup([hit.id for hit in hits]))
    texts = [f"{record.title} {record.text}".strip() for record in records]
    expected = CrossEncoder(folder, "cpu").score(QUERY, texts)
    np.testing.assert_allclose([hit.score for hit in hits], expected, atol=1e-4)
    assert hits[0].explanation is not None
    assert str(folder) in hits[0].explanation.name


def test_nothing_found_is_nothing_to_rerank(long: Engine) -> None:
    reranker = Counting()
    assert long.search("zzz", retriever=long.reranked("bm25", reranker)) == []
    assert reranker.read == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"depth": 0}, "illegal rerank depth: 0"), ({"passages": 0}, "illegal rerank passages: 0")],
)
def test_values_out_of_range_are_refused(long: Engine, wrong: dict[str, int], message: str) -> None:
    with pytest.raises(BadQuery, match=message):
        long.reranked("bm25", Counting(), **wrong)
