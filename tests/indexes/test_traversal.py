"""Top-k over posting lists, whichever way, against brute force, scipy and bm25s."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from postings_cases import (
    WAYS,
    Row,
    built,
    built_from,
    computed_by,
    needs_kernels,
    pairs_of,
    random_rows,
    ranked,
    similarities,
    statistics_of,
)

from indexes import inversion, traversal
from indexes.arrays import write_arrays
from indexes.builder import PostingsBuilder
from indexes.factors import factors_of
from indexes.inversion import Kind, decode, encode
from indexes.norms import norms_of
from indexes.postings import Postings
from indexes.similarity import BM25, Dot, Similarity, Statistics
from indexes.topk import top_k
from indexes.traversal import (
    Plan,
    best_rows_and_scores,
    explain_row,
    score_all,
    score_rows,
    search,
)
from indexes.types import TermVectors

WORDS = [*"abcdefg", "ä", "日", "\U0001f600"]
WEIGHTS = st.floats(0.0078125, 30, width=32)
COUNTS = st.integers(1, 5).map(float)
IMPACT_ROWS = st.lists(
    st.dictionaries(st.sampled_from(WORDS), WEIGHTS, max_size=6), min_size=1, max_size=20
)
COUNT_ROWS = st.lists(
    st.dictionaries(st.sampled_from(WORDS), COUNTS, max_size=6), min_size=1, max_size=20
)
CASES = st.one_of(
    st.tuples(COUNT_ROWS, st.just("count"), st.sampled_from(similarities("count"))),
    st.tuples(IMPACT_ROWS, st.just("impact"), st.sampled_from(similarities("impact"))),
)
QUERIES = st.lists(
    st.dictionaries(st.sampled_from([*WORDS, "unknown"]), WEIGHTS, max_size=6),
    min_size=1,
    max_size=6,
)
DENSE_FROM = st.sampled_from([1, 10_000])
PLANS: tuple[Plan, ...] = get_args(Plan)


def opened(rows: Sequence[Row], kind: Kind) -> Postings:
    return Postings(built(rows, kind, at_once=len(rows) + 1))


def best_of_owners(scores: NDArray[np.float32], owners: NDArray[np.uint32]) -> NDArray[np.float32]:
    """The best score of each owner, 0 where it has none."""
    best = np.zeros(int(owners.max(initial=0)) + 1, np.float32)
    np.maximum.at(best, owners, scores)
    return best


def assert_all_plans_rank_like_the_oracle(
    postings: Postings,
    vectors: TermVectors,
    k: int,
    similarity: Similarity,
    *,
    eligible: NDArray[np.bool_] | None = None,
    owners: NDArray[np.uint32] | None = None,
) -> None:
    """Bit by bit; and once more above a floor, which is the middle one of the expected scores."""
    statistics = statistics_of([postings], vectors)
    expected = []
    for i in range(len(vectors)):
        scores = score_all(postings, vectors.select(i, i + 1), similarity, statistics)
        if eligible is not None:
            scores = np.where(eligible, scores, np.float32(0))
        expected.append(ranked(scores if owners is None else best_of_owners(scores, owners), k))
    middles = [pairs[len(pairs) // 2][1] if pairs else 0.0 for pairs in expected]
    for plan in PLANS:
        for floors in (None, np.array(middles, np.float32)):
            found = search(
                postings,
                vectors,
                k,
                similarity,
                statistics,
                eligible=eligible,
                owners=owners,
                floors=floors,
                plan=plan,
            )
            for ranking, pairs, floor in zip(found, expected, middles, strict=True):
                got = pairs_of(ranking.ids, ranking.scores)
                if floors is None:
                    assert got == pairs, plan
                else:  # what does not exceed the floor may be left out
                    above = [pair for pair in pairs if pair[1] > floor]
                    assert got[: len(above)] == above, plan
                    assert all(score <= floor for _, score in got[len(above) :])


def brute_force(rows: Sequence[Row], kind: Kind, query: Row, similarity: Similarity) -> list[float]:
    """Scores in float64, straight from the formulas."""
    weights = [
        dict(
            zip(row, decode(encode(np.array(list(row.values()), "f4"), kind)).tolist(), strict=True)
        )
        for row in rows
    ]
    lengths = [sum(row.values()) for row in rows]
    average = sum(lengths) / len(rows)
    scores = []
    for row, length in zip(weights, lengths, strict=True):
        score = 0.0
        for term, query_weight in query.items():
            if term not in row:
                continue
            df = sum(term in other for other in weights)
            idf = np.log(1 + (len(rows) - df + 0.5) / (df + 0.5))
            match similarity:
                case BM25(k1, b):
                    tf = row[term]
                    norm = k1 * (1 - b + b * length / average)
                    score += query_weight * idf * tf / (tf + norm)
                case Dot(power):
                    score += query_weight * idf**power * row[term]
        scores.append(float(score))
    return scores


@settings(deadline=None)
@given(CASES, QUERIES)
def test_all_scores_equal_brute_force(case: Any, queries: list[Row]) -> None:
    rows, kind, similarity = case
    postings = opened(rows, kind)
    for query in queries:
        vector = TermVectors.of([query])
        scores = score_all(postings, vector, similarity, statistics_of([postings], vector))
        assert scores.dtype == np.float32
        expected = brute_force(rows, kind, query, similarity)
        assert scores.tolist() == pytest.approx(expected, rel=1e-5)


@settings(deadline=None)
@given(CASES, QUERIES, st.integers(1, 25), st.sampled_from(WAYS), DENSE_FROM)
def test_every_way_to_a_score_gives_the_same_bits(
    case: Any, queries: list[Row], k: int, way: str, dense_from: int
) -> None:
    rows, kind, similarity = case
    with computed_by(way, dense_from):
        postings = opened(rows, kind)
        vectors = TermVectors.of(queries)
        statistics = statistics_of([postings], vectors)
        everyone = np.arange(postings.n_rows)
        again = search(postings, vectors, k, similarity, statistics)
        for i in range(len(queries)):
            query = vectors.select(i, i + 1)
            scores = score_all(postings, query, similarity, statistics)
            assert pairs_of(again[i].ids, again[i].scores) == ranked(scores, k)
            by_row = score_rows(postings, query, similarity, statistics, everyone[::-1])
            assert by_row.tolist() == scores[::-1].tolist()
            factors = factors_of(postings, query, similarity, statistics)
            norms = norms_of(postings, similarity, statistics.average_length)
            for plan in PLANS:
                top, given = best_rows_and_scores(
                    postings, factors, norms, k, everyone[::-2], plan=plan
                )
                assert given.tolist() == scores[::-2].tolist()
                assert pairs_of(top.ids, top.scores) == ranked(scores, k)
        assert_all_plans_rank_like_the_oracle(postings, vectors, k, similarity)


SIZES = st.sampled_from([40, 256, 257, 700, 3000])


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    n=SIZES,
    kind=st.sampled_from(["count", "impact"]),
    levels=st.sampled_from([0, 1, 2]),
    k=st.sampled_from([1, 5, 100]),
    share=st.sampled_from([None, 0.9, 0.5, 0.01]),
    grouped=st.booleans(),
    way=st.sampled_from(WAYS),
    data=st.data(),
)
def test_all_plans_rank_like_the_oracle(
    *,
    seed: int,
    n: int,
    kind: Kind,
    levels: int,
    k: int,
    share: float | None,
    grouped: bool,
    way: str,
    data: st.DataObject,
) -> None:
    """Windows and blocks, rows in order of similarity, and many equal scores (`levels`)."""
    rng = np.random.default_rng(seed)
    similarity = data.draw(st.sampled_from(similarities(kind)))
    eligible = None if share is None else rng.random(n) < share
    owners = np.sort(rng.integers(0, n // 3 + 1, n)).astype(np.uint32) if grouped else None
    with computed_by(way, 1):
        postings = Postings(built_from(random_rows(seed, n, 120, 5, kind, levels=levels), kind))
        assert len(postings.arrays["dense"])
        assert (postings.order is None) == (kind == "count" or way == "numpy")
        vectors = random_rows(seed + 1, 4, 120, 4, "impact", levels=levels)
        assert_all_plans_rank_like_the_oracle(
            postings, vectors, k, similarity, eligible=eligible, owners=owners
        )
        for i in range(len(vectors)):
            query, rows = vectors.select(i, i + 1), rng.integers(0, n, 20)
            statistics = statistics_of([postings], vectors)
            assert np.array_equal(
                score_rows(postings, query, similarity, statistics, rows),
                score_all(postings, query, similarity, statistics)[rows],
            )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["count", "impact"])
@pytest.mark.parametrize("levels", [0, 1])
def test_several_parts_rank_like_the_oracle(way: str, kind: Kind, levels: int) -> None:
    """140,000 rows: three parts, dense lists as the index would have them."""
    n = 140_000
    rng = np.random.default_rng(levels)
    eligible, owners = rng.random(n) < 0.3, (np.arange(n) // 3).astype(np.uint32)
    few = rng.random(n) < 0.0005
    with computed_by(way):
        postings = Postings(built_from(random_rows(levels, n, 200, 4, kind, levels=levels), kind))
        assert 0 < len(postings.arrays["dense"]) < postings.n_terms
        assert postings.n_parts == 3
        vectors = random_rows(5, 3, 200, 6, "impact", levels=levels)
        for similarity in similarities(kind)[:2]:
            assert_all_plans_rank_like_the_oracle(postings, vectors, 10, similarity)
        masks: list[tuple[Any, Any]] = [(eligible, owners), (few, None), (few, owners)]
        for mask, groups in masks:
            assert_all_plans_rank_like_the_oracle(
                postings, vectors, 7, similarities(kind)[0], eligible=mask, owners=groups
            )


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("k", [1, 7, 300])
def test_ties_at_the_last_place_go_to_the_first_rows(plan: Plan, k: int) -> None:
    """3,000 equal rows, stored in whatever order, and one better one: the first rows win."""
    rows: list[Row] = [{"a": 1.0, f"t{i % 7}": 2.0} for i in range(3000)]
    rows[2900]["a"] = 2.0
    query = TermVectors.of([{"a": 1.0}])
    with computed_by(WAYS[-1], 1):
        postings = opened(rows, "impact")
        statistics = statistics_of([postings], query)
        [found] = search(postings, query, k, Dot(), statistics, plan=plan)
    assert found.ids.tolist() == [2900, *range(k - 1)]
    if WAYS[-1] == "kernels":
        assert postings.order is not None
        assert postings.order.tolist() != list(range(3000))


def test_few_eligible_rows_are_looked_up_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where few rows of many are eligible, lists are not read; the ranking is the same."""
    looked_up: list[int] = []
    sums = traversal.row_sums

    def counted(*arguments: Any) -> Any:
        looked_up.append(len(arguments[3]))
        return sums(*arguments)

    monkeypatch.setattr(traversal, "row_sums", counted)
    postings = opened([{"a": float(i % 9 + 1)} for i in range(1000)], "impact")
    vectors = TermVectors.of([{"a": 1.0}])
    statistics = statistics_of([postings], vectors)
    for rows, expected in (([5, 8, 17], [3]), (range(900), [3])):
        eligible = np.zeros(1000, np.bool_)
        eligible[list(rows)] = True
        [found] = search(postings, vectors, 2, Dot(), statistics, eligible=eligible)
        assert found.ids.tolist() == [8, 17]
        assert looked_up == expected


