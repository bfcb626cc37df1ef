"""Pseudo-relevance feedback: the formulas by hand, and over an index against a slow oracle."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexes.types import TermVectors
from searchlib import Document, Engine, Settings
from searchlib.errors import BadQuery
from searchlib.feedback import Feedback, discounts, refined_terms, refined_vector
from searchlib.fused import Fused
from searchlib.refined import WHOLE, FirstPass, Refined
from searchlib.types import Explanation

RETRIEVERS = [
    "bm25", "bm25_passage", "sparse", "lookup", "dense", "static", "hybrid", "instant",
]  # fmt: skip
QUERY = "the band and the child in the garden"
FEEDBACK = Feedback(passages=4, terms=6, weight=0.6)
ROWS = st.dictionaries(st.sampled_from("abcdef"), st.floats(1, 9, width=16), min_size=1, max_size=5)


def test_rm3_by_hand() -> None:
    """Query: sea sea moon. Passages: "tide tide moon salt" and "salt".

    Believed 1 / log2(2) = 1 and 1 / log2(3) = .6309, so .6131 and .3869. The sum: tide .3066,
    moon .1533, salt .1533 + .3869 = .5402. The two likeliest, salt and tide, sum to .8468 and are
    scaled to half of the query's 3: 1.5.
    """
    query = {"sea": 2.0, "moon": 1.0}
    passages = [{"tide": 2.0, "moon": 1.0, "salt": 1.0}, {"salt": 1.0}]
    own, first, second = refined_terms(query, passages, Feedback(terms=2, weight=0.5))
    assert own == {"sea": 1.0, "moon": 0.5}
    assert first == pytest.approx(
        {"tide": 1.5 * 0.3066 / 0.8468, "salt": 1.5 * 0.1533 / 0.8468}, 1e-3
    )
    assert second == pytest.approx({"salt": 1.5 * 0.3869 / 0.8468}, 1e-3)


def slow_rm3(
    query: dict[str, float], passages: list[dict[str, float]], feedback: Feedback
) -> Counter[str]:
    """RM3 as the equation has it: P(w|Q') from probabilities, then times the query's length."""
    beliefs = [1 / math.log2(rank + 1) for rank in range(1, len(passages) + 1)]
    relevance: Counter[str] = Counter()
    for belief, passage in zip(beliefs, passages, strict=True):
        length = sum(passage.values())
        for word, count in passage.items():
            relevance[word] += belief / sum(beliefs) * count / length
    best = sorted(relevance, key=lambda w: (-round(relevance[w], 12), w))[: feedback.terms]
    total = sum(relevance[word] for word in best)
    length = sum(query.values())
    result: Counter[str] = Counter()
    for word in {*query, *best}:
        p = feedback.weight * query.get(word, 0) / length
        p += (1 - feedback.weight) * (relevance[word] / total if word in best else 0)
        result[word] = p * length
    return result


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    query=ROWS,
    passages=st.lists(ROWS, min_size=1, max_size=4),
    terms=st.integers(1, 9),
    weight=st.floats(0.01, 1),
)
def test_rm3_equals_its_equation(
    query: dict[str, float], passages: list[dict[str, float]], terms: int, weight: float
) -> None:
    feedback = Feedback(terms=terms, weight=weight)
    shares = refined_terms(query, passages, feedback)
    assert len(shares) == 1 + len(passages)
    total: Counter[str] = Counter()
    for share in shares:
        total.update(share)  # type: ignore[arg-type]
    assert sum(total.values()) == pytest.approx(sum(query.values()))
    expected = slow_rm3(query, passages, feedback)
    if terms >= len({w for p in passages for w in p}):  # else ties are cut by the last bit
        assert dict(total) == pytest.approx({w: v for w, v in expected.items() if v or w in total})
    learned = {word for share in shares[1:] for word in share}
    assert len(learned) <= terms


@pytest.mark.parametrize("passages", [[], [{}], [{}, {}]])
def test_nothing_to_learn_from_leaves_the_query_as_it_is(passages: list[dict[str, float]]) -> None:
    query = {"sea": 2.0}
    assert refined_terms(query, passages, Feedback())[0] == query
    vector = np.array([1, 2], np.float32)
    assert refined_vector(vector, np.empty((0, 2), np.float32), Feedback()).tolist() == [[1, 2]]


def test_a_query_of_no_words_learns_none() -> None:
    shares = refined_terms({}, [{"tide": 1.0}], Feedback())
    assert not any(weight for share in shares for weight in share.values())


def test_rocchio_by_hand() -> None:
    query, passages = np.array([1, 0], np.float32), np.array([[0, 1], [0, 3]], np.float32)
    shares = refined_vector(query, passages, Feedback(weight=0.5))
    believed = discounts(2)
    assert shares.dtype == np.float32
    expected = [[0.5, 0], [0, 0.5 * believed[0]], [0, 1.5 * believed[1]]]
    np.testing.assert_allclose(shares, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"passages": 0}, "illegal number of feedback passages: 0, must be 1 or more"),
        ({"terms": -1}, "illegal number of feedback terms: -1"),
        ({"weight": 1.5}, "illegal feedback weight: 1.5, must be between 0 and 1"),
        ({"weight": float("nan")}, "illegal feedback weight: nan"),
    ],
)
def test_values_out_of_range_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(BadQuery, match=message):
        Feedback(**wrong)


def refined_query(engine: Engine, name: str, where: str | None) -> TermVectors | np.ndarray:  # type: ignore[type-arg]
    """What feedback should make of QUERY in a field, from stored rows and the formulas."""
    part = engine.retriever(name)
    snapshot = engine.snapshot
    selection = snapshot.select(where) if where else None
    passages = part.top([QUERY], FEEDBACK.passages, selection, "passage")[0].ids
    field = part.fields["passage"]  # type: ignore[attr-defined]
    rows = snapshot.stored_rows(field, passages)
    own = part.queries.encode([QUERY])  # type: ignore[attr-defined]
    if isinstance(rows, np.ndarray):
        return refined_vector(own[0], rows, FEEDBACK).sum(axis=0)
    total: Counter[str] = Counter()
    kept = [rows.row(i) for i in range(len(rows))]
    for share in refined_terms(own.row(0), kept, FEEDBACK):
        total.update(share)  # type: ignore[arg-type]
    return TermVectors.of([dict(total)])


@pytest.mark.parametrize("where", [None, "year >= 1999"])
@pytest.mark.parametrize("name", RETRIEVERS[:-2])
def test_a_field_is_searched_with_the_refined_query(
    engine: Engine, name: str, where: str | None
) -> None:
    made = engine.refined(name, FEEDBACK)
    assert isinstance(made, Refined)
    selection = engine.snapshot.select(where) if where else None
    vector = refined_query(engine, name, where)
    for unit in ("document", "passage"):
        [found] = made.top([QUERY], 50, selection, unit)  # type: ignore[arg-type]
        field, similarity = made.part.fields[unit], made.part.similarity  # type: ignore[index]
        expected = engine.snapshot.scores(field, vector, found.ids, unit, similarity)  # type: ignore[arg-type]
        np.testing.assert_allclose(found.scores, expected, rtol=1e-5, atol=1e-5)
        assert len(found.ids)
        again = made.scores(QUERY, found.ids, selection, unit)  # type: ignore[arg-type]
        np.testing.assert_allclose(again, found.scores, rtol=1e-5, atol=1e-6)
    plain = engine.retriever(name).scores(QUERY, found.ids, selection, "passage")
    assert not np.allclose(plain, found.scores)  # or feedback did nothing


@pytest.mark.parametrize("name", RETRIEVERS)
@pytest.mark.parametrize("first", [None, "hybrid", "dense"])
def test_explanations_add_up(engine: Engine, name: str, first: str | None) -> None:
    made = engine.refined(name, FEEDBACK, first=first)
    for unit in ("document", "passage"):
        hits = engine.search(QUERY, 20, retriever=made, unit=unit, explain=True)  # type: ignore[arg-type]
        assert hits
        for hit in hits:
            assert hit.explanation is not None
            assert hit.explanation.value == pytest.approx(hit.score, abs=1e-4)
            assert hit.explanation.recompute() == pytest.approx(hit.score, abs=1e-4)


def named(explanation: Explanation) -> set[str]:
    """Every name in a tree."""
    return {explanation.name}.union(*(named(part) for part in explanation.parts))


def test_an_explanation_says_which_passage_each_term_came_from(engine: Engine) -> None:
    made = engine.refined("bm25", Feedback(passages=1, terms=50))
    [best] = engine.search("blues", 1, retriever=made, explain=True)
    assert best.explanation is not None
    terms = {part.name: part.parts[0] for part in best.explanation.parts}
    assert {leaf.name for leaf in terms["blue"].parts} == {"the query", "feedback from blues#0"}
    assert {leaf.name for leaf in terms["song (feedback)"].parts} == {"feedback from blues#0"}
    assert "blue (feedback)" not in terms


@pytest.mark.parametrize("name", RETRIEVERS)
def test_a_filter_holds_for_the_passages_to_learn_from(engine: Engine, name: str) -> None:
    made = engine.refined(name, FEEDBACK)

    def teachers(where: str | None) -> set[str]:
        hits = engine.search("the cat and the band", 20, retriever=made, where=where, explain=True)
        names = set().union(*(named(hit.explanation) for hit in hits if hit.explanation))
        return {name for name in names if name.startswith("feedback")}

    everyone = teachers(None)
    assert len(everyone) > 1
    assert teachers("year = 2005") == {"feedback from cat#0"}
    assert teachers(None) == everyone  # not mixed up


@pytest.mark.parametrize("name", RETRIEVERS)
def test_many_queries_at_once_are_answered_as_one_by_one(engine: Engine, name: str) -> None:
    queries = [QUERY, "bread in the oven", "zzz", QUERY, "a leaf"]
    together = engine.rank(queries, 5, retriever=engine.refined(name))
    for query, ranking in zip(queries, together, strict=True):
        [alone] = engine.rank([query], 5, retriever=engine.refined(name))
        assert alone.ids == ranking.ids
        np.testing.assert_allclose(alone.scores, ranking.scores, rtol=1e-4, atol=1e-4)


def test_the_first_pass_of_a_fusion_is_made_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    top = Fused.top

    def counted(self: Fused, queries: Any, k: int, where: Any, unit: Any) -> Any:
        if unit == "passage":
            asked.append(list(queries))
        return top(self, queries, k, where, unit)

    monkeypatch.setattr(Fused, "top", counted)
    made = engine.refined("hybrid")
    engine.search(QUERY, 3, retriever=made, explain=True)
    assert asked == [[QUERY]]


def test_counts_made_anew_are_those_in_the_index(engine: Engine) -> None:
    passages = np.arange(engine.snapshot.n_passages)
    made = engine.refined("bm25")
    assert isinstance(made, Refined)
    excerpts = engine.snapshot.excerpts(passages, WHOLE)
    assert max(len(excerpt.text) for excerpt in excerpts) > 100
    from searchlib.refined import _rows_of

    anew, stored = (
        _rows_of(made.part, passages),
        engine.snapshot.stored_rows("bm25_passage", passages),
    )
    assert isinstance(anew, TermVectors)
    assert isinstance(stored, TermVectors)
    for i in passages.tolist():
        assert anew.row(i) == stored.row(i)


def test_an_index_of_nothing_and_a_query_of_nothing(tmp_path: Path) -> None:
    settings = Settings(dense_model=None, sparse_model=None)
    with Engine.create(tmp_path / "i.index", settings) as engine:
        assert engine.search("blues", retriever=engine.refined("hybrid")) == []
        engine.add([Document("a", "salt water"), Document("b", "water and sea")])
        assert engine.search("the", retriever=engine.refined("bm25")) == []
        found = engine.search("salt", retriever=engine.refined("bm25"))
        assert [hit.id for hit in found] == ["a", "b"]  # b shares no word with the question


def test_what_is_no_field_nor_fusion_is_refused(engine: Engine) -> None:
    with pytest.raises(BadQuery, match="cannot have feedback"):
        engine.refined(engine.refined("bm25"))
    with pytest.raises(BadQuery, match="unknown retriever 'x'"):
        engine.refined("x")


def test_words_that_feedback_brought_select_for_sorting(engine: Engine) -> None:
    made = engine.refined("bm25", first="hybrid")
    hits = engine.search("blues", 10, retriever=made, sort="-year")
    years = [hit.metadata.get("year", 0) for hit in hits]
    assert years == sorted(years, reverse=True)
    assert len(hits) > len(engine.search("blues", 10, retriever="bm25", sort="-year"))
    with pytest.raises(BadQuery, match="matches every document"):
        engine.search("blues", retriever=engine.refined("dense"), sort="year")


def test_a_first_pass_forgets(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("searchlib.refined.REMEMBERED", 3)
    first = FirstPass(engine.retriever("bm25"), 2)
    for number in range(10):
        first.of([f"blues {number}"], None)
    assert len(first._memory[1]) <= 4


def test_words_beyond_ascii_learn_too(engine: Engine) -> None:
    [ranking] = engine.rank(["blues für Müller"], 3, retriever=engine.refined("hybrid"))
    assert len(ranking.ids) == 3
