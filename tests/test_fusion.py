"""Fusion formulas and score completion, on numbers small enough to check by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.types import TopK
from searchlib.adaptive import Trust
from searchlib.errors import BadQuery
from searchlib.fused import Fused
from searchlib.fusion import (
    Affine,
    log_share,
    min_max,
    ranks_of,
    reciprocal_rank,
    theoretical_min_max,
    z_score,
)
from searchlib.methods import OpinionPool, ReciprocalRank
from searchlib.pool import Pool
from searchlib.types import Explanation

POOLS = st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=30)


@given(POOLS)
def test_z_score_has_mean_0_and_deviation_1_or_0(values: list[float]) -> None:
    pool = np.array(values, np.float32)
    normalised = z_score(pool)(pool)
    assert abs(normalised.mean()) < 1e-3
    assert normalised.std() == pytest.approx(1, abs=1e-3) or normalised.std() == 0


@given(POOLS)
def test_min_max_reaches_0_and_1_unless_flat(values: list[float]) -> None:
    pool = np.array(values, np.float32)
    normalised = min_max(pool)(pool)
    assert normalised.min() == 0
    assert normalised.max() == pytest.approx(1) or float(np.ptp(pool)) < 1e-6


@given(POOLS, st.floats(0.05, 2))
def test_shares_average_1_and_keep_the_order(values: list[float], rate: float) -> None:
    pool = np.array(values, np.float32)
    shares = np.exp(log_share(pool, rate)(pool))
    assert shares.mean() == pytest.approx(1, abs=1e-3)
    assert (np.diff(shares[np.argsort(pool, kind="stable")]) >= 0).all()


def test_what_stands_out_in_one_retriever_wins_in_an_opinion_pool() -> None:
    """Document 0 alone has a rare word (z = 9.9 in `a`), document 99 is the closest in `b`.

    As sums of z-scores, 0.2 * 9.9 + z of 0 in `b` < 0.2 * -0.1 + 2.4; as shares the rare word wins.
    """
    a = Known("a", [1.0, *[0.0] * 99])
    b = Known("b", [0.5, *(0.01 * i for i in range(1, 99)), 1.2])
    linear = Fused("f", (a, b), (0.2, 1.0), (z_score, z_score), depth=100)
    shares = Fused("f", (a, b), (0.2, 1.0), OpinionPool(0.4), depth=100)
    assert linear.top(["q"], 1, None, "document")[0].ids.tolist() == [99]
    assert shares.top(["q"], 1, None, "document")[0].ids.tolist() == [0]


def test_theoretical_min_max_measures_from_the_floor() -> None:
    pool = np.array([0.0, 0.5], np.float32)
    assert theoretical_min_max(-1.0)(pool) == Affine(-1.0, 1 / 1.5)


@pytest.mark.parametrize("normaliser", [z_score, min_max, theoretical_min_max(0.0)])
def test_an_empty_pool_normalises_everything_to_0(normaliser: Any) -> None:
    empty = np.array([], np.float32)
    assert normaliser(empty)(np.array([5.0], np.float32)).tolist() == [0.0]


def test_reciprocal_rank_of_cormack() -> None:
    assert reciprocal_rank(np.array([1, 3, 0]), 60).tolist() == [1 / 61, 1 / 63, 0]


def test_ranks_share_ties_and_leave_out_what_does_not_match() -> None:
    scores = np.array([2.0, 5.0, 2.0, 0.0, 1.0], np.float32)
    assert ranks_of(scores, scores).tolist() == [2, 1, 2, 0, 4]
    negative = np.array([-1.0, -2.0], np.float32)  # a cosine below 0 is still a rank
    assert ranks_of(negative, negative).tolist() == [1, 2]


@dataclass
class Known:
    """A scorer whose scores are a table: document i of the corpus has scores[i]."""

    name: str
    table: list[float]
    snapshot: Any = None
    asked: list[list[int]] = field(default_factory=list)
    direct: bool = True
    full: float | None = None

    def top(self, queries: Any, k: int, where: Any, unit: Any) -> list[TopK]:
        scores = np.array(self.table, np.float32)
        ids = np.lexsort((np.arange(len(scores)), -scores))[:k].astype(np.int64)
        ids = ids[scores[ids] > 0]
        return [TopK(ids, scores[ids]) for _ in queries]

    def scores(self, query: str, ids: Any, where: Any, unit: Any) -> Any:
        self.asked.append(ids.tolist())
        return np.array(self.table, np.float32)[ids]

    def top_and_scores(self, query: str, k: int, ids: Any, where: Any, unit: Any) -> Any:
        scores = np.array(self.table, np.float32)[ids]
        return self.top([query], k, where, unit)[0], scores

    def passage_scores(self, query: str, passages: Any, where: Any) -> Any:
        return self.scores(query, passages, where, "passage")

    def full_score(self, query: str, where: Any, unit: Any) -> float | None:
        return self.full

    def explain_id(self, query: str, id: int, where: Any, unit: Any) -> Explanation:
        return Explanation(self.table[id], self.name)


def test_a_candidate_of_one_retriever_gets_its_true_score_from_the_other() -> None:
    """Depth 1: `a` finds document 0 only, `b` document 2 only; each scores the other's as well.

    a: 4, 3, 2 -> pool {0, 2} -> min-max 1 and 0; b: 1, 3, 5 -> 0 and 1. Document 1, in nobody's
    best, is no candidate although it would be second for both.
    """
    a, b = Known("a", [4, 3, 2]), Known("b", [1, 3, 5])
    fused = Fused("f", (a, b), (1.0, 2.0), (min_max, min_max), depth=1)
    top = fused.top(["q"], 1, None, "document")[0]
    assert (top.ids.tolist(), top.scores.tolist()) == ([2], [2.0])
    assert a.asked == [[2]]  # its own are known
    assert b.asked == [[0]]


@given(
    tables=st.lists(st.lists(st.integers(0, 9), min_size=6, max_size=6), min_size=1, max_size=4),
    direct=st.lists(st.booleans(), min_size=4, max_size=4),
    depth=st.integers(1, 4),
    k=st.integers(1, 6),
)
def test_scores_given_in_passing_change_nothing(
    tables: list[list[float]], direct: list[bool], depth: int, k: int
) -> None:
    def asked(queries: list[str], kinds: list[bool]) -> list[list[tuple[int, float]]]:
        parts = tuple(
            Known(str(i), table, direct=kind)
            for i, (table, kind) in enumerate(zip(tables, kinds, strict=False))
        )
        fused = Fused("f", parts, (1.0,) * len(parts), (z_score,) * len(parts), depth)
        tops = fused.top(queries, k, None, "document")
        return [list(zip(top.ids.tolist(), top.scores.tolist(), strict=True)) for top in tops]

    [alone] = asked(["q"], direct)
    assert [alone] == asked(["q"], [True] * 4)
    assert [alone, alone] == asked(["q", "r"], direct)


def test_a_pool_is_searched_once_and_never_taken_for_another() -> None:
    a = Known("a", [4, 3, 2])
    searched = []
    top = a.top
    a.top = lambda queries, *rest: (searched.extend(queries), top(queries, *rest))[1]  # type: ignore
    fused = Fused("f", (a,), (1.0,), (min_max,), depth=2)
    ids = np.array([0, 2])
    fused.top(["q"], 1, None, "document")
    assert fused.scores("q", ids, None, "document").tolist() == [1, -1]
    assert fused.passage_scores("q", ids, None).tolist() == [1, -1]
    fused.explain_id("q", 0, None, "document")
    assert searched == ["q"]
    a.table = [4, 2, 0]
    assert fused.scores("r", ids, None, "document").tolist() == [1, -1]
    assert fused.scores("r", ids, None, "passage").tolist() == [1, -1]
    assert searched == ["q", "r", "r"]


METHODS = [
    (z_score, z_score),
    (min_max, theoretical_min_max(0.0)),
    ReciprocalRank(60),
    OpinionPool(0.4),
]
TABLES = st.lists(st.tuples(st.floats(0, 9, width=16), st.floats(0, 9, width=16)), min_size=1)


@pytest.mark.parametrize("method", METHODS, ids=["z", "min-max", "rrf", "shares"])
@given(rows=TABLES, depth=st.integers(1, 5), k=st.integers(1, 9))
def test_score_equals_explanation_and_does_not_depend_on_k(
    method: Any, rows: list[tuple[float, float]], depth: int, k: int
) -> None:
    parts = (Known("a", [a for a, _ in rows]), Known("b", [b for _, b in rows]))
    fused = Fused("f", parts, (0.5, 1.0), method, depth)
    top = fused.top(["q"], k, None, "document")[0]
    everything = fused.top(["q"], len(rows), None, "document")[0]
    full = dict(zip(everything.ids.tolist(), everything.scores.tolist(), strict=True))
    for id, score in zip(top.ids.tolist(), top.scores.tolist(), strict=True):
        explanation = fused.explain_id("q", id, None, "document")
        assert explanation.value == pytest.approx(score, abs=1e-4)
        assert explanation.recompute() == pytest.approx(score, abs=1e-4)
        assert full[id] == score
    ids = np.arange(len(rows))
    assert fused.scores("q", ids, None, "document")[top.ids].tolist() == top.scores.tolist()


@pytest.mark.parametrize("method", METHODS, ids=["z", "min-max", "rrf", "shares"])
@given(rows=TABLES, depth=st.integers(1, 5))
def test_adapted_weights_are_explained_and_do_not_depend_on_k(
    method: Any, rows: list[tuple[float, float]], depth: int
) -> None:
    parts = (Known("a", [a for a, _ in rows], full=8.0), Known("b", [b for _, b in rows]))
    fused = Fused("f", parts, (0.5, 1.0), method, depth, Trust((1, None)))
    top = fused.top(["q"], len(rows), None, "document")[0]
    scores = dict(zip(top.ids.tolist(), top.scores.tolist(), strict=True))
    best = fused.top(["q"], 1, None, "document")[0]
    assert all(scores[id] == score for id, score in zip(best.ids, best.scores, strict=True))
    for id, score in zip(top.ids.tolist(), top.scores.tolist(), strict=True):
        explanation = fused.explain_id("q", id, None, "document")
        assert explanation.value == pytest.approx(score, rel=1e-4, abs=1e-4)
        assert explanation.recompute() == pytest.approx(score, rel=1e-4, abs=1e-4)


def test_the_part_that_tells_candidates_apart_is_trusted_more() -> None:
    """One of four stands out in the first part; the second has them evenly spread."""
    pool = Pool(np.array([[9, 0, 0, 0], [4, 3, 2, 1]], np.float32))
    first, second = Trust((None, None), matchless=0).weights((1.0, 1.0), pool)
    assert first > 1 > second
    assert first * second == pytest.approx(1)


def test_a_part_that_contradicts_its_guide_is_trusted_less() -> None:
    pool = Pool(np.array([[1, 2, 3], [3, 2, 1], [1, 2, 3]], np.float32))
    trust = Trust((2, 2, None), sharpness=0, matchless=0, agreement=0.8)
    assert trust.weights((1.0, 1.0, 1.0), pool) == pytest.approx([np.exp(0.8), np.exp(-0.8), 1.0])


def test_a_part_that_finds_nothing_in_the_candidates_is_trusted_less() -> None:
    pool = Pool(np.array([[0, 0, 0, 5], [-1, 0.5, 0.1, 1]], np.float32), (10.0, None))
    trust = Trust((None, None), sharpness=0, matchless=2.0)
    assert trust.weights((1.0, 1.0), pool) == pytest.approx([np.exp(-0.75), 1.0])


@pytest.mark.parametrize("full", [None, 5.0, 4.0])
def test_one_candidate_that_has_all_of_the_query_is_enough(full: float | None) -> None:
    """Such as an identifier, which the other candidates need not have."""
    pool = Pool(np.array([[0, 0, 0, 5], [4, 3, 2, 1]], np.float32), (full, None))
    first, second = Trust((None, None)).weights((1.0, 1.0), pool)
    assert first > 1 > second


def test_one_stray_word_of_a_query_is_not_taken_for_certain() -> None:
    """It stands out as much as an identifier does; what tells them apart is what is missing."""
    scores = np.array([[0, 0, 0, 5], [4, 3, 2, 1]], np.float32)
    first, second = Trust((None, None)).weights((1.0, 1.0), Pool(scores, (25.0, None)))
    assert first < 0.5 < second


def test_a_query_without_words_trusts_no_words() -> None:
    pool = Pool(np.zeros((2, 4), np.float32), (0.0, None))
    trust = Trust((None, None), sharpness=2, matchless=2.0)
    assert trust.weights((1.0, 1.0), pool) == pytest.approx([np.exp(-2), 1.0])


def test_an_empty_pool_says_nothing() -> None:
    pool = Pool(np.empty((2, 0), np.float32))
    assert Trust((1, None)).weights((0.5, 1.0), pool) == (0.5, 1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"guides": (2, None)}, "illegal guides"),
        ({"guides": (None,), "sharpness": -1.0}, "illegal rates of trust"),
        ({"guides": (None,), "agreement": float("nan")}, "illegal rates of trust"),
    ],
)
def test_a_bad_trust_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(BadQuery, match=message):
        Trust(**arguments)


def test_fusions_nest() -> None:
    inner = Fused("in", (Known("a", [1, 2]), Known("b", [2, 1])), (1, 1), (min_max, min_max))
    outer = Fused("out", (inner, Known("c", [3, 4])), (1, 1), (min_max, min_max))
    explanation = outer.explain_id("q", 1, None, "document")
    top = outer.top(["q"], 1, None, "document")[0]
    assert (top.ids.tolist(), top.scores.tolist()) == ([1], [1.0])
    assert explanation.recompute() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("parts", "weights", "method", "depth", "message"),
    [
        (0, (), (), 1, "at least one retriever"),
        (1, (1.0, 2.0), (z_score,), 1, "1 retrievers but 2 weights"),
        (1, (-1.0,), (z_score,), 1, "illegal fusion weights"),
        (1, (float("nan"),), (z_score,), 1, "illegal fusion weights"),
        (1, (1.0,), (), 1, "1 retrievers but 0 normalisers"),
        (1, (1.0,), (z_score,), 0, "illegal fusion depth: 0"),
    ],
)
def test_bad_fusions_are_refused(
    parts: int, weights: Any, method: Any, depth: int, message: str
) -> None:
    with pytest.raises(BadQuery, match=message):
        Fused("f", tuple(Known("a", [1]) for _ in range(parts)), weights, method, depth)


@pytest.mark.parametrize("rate", [0, -1, 2.5, float("nan")])
def test_a_bad_rate_is_refused(rate: float) -> None:
    with pytest.raises(BadQuery, match="illegal opinion pool rate"):
        OpinionPool(rate)


def test_a_bad_rrf_constant_is_refused() -> None:
    with pytest.raises(BadQuery, match="illegal RRF constant: 0"):
        ReciprocalRank(0)