@settings(deadline=None)
@given(CASES, QUERIES, st.integers(1, 19))
def test_scores_do_not_depend_on_segments(case: Any, queries: list[Row], cut: int) -> None:
    rows, kind, similarity = case
    whole = opened(rows, kind)
    parts = [opened(part, kind) for part in (rows[:cut], rows[cut:]) if part]
    for query in map(TermVectors.of, ([query] for query in queries)):
        statistics = statistics_of(parts, query)
        assert np.array_equal(
            statistics.document_frequency, statistics_of([whole], query).document_frequency
        )
        statistics = statistics_of([whole], query)
        scores = [score_all(part, query, similarity, statistics) for part in parts]
        expected = score_all(whole, query, similarity, statistics)
        assert np.concatenate(scores).tolist() == expected.tolist()


@settings(deadline=None)
@given(CASES, QUERIES)
def test_explanations_add_up(case: Any, queries: list[Row]) -> None:
    rows, kind, similarity = case
    postings = opened(rows, kind)
    for query in queries:
        vector = TermVectors.of([query])
        statistics = statistics_of([postings], vector)
        scores = score_all(postings, vector, similarity, statistics)
        for row, score in enumerate(scores.tolist()):
            parts = explain_row(postings, vector, similarity, statistics, row)
            assert [part.term for part in parts] == sorted(set(rows[row]) & set(query))
            total = np.float32(0)
            for part in parts:
                total += np.float32(part.contribution)
                assert part.query_weight * part.impact == pytest.approx(part.contribution)
                assert part.document_frequency == sum(part.term in other for other in rows)
            assert total == score  # bit by bit


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), max_size=400), st.integers(0, 40))
def test_top_k_breaks_ties_by_ascending_id(values: list[float], k: int) -> None:
    scores = np.array(values, np.float32)
    assert pairs_of(*top_k(scores, k)) == ranked(scores, k)


