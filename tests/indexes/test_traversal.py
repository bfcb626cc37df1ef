"""Top-k over posting lists against brute force, scipy and bm25s."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from indexes import traversal
from indexes.arrays import write_arrays
from indexes.builder import PostingsBuilder
from indexes.errors import Damaged
from indexes.inversion import Kind, decode, encode
from indexes.postings import Postings
from indexes.similarity import BM25, Dot, IdfDot, Similarity, Statistics
from indexes.traversal import compact, explain_row, score_all, score_rows, search, top_k
from indexes.types import TermVectors

Row = dict[str, float]

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
    st.tuples(COUNT_ROWS, st.just("count"), st.sampled_from([BM25(), BM25(k1=1.5, b=1.0)])),
    st.tuples(IMPACT_ROWS, st.just("impact"), st.sampled_from([Dot(), IdfDot()])),
)
QUERIES = st.lists(
    st.dictionaries(st.sampled_from([*WORDS, "unknown"]), WEIGHTS, max_size=6),
    min_size=1,
    max_size=6,
)


def opened(rows: Sequence[Row], kind: Kind) -> Postings:
    builder = PostingsBuilder(kind)
    builder.add(TermVectors.of(rows))
    return Postings(builder.build())


def statistics_of(segments: Sequence[Postings], queries: TermVectors) -> Statistics:
    frequencies = [
        segment.document_frequency(segment.term_ids(queries.terms)) for segment in segments
    ]
    n = sum(segment.n_rows for segment in segments)
    total = sum(float(segment.lengths.sum(dtype=np.float64)) for segment in segments)
    return Statistics(np.sum(frequencies, axis=0).astype(np.int64), n, total / n)


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
                case IdfDot():
                    score += query_weight * idf * row[term]
                case Dot():
                    score += query_weight * row[term]
        scores.append(float(score))
    return scores


def ranked(scores: NDArray[np.float32], k: int) -> list[tuple[int, float]]:
    """The oracle's ranking: sort everything."""
    pairs = [(i, score) for i, score in enumerate(scores.tolist()) if score > 0]
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:k]


def pairs_of(ids: NDArray[np.int64], scores: NDArray[np.float32]) -> list[tuple[int, float]]:
    return list(zip(ids.tolist(), scores.tolist(), strict=True))


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
@given(CASES, QUERIES, st.integers(1, 25), st.integers(1, 200))
def test_every_way_to_a_score_gives_the_same_bits(
    case: Any, queries: list[Row], k: int, at_once: int
) -> None:
    rows, kind, similarity = case
    postings = opened(rows, kind)
    vectors = TermVectors.of(queries)
    statistics = statistics_of([postings], vectors)
    everyone = np.arange(postings.n_rows)
    rankings = search(postings, vectors, k, similarity, statistics)
    short = compact(vectors)
    again = search(postings, short, k, similarity, statistics_of([postings], short))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(traversal, "POSTINGS_AT_ONCE", at_once)
        in_pieces = search(postings, vectors, k, similarity, statistics)
    for i, ranking in enumerate(rankings):
        query = vectors.select(i, i + 1)
        scores = score_all(postings, query, similarity, statistics)
        found = pairs_of(ranking.ids, ranking.scores)
        assert found == ranked(scores, k)
        assert found == pairs_of(again[i].ids, again[i].scores)
        assert found == pairs_of(in_pieces[i].ids, in_pieces[i].scores)
        by_row = score_rows(postings, query, similarity, statistics, everyone[::-1])
        assert by_row.tolist() == scores[::-1].tolist()


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
@given(
    st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), max_size=400),
    st.integers(0, 40),
    st.randoms(use_true_random=False),
)
def test_top_k_breaks_ties_by_ascending_id(values: list[float], k: int, random: Any) -> None:
    scores = np.array(values, np.float32)
    assert pairs_of(*top_k(scores, k)) == ranked(scores, k)
    eligible = np.array([random.random() < 0.5 for _ in values], np.bool_)
    assert pairs_of(*top_k(scores, k, eligible)) == ranked(np.where(eligible, scores, 0), k)


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
@given(CASES, QUERIES, st.integers(1, 8), st.randoms(use_true_random=False))
def test_groups_rank_by_their_best_row(case: Any, queries: list[Row], k: int, random: Any) -> None:
    rows, kind, similarity = case
    postings = opened(rows, kind)
    starts = [0] + [i for i in range(1, len(rows)) if random.random() < 0.5]
    eligible = np.array([random.random() < 0.7 for _ in starts], np.bool_)
    vectors = TermVectors.of(queries)
    statistics = statistics_of([postings], vectors)
    groups = np.array(starts)
    found = search(postings, vectors, k, similarity, statistics, eligible=eligible, groups=groups)
    for i, ranking in enumerate(found):
        scores = score_all(postings, vectors.select(i, i + 1), similarity, statistics)
        best = [part.max() for part in np.split(scores, starts[1:])]
        expected = ranked(np.where(eligible, np.array(best, np.float32), 0), k)
        assert pairs_of(ranking.ids, ranking.scores) == expected


