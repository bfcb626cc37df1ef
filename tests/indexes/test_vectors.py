"""Dense search against brute force in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from indexes import vectors as module
from indexes.errors import Damaged
from indexes.types import TopK
from indexes.vectors import Vectors, build_hnsw, wants_graph

Float32s = NDArray[np.float32]


def unit_vectors(n: int, dim: int = 16, seed: int = 0) -> Float32s:
    """Vectors in a few clusters, so that a graph has something to find."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((8, dim))
    data = centres[rng.integers(0, 8, n)] + rng.standard_normal((n, dim))
    return (data / np.linalg.norm(data, axis=1, keepdims=True)).astype(np.float32)


def pairs_of(ranking: TopK) -> list[tuple[int, float]]:
    return list(zip(ranking.ids.tolist(), ranking.scores.tolist(), strict=True))


def ranked(scores: list[float], k: int) -> list[tuple[int, float]]:
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    return [(i, scores[i]) for i in order[:k]]


def overlap(found: list[TopK], exact: list[TopK]) -> float:
    shares = [np.isin(a.ids, b.ids).mean() for a, b in zip(found, exact, strict=True)]
    return float(np.mean(shares))


INTEGERS = st.integers(-3, 3)


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 4), st.integers(0, 50), st.data())
def test_exact_search_equals_sorting_everything(
    n: int, dim: int, k: int, data: st.DataObject
) -> None:
    """Small integers: every product is exact, and ties abound."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    rows = rng.integers(-2, 3, (n, dim)).astype(np.float32)
    queries = rng.integers(-2, 3, (3, dim)).astype(np.float32)
    eligible = rng.random(n) < 0.7 if data.draw(st.booleans()) else None
    starts = np.flatnonzero(np.append(True, rng.random(n - 1) < 0.5))
    for groups in (None, starts):
        allowed = eligible if groups is None or eligible is None else eligible[: len(starts)]
        found = Vectors({"vectors": rows}).search(queries, k, eligible=allowed, groups=groups)
        for query, ranking in zip(queries, found, strict=True):
            best = rows @ query if groups is None else np.maximum.reduceat(rows @ query, groups)
            if allowed is not None:
                best = np.where(allowed, best, -np.inf)
            expected = [pair for pair in ranked(best.tolist(), k) if pair[1] > -np.inf]
            assert pairs_of(ranking) == expected


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 300), st.integers(1, 30), st.integers(0, 1000))
def test_scores_depend_on_query_and_row_only(n: int, k: int, seed: int) -> None:
    rows = unit_vectors(n, dim=33, seed=seed)
    queries = unit_vectors(5, dim=33, seed=seed + 1)
    whole = Vectors({"vectors": rows})
    cut = n // 2
    for query, ranking in zip(queries, whole.search(queries, k), strict=True):
        assert pairs_of(whole.search(query[None], k)[0]) == pairs_of(ranking)
        assert whole.scores(query, ranking.ids).tolist() == ranking.scores.tolist()
        assert [
            whole.scores(query, ranking.ids[i : i + 1])[0] for i in range(len(ranking.ids))
        ] == (ranking.scores.tolist())
        parts = []
        for base, part in ((0, rows[:cut]), (cut, rows[cut:])):
            for id, score in pairs_of(Vectors({"vectors": part}).search(query[None], k)[0]):
                parts.append((id + base, score))
        assert sorted(parts, key=lambda pair: (-pair[1], pair[0]))[:k] == pairs_of(ranking)
        exact = rows[ranking.ids].astype(np.float64) @ query.astype(np.float64)
        assert ranking.scores == pytest.approx(exact, abs=1e-6)


def test_equal_rows_rank_by_ascending_id() -> None:
    rows = np.tile(unit_vectors(1), (500, 1))
    ranking = Vectors({"vectors": rows}).search(rows[:1], 5)[0]
    assert ranking.ids.tolist() == [0, 1, 2, 3, 4]


def test_blocks_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, queries = unit_vectors(200), unit_vectors(7, seed=9)
    before = Vectors({"vectors": rows}).search(queries, 9)
    monkeypatch.setattr(module, "SCORES_AT_ONCE", 500)
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 3)
    after = Vectors({"vectors": rows}).search(queries, 9)
    assert list(map(pairs_of, after)) == list(map(pairs_of, before))


def test_vectors_need_not_have_length_one() -> None:
    rng = np.random.default_rng(5)
    rows = (rng.standard_normal((400, 24)) * 1000).astype(np.float32)
    rows[::2] = rows[0]  # ties
    vectors = Vectors({"vectors": rows})
    query = rows[1]
    scores = vectors.scores(query, np.arange(400)).tolist()
    assert pairs_of(vectors.search(query[None], 30)[0]) == ranked(scores, 30)


def test_empty_segment_and_bad_queries() -> None:
    empty = Vectors({"vectors": np.empty((0, 4), np.float32)})
    assert empty.search(np.ones((2, 4), np.float32), 3)[1].ids.tolist() == []
    with pytest.raises(ValueError, match=r"\(2, 3\), must be \(n, 4\)"):
        empty.search(np.ones((2, 3), np.float32), 3)
    with pytest.raises(Damaged, match="dense"):
        Vectors({}, name="dense")
    with pytest.raises(Damaged, match="dense"):
        Vectors({"vectors": np.ones(3, np.float32)}, name="dense")
    with pytest.raises(Damaged, match="dense"):
        Vectors({"vectors": np.full((2, 2), np.nan, np.float32)}, name="dense").check()


def test_auto_builds_graphs_for_large_segments() -> None:
    assert [wants_graph(kind, 10) for kind in ("exact", "hnsw", "auto")] == [False, True, False]
    assert wants_graph("auto", 100_000)
    assert not wants_graph("exact", 10**6)
    assert not wants_graph("hnsw", 0)


@pytest.fixture(scope="module")
def graph() -> dict[str, NDArray[Any]]:
    pytest.importorskip("faiss")
    return build_hnsw(unit_vectors(3000))


def test_hnsw_finds_nearly_all_with_exact_scores(graph: dict[str, NDArray[Any]]) -> None:
    rows, queries = unit_vectors(3000), unit_vectors(50, seed=3)
    vectors = Vectors({"vectors": rows}, graph)
    vectors.check()
    exact = vectors.search(queries, 10, kind="exact")
    found = vectors.search(queries, 10)
    assert overlap(found, exact) > 0.95
    for query, ranking in zip(queries, found, strict=True):
        assert vectors.scores(query, ranking.ids).tolist() == ranking.scores.tolist()


def test_hnsw_with_filter_and_groups(graph: dict[str, NDArray[Any]]) -> None:
    vectors = Vectors({"vectors": unit_vectors(3000)}, graph)
    queries = unit_vectors(30, seed=4)
    rng = np.random.default_rng(0)
    groups = np.flatnonzero(np.append(True, rng.random(2999) < 0.4))
    for n, starts in ((3000, None), (len(groups), groups)):
        eligible = rng.random(n) < 0.3
        exact = vectors.search(queries, 10, eligible=eligible, groups=starts, kind="exact")
        found = vectors.search(queries, 10, eligible=eligible, groups=starts)
        assert overlap(found, exact) > 0.95
        assert all(eligible[ranking.ids].all() for ranking in found)
        assert all(len(ranking.ids) == 10 for ranking in found)


def test_hnsw_gives_way_to_the_scan(graph: dict[str, NDArray[Any]]) -> None:
    """Few eligible rows, or many wanted: the results are the exact ones."""
    vectors = Vectors({"vectors": unit_vectors(3000)}, graph)
    query = unit_vectors(1, seed=5)
    few = np.zeros(3000, np.bool_)
    few[[5, 17, 2999]] = True
    assert sorted(vectors.search(query, 10, eligible=few)[0].ids.tolist()) == [5, 17, 2999]
    assert len(vectors.search(query, 3000)[0].ids) == 3000
    assert vectors.search(query[:0], 10) == []


@pytest.mark.parametrize("n", [1, 2, 70])
def test_hnsw_of_few_rows(n: int) -> None:
    pytest.importorskip("faiss")
    rows = unit_vectors(n)
    vectors = Vectors({"vectors": rows}, build_hnsw(rows))
    vectors.check()
    assert vectors.search(rows[:1], 1)[0].ids.tolist() == [0]


def test_garbled_graphs_are_damage(graph: dict[str, NDArray[Any]]) -> None:
    rows = unit_vectors(3000)
    high = int(np.flatnonzero(graph["levels"] > 1)[0])
    low = int(np.flatnonzero(graph["levels"] == 1)[0])
    upper = int(graph["offsets"][high]) + 2 * module.LINKS
    wrong = [
        ("neighbors", 0, 3000),
        ("neighbors", 0, -2),
        ("neighbors", upper, low),
        ("levels", 0, 7),
        ("levels", 0, 0),
        ("offsets", 1, 2**40),
        ("entry", 0, 3000),
        ("entry", 0, low),
        ("entry", 1, 5),
    ]
    for name, place, value in wrong:
        garbled = {**graph, name: graph[name].copy()}
        garbled[name][place] = value
        with pytest.raises(Damaged, match="dense: the HNSW graph"):
            Vectors({"vectors": rows}, garbled, "dense").check()
        with pytest.raises(Damaged, match="dense: the HNSW graph"):
            Vectors({"vectors": rows}, garbled, "dense").search(rows[:1], 3)
    for name in graph:
        for broken in (
            {k: v for k, v in graph.items() if k != name},
            {**graph, name: graph[name][:1]},
        ):
            with pytest.raises(Damaged, match="dense: the HNSW graph"):
                Vectors({"vectors": rows}, broken, "dense").check()