def test_ties_at_the_last_place_go_to_the_smallest_ids() -> None:
    """Ten thousand equal scores and one better: k = 3 takes the better one, then rows 0 and 1."""
    scores = np.ones(10_000, np.float32)
    scores[7000] = 2
    assert top_k(scores, 3)[0].tolist() == [7000, 0, 1]


@pytest.mark.parametrize("k", [1, 10, 300, 5000])
def test_top_k_of_many(k: int) -> None:
    scores = np.random.default_rng(k).integers(-200, 3000, 5000).astype(np.float32)
    assert pairs_of(*top_k(scores, k)) == ranked(scores, k)


@settings(deadline=None)
@given(
    case=CASES,
    queries=QUERIES,
    k=st.integers(1, 8),
    way=st.sampled_from(WAYS),
    dense_from=DENSE_FROM,
    random=st.randoms(use_true_random=False),
)
def test_owners_rank_by_their_best_row(
    *, case: Any, queries: list[Row], k: int, way: str, dense_from: int, random: Any
) -> None:
    rows, kind, similarity = case
    owners = np.cumsum([0] + [random.random() < 0.5 for _ in rows[1:]]).astype(np.uint32)
    eligible = np.array([random.random() < 0.7 for _ in rows], np.bool_)
    with computed_by(way, dense_from):
        assert_all_plans_rank_like_the_oracle(
            opened(rows, kind),
            TermVectors.of(queries),
            k,
            similarity,
            eligible=eligible,
            owners=owners,
        )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("plan", PLANS)