def test_nothing_matches() -> None:
    postings = opened([{"a": 1.0}, {}], "count")
    for query in ({}, {"x": 1.0}, {"a": 0.0}):
        vectors = TermVectors.of([query])
        statistics = statistics_of([postings], vectors)
        assert search(postings, vectors, 5, BM25(), statistics)[0].ids.tolist() == []
        assert explain_row(postings, vectors, BM25(), statistics, 0) == []
    empty = opened([], "count")
    vectors = TermVectors.of([{"a": 1.0}])
    statistics = Statistics(np.zeros(1, np.int64), 0, 0.0)
    nothing = np.empty(0, np.int64)
    assert search(empty, vectors, 5, BM25(), statistics, groups=nothing)[0].ids.tolist() == []
    assert len(score_all(empty, vectors, BM25(), statistics)) == 0


def test_compact_drops_and_sorts_columns() -> None:
    vectors = TermVectors.of([{"z": 1.0, "unused": 0.0, "ä": 2.0}, {"b": 3.0}]).select(0, 1)
    small = compact(vectors)
    assert small.terms == ["unused", "z", "ä"]
    assert small.row(0) == vectors.row(0)
    assert compact(TermVectors.of([{}])).terms == []


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
    builder = PostingsBuilder("impact")
    builder.add(rows)
    postings = Postings(builder.build())
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
from indexes.similarity import IdfDot, Statistics
from indexes.traversal import search
from indexes.types import TermVectors
from indexes.vectors import Vectors
postings = Postings(map_arrays(Path(sys.argv[1])))
query = TermVectors.of([{"b": 1.0}])
found = search(postings, query, 1, IdfDot(), Statistics(np.array([1]), 2, 1.0))
vectors = Vectors({"vectors": np.ones((2, 3), np.float32)})
vectors.search(np.ones((1, 3), np.float32), 1)
print(found[0].ids.tolist(), {"scipy", "faiss", "numba", "torch", "sqlite_utils"} & {*sys.modules})
"""
    command = [sys.executable, "-c", script, str(tmp_path / "sparse")]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout == "[1] set()\n"


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_garbled_postings_are_damage_or_harmless(data: st.DataObject) -> None:
    builder = PostingsBuilder("count")
    builder.add(TermVectors.of([{"a": 1.0, "b": 2.0}, {"b": 1.0, "c": 1.0}, {"a": 3.0}]))
    arrays = builder.build()
    name = data.draw(st.sampled_from(sorted(arrays)))
    garbled = arrays[name].copy()
    raw = garbled.view(np.uint8)
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    query = TermVectors.of([{"a": 1.0, "b": 1.0, "c": 1.0}])
    statistics = Statistics(np.array([2, 2, 1]), 3, 2.0)
    message = "bm25"
    try:
        with np.errstate(all="ignore"):
            postings = Postings({**arrays, name: garbled}, "bm25")
            search(postings, query, 2, BM25(), statistics)
            score_rows(postings, query, BM25(), statistics, np.arange(3))
            explain_row(postings, query, BM25(), statistics, 1)
    except Damaged as error:
        message = str(error)
    assert "bm25" in message
