"""Quotation marks: what counts as quoted, what as found, and that nobody who has it is missed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchlib import Document, Engine, Settings
from searchlib.fused import Fused
from searchlib.quoting import PHRASES, Quoting, gain, quoted, share_found
from searchlib.scorer import ranked_ids

WORDS_ONLY = Settings(dense_model=None, sparse_model=None)
LETTERS = "abcd"


@pytest.mark.parametrize(
    ("query", "phrases", "share"),
    [
        ('"Heat-transfer"', ("heat transfer",), 1),
        ('what is "heat  Transfer"?', ("heat transfer",), 2 / 4),
        ('"one two" or ("three")', ("one two", "three"), 3 / 4),
        ("\u201ccurly marks\u201d here", ("curly marks",), 2 / 3),
        ("\u201elow ones\u201c", ("low ones",), 1),
        ("\u00ab les autres \u00bb", ("les autres",), 1),
        ('"\ufb01ne \u2460"', ("fine 1",), 1),  # compatible characters, as BM25 has them
        ('"to be"', ("to be",), 1),
        ('"snake_case.py"', ("snake case py",), 1),
        ('"\u6a5f\u68b0"', ("\u6a5f \u6a5f\u68b0 \u68b0",), 1),
        ('"?!" "\U0001f408"', ("\U0001f408",), 1),
        ('"one two" "One  two" three', ("one two",), 4 / 5),
        ("\u201eone \u201etwo three\u201c", ("two three",), 2 / 3),
        ("\u00abone \u00abtwo three\u00bb", ("two three",), 2 / 3),
    ],
)
def test_what_is_quoted(query: str, phrases: tuple[str, ...], share: float) -> None:
    asked = quoted(query)
    assert asked is not None
    assert asked.phrases == phrases
    assert asked.share == pytest.approx(share)


@pytest.mark.parametrize(
    "query",
    ["plain words", "", '"', '""', '" "', '"?!"', 'a 5" pipe', 'of 5" by 7" size', 'rock"n"roll',
     "don't 'quote' so", 'an "open end', "\u201cno end", 'ab"cd"'],
)  # fmt: skip
def test_what_is_not_quoted(query: str) -> None:
    assert quoted(query) is None


@pytest.mark.parametrize(
    ("phrase", "text", "found"),
    [
        ("heat transfer", "On HEAT\n-transfer.", 1),
        ("heat transfer", "transfer of heat, heat of transfer", 0),
        ("heat transfer", "heat transfers", 0),  # word by word, not stem by stem
        ("heat transfer", "preheat transfer", 0),
        ("to be", "or not to be", 1),
        ("paul cezanne", "Paul C\u00e9zanne", 1),  # accents are no more than capitals
        ("\u6a5f \u6a5f\u68b0 \u68b0", "\u300c\u6a5f\u68b0\u5b66\u7fd2\u300d", 1),
        ("heat", "", 0),
    ],
)
def test_what_is_found(phrase: str, text: str, found: float) -> None:
    assert share_found([phrase], ["no title", text]) == found
    assert share_found([phrase, "one two three"], [text, ""]) == pytest.approx(
        found * (phrase.count(" ") + 1) / (phrase.count(" ") + 4)
    )


def test_a_phrase_does_not_go_from_title_to_text() -> None:
    assert share_found(["heat transfer"], ["heat", "transfer"]) == 0


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory, tiny_settings: Settings) -> Iterator[Engine]:
    """One document has the words side by side, and little else of them; 150 have them apart."""
    apart = [
        Document(f"apart{n}", "a band of blues " * (n % 7 + 2) + "song boat bread " * (n % 11))
        for n in range(150)
    ]
    long = " ".join(["the cat sat in the garden"] * 12)
    there = Document("there", f"{long} the blues band played {long}", metadata={"here": True})
    with Engine.create(tmp_path_factory.mktemp("crowd") / "i.index", tiny_settings) as engine:
        engine.add([*apart[:80], there, *apart[80:]])
        yield engine


@pytest.mark.parametrize("name", ["hybrid", "instant"])
@pytest.mark.parametrize("query", ['"blues band"', "\u201cBlues band\u201d"])
def test_who_has_the_phrase_is_first_wherever_it_was(crowd: Engine, name: str, query: str) -> None:
    [plain] = crowd.retriever(name).top([query], 5, None, "document")
    assert "there" not in crowd.snapshot.ids(plain.ids)
    [ranking] = crowd.rank([query], 5, retriever=name)
    assert ranking.ids[0] == "there"
    [hit, *others] = crowd.search(query, 5, retriever=name)
    assert (hit.id, hit.score) == ("there", ranking.scores[0])
    assert "**blues** **band**" in hit.snippet
    assert len(others) == 4
    [passage, *_] = crowd.search(query, 5, retriever=name, unit="passage")
    assert (passage.document, passage.passage) == ("there", hit.passage)
    assert not crowd.search(query, 5, retriever=name, where="here = false")
    [found] = crowd.search(query, 5, retriever=name, where="here = true")
    assert found.id == "there"


@pytest.mark.parametrize("name", ["bm25", "sparse", "dense", "lookup", "static"])
def test_single_retrievers_are_what_they_are(crowd: Engine, name: str) -> None:
    [ranking] = crowd.rank(['"blues band"'], 5, retriever=name)
    scorer = crowd.retriever(name)
    assert [ranking] == ranked_ids(scorer, ['"blues band"'], 5, None, "document")


def test_without_marks_nothing_changes(engine: Engine) -> None:
    queries = ["the blues song", 'a 5" boat', "cat"]
    for name in ("hybrid", "instant"):
        plain = engine.retriever(name)
        assert engine.rank(queries, 5, retriever=name) == ranked_ids(
            plain, queries, 5, None, "document"
        )
        quoting = Quoting(plain, engine.retriever("bm25"))  # type: ignore[arg-type]
        mixed = quoting.top([*queries, '"blues"'], 5, None, "document")
        for query, top in zip(queries, mixed, strict=False):
            [alone] = plain.top([query], 5, None, "document")
            np.testing.assert_array_equal(top.ids, alone.ids)
            np.testing.assert_array_equal(top.scores, alone.scores)


@pytest.mark.parametrize("name", ["hybrid", "instant"])
@pytest.mark.parametrize("unit", ["document", "passage"])
def test_scores_are_explained_and_paged(crowd: Engine, name: str, unit: Any) -> None:
    query = 'the song "blues band" and "a garden"'
    hits = crowd.search(query, 120, retriever=name, unit=unit, explain=True)
    assert len({hit.id for hit in hits}) == len(hits) == 120
    for hit in (*hits[:5], *hits[-5:]):
        assert hit.explanation is not None
        assert hit.explanation.recompute() == pytest.approx(hit.score, rel=1e-4)
        assert hit.explanation.name == f"{name}: leaning on what is quoted"
    if unit == "document":
        assert crowd.explain(query, hits[0].id, retriever=name) == hits[0].explanation
    paged = [
        hit
        for offset in range(0, 120, 30)
        for hit in crowd.search(query, 30, retriever=name, unit=unit, offset=offset, explain=True)
    ]
    assert paged == hits


class Cats:
    """Whoever names cats is worth more; what it read is kept."""

    name = "cats"

    def __init__(self) -> None:
        self.read: list[str] = []

    def score(self, query: str, texts: Sequence[str]) -> Any:
        self.read += texts
        return np.array([text.count("cat") for text in texts], np.float32)


@pytest.mark.parametrize("name", ["hybrid", "instant"])
def test_feedback_and_rerankers_get_what_is_quoted(crowd: Engine, name: str) -> None:
    query = '"blues band"'
    learned = crowd.refined(name)
    assert crowd.rank([query], 5, retriever=learned)[0].ids[0] == "there"
    hits = crowd.search(query, 5, retriever=learned, explain=True)
    assert hits[0].explanation is not None
    assert hits[0].explanation.name == f"{name} with feedback: leaning on what is quoted"
    assert hits[0].explanation.recompute() == pytest.approx(hits[0].score, rel=1e-4)
    assert crowd.explain(query, "there", retriever=learned) == hits[0].explanation
    for asked, first in ((query, "there"), ("blues band", None)):
        cats = Cats()
        [best, *_] = crowd.search(asked, 5, retriever=crowd.reranked(name, cats, depth=5))
        assert (best.id == "there") is (first == "there")
        assert len(cats.read) < 40


def test_the_boost_is_what_is_said(crowd: Engine) -> None:
    hybrid = crowd.retriever("hybrid")
    assert isinstance(hybrid, Fused)
    query = 'played "blues band" "song apart"'  # 4 of 5 words quoted; 2 of these are found
    quoting = Quoting(hybrid, crowd.retriever("bm25"))  # type: ignore[arg-type]
    ids = np.arange(crowd.snapshot.n_documents)
    plain = hybrid.scores(query, ids, None, "document")
    boosted = quoting.scores(query, ids, None, "document")
    factors = np.ones(len(ids))
    factors[80] = 1 + 4 * 0.4 / (1.02 - 0.4)  # 4 / 5 of the query's words, 2 / 4 of these
    np.testing.assert_allclose(boosted, plain * factors, rtol=1e-6)


def test_scores_gain_by_the_odds() -> None:
    shares = np.linspace(0, 1, 11, dtype=np.float32)
    factors = gain(shares)
    assert (np.diff(factors) > 0).all()
    assert (factors[0], factors[-1]) == (1, pytest.approx(201, rel=1e-4))


def test_of_very_many_phrases_the_first_ones_count() -> None:
    asked = quoted(" ".join(f'"w{n}"' for n in range(PHRASES * 2)))
    assert asked is not None
    assert asked.phrases == tuple(f"w{n}" for n in range(PHRASES))
    assert asked.share == pytest.approx(1 / 2)


@pytest.mark.parametrize(
    ("query", "there", "apart"),
    [  # compatible characters that are words of their own where they are taken apart
        ('"\u00bd cup of sugar"', "\u00bd cup of sugar", "\u00bd \u00bd cup sugar \u00bd"),
        ('"\u0e01\u0e33\u0e25 \u0e17\u0e33"', "\u0e01\u0e33\u0e25 \u0e17\u0e33",
         "\u0e17\u0e33 " * 2 + "\u0e01\u0e33\u0e25"),
        # the same words, of which BM25 has other terms too
        ('"St\u00f6rche flying"', "storche flying", "St\u00f6rche not flying"),
        ('"RAL 7016"', "ral 7016", "RAL-R 7016"),
        ('"XJ-900"', "xj 900", "900 XJ"),
        ('"5 V"', "5, v", "5 of V"),
        ('"getElementById"', "getelementbyid", "get element by Id"),
    ],
)  # fmt: skip
def test_words_are_those_of_the_index(tmp_path: Path, query: str, there: str, apart: str) -> None:
    with Engine.create(tmp_path / "i.index", WORDS_ONLY) as engine:
        engine.add([Document("apart", apart), Document("there", there + " more words" * 9)])
        hits = engine.search(query)
        assert [hit.id for hit in hits] == ["there", "apart"]
        assert engine.explain(query, "there").value == pytest.approx(hits[0].score, rel=1e-5)
        assert "**" in hits[0].snippet


@pytest.mark.parametrize("k", [1, 40, 60, 100, 160, 300])
def test_who_has_the_phrase_is_first_at_any_depth(tmp_path: Path, k: int) -> None:
    """Texts that do not hold its words cost no reading."""
    documents = [
        *(Document(f"a{n}", "blues " * (n % 5 + 2)) for n in range(110)),
        *(Document(f"b{n}", "band " * (n % 5 + 2)) for n in range(110)),
        *(Document(f"c{n}", "the blues band played " + "on and on " * 30) for n in range(40)),
    ]
    with Engine.create(tmp_path / "i.index", WORDS_ONLY) as engine:
        engine.add(documents)
        with mock.patch("searchlib.quoting.READ", 100):
            [ranking] = engine.rank(['"blues band"'], k)
        assert len(ranking.ids) == min(k, 260)
        assert {id[0] for id in ranking.ids[:40]} == {"c"}
        assert not {id[0] for id in ranking.ids[40:]} & {"c"}


def test_an_index_of_words_alone(tmp_path: Path) -> None:
    with Engine.create(tmp_path / "i.index", WORDS_ONLY) as engine:
        engine.add(
            [
                Document("b", "of state the of art " * 9, title="Art"),
                Document("a", "It is the state of the art, of the state. " + "More words. " * 40),
                Document("t", "nothing here", title="The state of the art"),
            ]
        )
        ids = [hit.id for hit in engine.search('"state of the art"')]
        assert ids == ["t", "a", "b"]
        assert [hit.id for hit in engine.search("state of the art", 1)] == ["b"]
        assert [hit.id for hit in engine.search('"of the" art')] == ["t", "a", "b"]  # stop words
        assert engine.search('"no such thing" art')[0].score > 0
        assert not engine.search('"the"')
        engine.delete(["t"])
        assert [hit.id for hit in engine.search('"state of the art"')] == ["a", "b"]


texts = st.lists(st.sampled_from(LETTERS), min_size=1, max_size=12).map(" ".join)


@settings(max_examples=60)
@given(
    documents=st.lists(texts, min_size=1, max_size=30),
    phrase=st.lists(st.sampled_from(LETTERS), min_size=1, max_size=3).map(" ".join),
    more=st.lists(st.sampled_from(LETTERS), max_size=3).map(" ".join),
    k=st.integers(1, 40),
    more_read=st.booleans(),
)
def test_the_best_are_those_of_all(
    tmp_path_factory: pytest.TempPathFactory,
    *,
    documents: list[str],
    phrase: str,
    more: str,
    k: int,
    more_read: bool,
) -> None:
    """Against every text read, every score boosted, all sorted."""
    plainly = Settings(dense_model=None, sparse_model=None, language="none")
    query = f'{more} "{phrase}"'
    with (
        Engine.create(tmp_path_factory.mktemp("all") / "i.index", plainly) as engine,
        mock.patch.multiple("searchlib.quoting", DEPTH=1, AT_ONCE=2, READ=30 if more_read else 1),
    ):
        engine.add([Document(f"d{n:02}", text) for n, text in enumerate(documents)])
        [plain] = engine.rank([query], len(documents), retriever="bm25")
        share = len(phrase.split()) / len(query.split())
        holding = [text for text in documents if set(phrase.split()) <= set(text.split())]
        if not more_read and len(holding) > k:
            return  # then not all that could be the best are read
        said = dict(zip(plain.ids, plain.scores, strict=True))
        for name in said:
            there = f" {phrase} " in f" {documents[int(name[1:])]} "
            said[name] *= 1 + 4 * share * there / (1.02 - share * there)
        expected = sorted(said.values(), reverse=True)[:k]
        [ranking] = engine.rank([query], k)
        np.testing.assert_allclose(ranking.scores, expected, rtol=1e-5)
        for name, score in zip(ranking.ids, ranking.scores, strict=True):
            assert score == pytest.approx(said[name], rel=1e-5)