def test_nothing_matches(way: str, plan: Plan) -> None:
    with computed_by(way, 1):
        postings = opened([{"a": 1.0}, {}], "count")
        for query in ({}, {"x": 1.0}, {"a": 0.0}):
            vectors = TermVectors.of([query])
            statistics = statistics_of([postings], vectors)
            [found] = search(postings, vectors, 5, BM25(), statistics, plan=plan)
            assert found.ids.tolist() == []
            assert explain_row(postings, vectors, BM25(), statistics, 0) == []
        empty = opened([], "count")
        vectors = TermVectors.of([{"a": 1.0}])
        statistics = Statistics(np.zeros(1, np.int64), 0, 0.0)
        nothing = np.empty(0, np.uint32)
        for owners in (None, nothing):
            [found] = search(empty, vectors, 5, BM25(), statistics, owners=owners, plan=plan)
            assert found.ids.tolist() == []
        assert len(score_all(empty, vectors, BM25(), statistics)) == 0
        assert search(postings, vectors.select(0, 0), 5, BM25(), statistics, plan=plan) == []


def test_impacts_have_no_bm25() -> None:
    postings = opened([{"a": 1.0}], "impact")
    vectors = TermVectors.of([{"a": 1.0}])
    with pytest.raises(ValueError, match="field holds impacts"):
        search(postings, vectors, 1, BM25(), statistics_of([postings], vectors))


