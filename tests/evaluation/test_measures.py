"""Measures agree with trec_eval's own code and with sums done by hand."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from searchlib import Document, Engine, Settings
from searchlib.errors import BadInput, BadQuery
from searchlib.evaluation import (
    depth,
    evaluate,
    parse_measures,
    ranked,
    run_of,
    run_queries,
    themselves,
)
from searchlib.indexing import no_progress
from searchlib.types import Ranking

QRELS = {"q1": {"d1": 2, "d2": 1, "d3": 0}, "q2": {"d9": 1}, "q3": {"d4": 1}}
TOOLS = "nDCG@10,ERR@10,RR@10,Judged@10,Compat"
RUN = {"q1": {"d3": 3.0, "d1": 2.0, "d2": 1.0}, "q2": {"d9": 0.1}, "unjudged": {"d1": 9.0}}


def test_by_hand() -> None:
    """q1 finds relevances 0, 2, 1: DCG = 2/log2(3) + 1/log2(4), ideal = 2/log2(2) + 1/log2(3).

    q2 is perfect; q3 has no results, and counts as 0; the query without judgements is left out.
    """
    results = evaluate(QRELS, RUN, "nDCG@10, RR R@1,NumRelRet")
    ndcg = (2 / math.log2(3) + 1 / 2) / (2 + 1 / math.log2(3))
    assert results.per_query["nDCG@10"] == pytest.approx({"q1": ndcg, "q2": 1.0, "q3": 0.0})
    assert results.per_query["RR"] == {"q1": 0.5, "q2": 1.0, "q3": 0.0}
    assert results.mean == pytest.approx(
        {"nDCG@10": (ndcg + 1) / 3, "RR": 0.5, "R@1": 1 / 3, "NumRet(rel=1)": 3.0}
    )
    assert results.queries == 3


def test_equals_pytrec_eval() -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    rng = random.Random(7)
    ids = [f"d{n}" for n in range(200)]
    qrels = {f"q{q}": {d: rng.randint(0, 3) for d in rng.sample(ids, 20)} for q in range(25)}
    run = {f"q{q}": {d: rng.random() for d in rng.sample(ids, 120)} for q in range(25)}
    names = {"nDCG@10": "ndcg_cut_10", "R@100": "recall_100", "AP": "map", "P@5": "P_5"}
    ours = evaluate(qrels, run, ",".join(names))
    theirs = pytrec_eval.RelevanceEvaluator(qrels, set(names.values())).evaluate(run)
    for name, trec_name in names.items():
        assert ours.per_query[name] == {q: values[trec_name] for q, values in theirs.items()}


def test_the_grammar() -> None:
    assert parse_measures("nDCG@10,R@100") == ("nDCG@10", "R@100")
    assert parse_measures(" AP  P(rel=2, judged_only=True)@5 ") == (
        "AP",
        "P(rel=2,judged_only=True)@5",
    )
    assert parse_measures("MRR@10, RR@10") == ("RR@10",)
    assert parse_measures("nDCG(gains={0:1,2:3})@5") == ("nDCG(gains={0:1,2:3})@5",)


@pytest.mark.parametrize(
    "wrong",
    [
        "nDGC@10",
        "nDCG@0",
        "nDCG@-1",
        "P@1.5",
        "P",
        "nDCG@99999999999",
        "nDCG(",
        "",
        "a.b()",
        "((" * 99,
    ],
)
def test_an_unknown_measure_is_one_line_with_examples(wrong: str) -> None:
    with pytest.raises(BadQuery, match="examples: nDCG@10") as caught:
        parse_measures(wrong)
    assert "\n" not in str(caught.value)


def test_queries_of_any_name_and_graded_gains() -> None:
    qrels = {"kélé/1": {"a b": 3}, "2\n": {"c": 1}}
    run = {"kélé/1": {"a b": 1.0}, "2\n": {"c": 1.0}}
    assert evaluate(qrels, run, "nDCG@10,AP,RR@10").mean == {"nDCG@10": 1, "AP": 1, "RR@10": 1}


def test_documents_of_any_name_by_every_tool(capfd: pytest.CaptureFixture[str]) -> None:
    qrels = {"q 1": {"a b": 2, "": 1, "line\n": 0}}
    run = {"q 1": {"line\n": 3.0, "a b": 2.0, "": 1.0}}
    plain = evaluate({"q": {"x": 2, "y": 1, "z": 0}}, {"q": {"z": 3.0, "x": 2.0, "y": 1.0}}, TOOLS)
    assert evaluate(qrels, run, TOOLS).mean == plain.mean
    assert capfd.readouterr() == ("", "")


def test_equal_scores_are_ordered_by_descending_id() -> None:
    ids = ["d9", "d10", "D", "é", "\U0001f600", "z"]
    for place, id in enumerate(sorted(ids, reverse=True), 1):
        values = evaluate({"q": {id: 1}}, {"q": dict.fromkeys(ids, 1.0)}, "RR").mean
        assert values["RR"] == pytest.approx(1 / place)


def test_no_judgements() -> None:
    with pytest.raises(BadInput, match="no judgements"):
        evaluate({}, RUN, "AP")
    with pytest.raises(BadInput, match="a relevance of 9223372036854775808, must be from"):
        evaluate({"q1": {"d1": 2**63}}, RUN, "nDCG@10")


def test_what_a_provider_cannot_divide_by_is_one_line() -> None:
    with pytest.raises(BadQuery, match="cannot compute Accuracy: float division by zero"):
        evaluate({"q": {"d": 1}}, {"q": {"d": 1.0}}, "Accuracy")


def test_stderr_stays_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    evaluate(QRELS, RUN, "nDCG@10,RR@10,Judged@10,Compat,infAP")
    assert capfd.readouterr() == ("", "")


def test_a_query_that_is_a_document_is_not_its_own_result() -> None:
    rankings = [Ranking(("d1", "d2", "d3"), (3.0, 2.0, 1.0))]
    assert run_of(["d1"], rankings, k=2, themselves={"d1"}) == {"d1": {"d2": 2.0, "d3": 1.0}}
    assert run_of(["d1"], rankings, k=2) == {"d1": {"d1": 3.0, "d2": 2.0}}
    assert list(run_of(["other"], rankings, k=2, themselves={"d1"})["other"]) == ["d1", "d2"]


def test_queries_that_are_documents_have_like_texts(tmp_path: Path) -> None:
    documents = [
        Document("1", "The moon pulls the sea, twice a day.", title="Tides"),
        Document("2", "Iron rusts in the rain."),
        Document("3", "Bread rises while it rests.", title="What yeast does to dough"),
        Document("q", "Something else."),
    ]
    topics = {
        "1": "the moon pulls the sea twice a day!",  # the text
        "2": "where do boats sleep",  # a number, by chance
        "3": "What yeast does to dough",  # the title
        "q": "What is else",
        "x": "Something else.",  # another id
    }
    with Engine.create(tmp_path / "i", Settings(sparse_model=None, dense_model=None)) as engine:
        engine.add(documents)
        assert themselves(engine.snapshot, topics) == {"1", "3"}
        assert themselves(engine.snapshot, {}) == frozenset()
        judged = {"1": {"1": 2}, "3": {"3": 0, "1": 1}}  # document 1 is what query 1 is to find
        assert themselves(engine.snapshot, topics, judged) == {"3"}


class Alphabet:
    """Ranks a, b, c, ... for every query."""

    def search(self, queries: object, k: int) -> list[Ranking]:
        assert isinstance(queries, list)
        ids = tuple("abcdef"[:k])
        return [Ranking(ids, tuple(float(-n) for n in range(len(ids)))) for _ in queries]


def test_k_results_are_left_after_the_query_itself_is_dropped() -> None:
    run = run_queries(Alphabet(), {"a": "x", "q": "y"}, k=3, themselves={"a"})
    assert {query: list(ranking) for query, ranking in run.items()} == {
        "a": ["b", "c", "d"],
        "q": ["a", "b", "c"],
    }
    assert list(run_queries(Alphabet(), {"a": "x"}, k=2)["a"]) == ["a", "b"]
    with pytest.raises(BadQuery, match="illegal k: 0"):
        run_queries(Alphabet(), {"a": "x"}, k=0)


def test_a_figure_does_not_hang_on_what_else_is_measured(tmp_path: Path) -> None:
    """Thirty copies: all are looked at, and ordered as trec_eval orders equal scores."""
    names = ("nDCG@10", "P(judged_only=True)@1", "R@100", "AP")
    assert [depth([name]) for name in names] == [1000] * 4
    assert depth(["AP", "R@2000", "P@5"]) == 2000
    with Engine.create(tmp_path / "i", Settings(sparse_model=None, dense_model=None)) as engine:
        engine.add(Document(f"d{n:02}", "the moon pulls the sea") for n in range(30))
        run = ranked(
            engine, {"q": "moon"}, k=depth(["nDCG@10"]), retriever="bm25", where=None,
            on_progress=no_progress,
        )  # fmt: skip
    for id, value in (("d29", 1.0), ("d00", 0.0)):
        judged = {"q": {id: 1}}
        assert evaluate(judged, run, "nDCG@10").mean == {"nDCG@10": value}
        assert evaluate(judged, run, "nDCG@10,R@100").mean == {"nDCG@10": value, "R@100": 1.0}
        assert evaluate(judged, run, "P(judged_only=True)@1").mean == {"P(judged_only=True)@1": 1.0}