@needs_kernels
@pytest.mark.parametrize("weight", [1e-38, 1e-36, 1e-30, 1e30, 1e36])
def test_bounds_do_not_lose_rows_to_extreme_query_weights(weight: float) -> None:
    with computed_by("kernels", 1):
        postings = opened([{"a": i // 200 + 1.0, "b": 1.0} for i in range(10_000)], "impact")
        vectors = TermVectors.of([{"a": weight, "b": weight / 3}])
        assert_all_plans_rank_like_the_oracle(postings, vectors, 5, Dot())


@needs_kernels
@pytest.mark.parametrize("n_terms", [1900, 6000])
def test_bounds_do_not_overflow_with_many_terms(
    n_terms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row holds all terms; bounds are rounded up by a unit a term."""
    monkeypatch.setattr(inversion, "DENSE_SHARE", {"f": 10**6, "u": 10**6})
    whole = {f"t{i}": 255.0 for i in range(n_terms)}
    half = {f"t{i}": 255.0 for i in range(n_terms // 2)}
    rows = [{f"t{i % n_terms}": 255.0} for i in range(8000)]
    with computed_by("kernels", 1):
        postings = opened([half, *rows, whole], "count")
        assert len(postings.arrays["dense"]) == n_terms
        query = TermVectors.of([dict.fromkeys(whole, 1.0)])
        statistics = statistics_of([postings], query)
        [found] = search(postings, query, 1, Dot(), statistics, plan="bounded")
    assert pairs_of(found.ids, found.scores) == [(8001, 255 * n_terms)]


def test_equals_scipy() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    rng = np.random.default_rng(3)
    documents, queries = (
        sparse.random_array((n, 60), density=0.1, format="csr", dtype=np.float32, rng=rng)
        for n in (300, 40)
    )
    terms = [f"t{i:02}" for i in range(60)]
    rows, vectors = (
        TermVectors(terms, m.indptr.astype(np.int64), m.indices.astype(np.int32), m.data)
        for m in (documents, queries)
    )
    postings = Postings(built_from(rows, "impact"))
    halves = documents.copy()
    halves.data = documents.data.astype(np.float16).astype(np.float32)
    statistics = statistics_of([postings], vectors)
    expected = (queries @ halves.T).toarray()
    for i in range(len(vectors)):
        scores = score_all(postings, vectors.select(i, i + 1), Dot(), statistics)
        assert scores == pytest.approx(expected[i], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(("k1", "b"), [(0.9, 0.4), (1.2, 0.75), (1.5, 0.0), (2.0, 1.0)])
def test_equals_bm25s(k1: float, b: float) -> None:
    bm25s = pytest.importorskip("bm25s")
    rng = np.random.default_rng(4)
    words = [f"w{i}" for i in range(50)]
    texts = [
        [words[int(i)] for i in rng.zipf(1.4, rng.integers(1, 40)) if i < 50] or ["w49"]
        for _ in range(200)
    ]
    peer = bm25s.BM25(method="lucene", k1=k1, b=b)
    peer.index(texts, show_progress=False)
    postings = opened([{word: float(text.count(word)) for word in text} for text in texts], "count")
    for text in texts[:50]:
        query = TermVectors.of([{word: float(text[:6].count(word)) for word in text[:6]}])
        scores = score_all(postings, query, BM25(k1, b), statistics_of([postings], query))
        assert scores == pytest.approx(peer.get_scores(text[:6]), rel=1e-4, abs=1e-6)


def test_searching_loads_numpy_only(tmp_path: Path) -> None:
    builder = PostingsBuilder("impact")
    builder.add(TermVectors.of([{"a": 1.0}, {"b": 2.0}]))
    with open(tmp_path / "sparse", "wb") as file:
        write_arrays(file, builder.build())
    script = """
import sys
from pathlib import Path
import numpy as np
from indexes.arrays import map_arrays
from indexes.postings import Postings
from indexes.similarity import Dot, Statistics
from indexes.traversal import search
from indexes.types import TermVectors
from indexes.vectors import Vectors
postings = Postings(map_arrays(Path(sys.argv[1])))
query = TermVectors.of([{"b": 1.0}])
found = search(postings, query, 1, Dot(idf=1.0), Statistics(np.array([1]), 2, 1.0))
vectors = Vectors({"vectors": np.ones((2, 3), np.float32)})
vectors.search(np.ones((1, 3), np.float32), 1)
print(found[0].ids.tolist(), {"scipy", "faiss", "numba", "torch", "sqlite_utils"} & {*sys.modules})
"""
    command = [sys.executable, "-c", script, str(tmp_path / "sparse")]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout == "[1] set()\n"
