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
from indexes.pq import Codes, build_codes, kernel
from indexes.readback import vector_rows
from indexes.types import TopK
from indexes.vectors import Vectors, candidates_for, uses_codes, wants_codes

Float32s = NDArray[np.float32]


def unit_vectors(n: int, dim: int = 16, seed: int = 0) -> Float32s:
    """Vectors in a few clusters, so that there is something to find."""
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
            alone = Vectors({"vectors": rows}).search(
                query[None], k, eligible=allowed, groups=groups
            )
            assert pairs_of(alone[0]) == expected


def test_sizes_that_disagree_are_refused() -> None:
    scan = kernel()
    if scan is None:
        pytest.skip("the C extension was not built")
    data, query = np.zeros((3, 4), np.float32), np.zeros(4, np.float32)
    rows, scores = np.zeros(2, np.int64), np.zeros(2, np.float32)
    assert scan.scan(data, query, None, rows, scores) == 2
    for wrong in (
        (data, np.zeros(5, np.float32), None, rows, scores),
        (data, query, np.ones(2, np.bool_), rows, scores),
        (data, query, None, rows[:1].copy(), scores),
        (data, query, None, rows[:0].copy(), scores[:0].copy()),
    ):
        with pytest.raises(ValueError, match="do not fit"):
            scan.scan(*wrong)


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


def test_auto_makes_codes_for_large_segments() -> None:
    assert [wants_codes(kind, 10) for kind in ("exact", "pq", "auto")] == [False, True, False]
    assert wants_codes("auto", module.CODED_ROWS)
    assert [uses_codes(kind, module.AUTO_ROWS) for kind in ("exact", "pq", "auto")] == [
        False, True, True,
    ]  # fmt: skip
    assert [uses_codes(kind, module.AUTO_ROWS - 1) for kind in ("exact", "pq", "auto")] == [
        False, True, False,
    ]  # fmt: skip
    assert not wants_codes("exact", 10**6)
    assert not wants_codes("pq", 0)


def test_candidates_grow_with_what_is_wanted_and_with_the_rows() -> None:
    """The documented numbers: 280 of 100,000 rows for 10 results."""
    assert candidates_for(10, 5000) == candidates_for(10, 25_000) == 140
    assert candidates_for(10, 100_000) == 280
    assert candidates_for(100, 100_000) == 1000
    assert candidates_for(10, 400_000) == 560


@pytest.fixture(scope="module")
def codes() -> dict[str, NDArray[Any]]:
    return build_codes(unit_vectors(3000))


def opened(
    rows: Float32s, arrays: dict[str, NDArray[Any]] | None = None, name: str = "dense"
) -> Vectors:
    """Vectors with their codes, made unless given."""
    codes = Codes(build_codes(rows) if arrays is None else arrays, *rows.shape, name)
    return Vectors({"vectors": rows}, codes, name)


needs_kernel = pytest.mark.skipif(kernel() is None, reason="built without a compiler")


@needs_kernel
def test_codes_find_nearly_all_with_exact_scores(codes: dict[str, NDArray[Any]]) -> None:
    vectors = opened(unit_vectors(3000), codes)
    vectors.check()
    queries = unit_vectors(50, seed=3)
    exact = vectors.search(queries, 10, kind="exact")
    recalls = [overlap(exact, vectors.search(queries, 10, candidates=n)) for n in (10, 30, 200)]
    assert recalls == sorted(recalls)
    assert recalls[0] < 1 <= recalls[2] + 0.01
    found = vectors.search(queries, 10, candidates=200)
    for query, ranking in zip(queries, found, strict=True):
        assert vectors.scores(query, ranking.ids).tolist() == ranking.scores.tolist()
        assert pairs_of(vectors.search(query[None], 10, candidates=200)[0]) == pairs_of(ranking)


@needs_kernel
def test_threads_share_a_batch(
    codes: dict[str, NDArray[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = opened(unit_vectors(3000), codes)
    queries = unit_vectors(100, seed=8)
    answers = []
    for threads in (1, 3, 200):
        monkeypatch.setattr(module, "cores", lambda threads=threads: threads)
        answers.append([pairs_of(r) for r in vectors.search(queries, 5, candidates=50)])
    assert answers[1:] == answers[:1] * 2


@needs_kernel
def test_codes_with_filter_and_groups(codes: dict[str, NDArray[Any]]) -> None:
    rows = unit_vectors(3000)
    vectors = opened(rows, codes)
    queries = unit_vectors(30, seed=4)
    rng = np.random.default_rng(0)
    groups = np.flatnonzero(np.append(True, rng.random(2999) < 0.4))
    for n, starts in ((3000, None), (len(groups), groups)):
        for eligible in (rng.random(n) < 0.5, None):
            exact = vectors.search(queries, 10, eligible=eligible, groups=starts, kind="exact")
            found = vectors.search(queries, 10, eligible=eligible, groups=starts, candidates=200)
            assert overlap(found, exact) > 0.98
            assert all(len(ranking.ids) == 10 for ranking in found)
            for query, ranking in zip(queries, found, strict=True):
                if eligible is not None:
                    assert eligible[ranking.ids].all()
                if starts is not None:
                    best = np.maximum.reduceat(vectors.scores(query, np.arange(3000)), starts)
                    assert best[ranking.ids].tolist() == ranking.scores.tolist()


@needs_kernel
def test_one_group_with_every_candidate(codes: dict[str, NDArray[Any]]) -> None:
    """The best 20 rows all belong to the first group, so the codes find no second one."""
    rows = unit_vectors(3000)
    query = rows[0]
    rows = rows[np.argsort(-(rows @ query), kind="stable")]
    groups = np.array([0, 1000, 2000])
    vectors = opened(rows)
    found = vectors.search(query[None], 3, groups=groups, candidates=20)[0]
    assert found.ids.tolist() == [0, 1, 2]
    assert pairs_of(found) == pairs_of(
        vectors.search(query[None], 3, groups=groups, kind="exact")[0]
    )


def test_codes_give_way_to_exact_products(codes: dict[str, NDArray[Any]]) -> None:
    """Few eligible rows, or many wanted: the results are the exact ones."""
    vectors = opened(unit_vectors(3000), codes)
    query = unit_vectors(1, seed=5)
    few = np.zeros(3000, np.bool_)
    few[[5, 17, 2999]] = True
    found = vectors.search(query, 10, eligible=few)[0]
    assert sorted(found.ids.tolist()) == [5, 17, 2999]
    assert pairs_of(found) == pairs_of(
        Vectors({"vectors": unit_vectors(3000)}).search(query, 10, eligible=few)[0]
    )
    assert len(vectors.search(query, 3000)[0].ids) == 3000
    assert vectors.search(query[:0], 10) == []


def test_without_a_compiler_search_is_exact(
    codes: dict[str, NDArray[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, queries = unit_vectors(3000), unit_vectors(5, seed=6)
    compiled = opened(rows, codes).search(queries, 7, kind="exact")
    monkeypatch.setattr(module, "kernel", lambda: None)
    vectors = opened(rows, codes)
    plain = vectors.search(queries, 7, candidates=7)
    assert [r.ids.tolist() for r in plain] == [r.ids.tolist() for r in compiled]
    for query, ranking in zip(queries, plain, strict=True):
        assert vectors.scores(query, ranking.ids).tolist() == ranking.scores.tolist()


@pytest.mark.parametrize("n", [1, 2, 70, 129])
def test_codes_of_few_rows(n: int) -> None:
    rows = unit_vectors(n)
    vectors = opened(rows)
    vectors.check()
    assert vectors.search(rows[:1], 1, candidates=1)[0].ids.tolist() == [0]


def test_codes_that_do_not_fit_are_damage(codes: dict[str, NDArray[Any]]) -> None:
    rows = unit_vectors(3000)
    broken = [{k: v for k, v in codes.items() if k != name} for name in codes]
    broken += [{**codes, name: codes[name][:1]} for name in codes]
    broken += [{**codes, name: codes[name].astype(np.int64)} for name in codes]
    broken.append({**codes, "codes": codes["codes"][:-1]})
    for arrays in broken:
        with pytest.raises(Damaged, match="dense: "):
            opened(rows, arrays)
    with pytest.raises(Damaged, match="dense: the codes do not fit"):
        opened(rows[:-128], codes)
    centroids = codes["centroids"].copy()
    centroids[0, 0, 0] = np.nan
    vectors = opened(rows, {**codes, "centroids": centroids})
    with pytest.raises(Damaged, match="dense: the codes' centroids"):
        vectors.check()
    assert len(vectors.search(rows[:3], 5, candidates=50)[2].ids) == 5


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("value", [1e37, -1e37, 1e25, np.inf, -np.inf, np.nan])
def test_a_damaged_vector_is_refused_not_believed(
    value: float, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a flipped bit of an exponent leaves it."""
    rows = unit_vectors(50)
    query = np.ones(16, np.float32)
    sound = Vectors({"vectors": rows.copy()}).search(query[None], 3)
    rows[7, 3] = value
    if not native:
        monkeypatch.setattr(module, "kernel", lambda: None)
    damaged = Vectors({"vectors": rows}, name="s1.dense")
    with pytest.raises(Damaged, match=r"s1\.dense: a vector holds"):
        damaged.scores(query, np.array([1, 7]))
    with pytest.raises(Damaged, match=r"s1\.dense: a vector holds"):
        damaged.search(unit_vectors(2), 3)
    with pytest.raises(Damaged, match=r"s1\.dense: a vector holds"):
        vector_rows(damaged, np.array([7, 1]))
    assert len(vector_rows(damaged, np.array([6, 1]))) == 2
    if value > 0:
        with pytest.raises(Damaged, match=r"s1\.dense: a vector holds"):
            damaged.search(query[None], 50)
    elif native:  # it is not among the best, so nobody reads more of it
        assert pairs_of(damaged.search(query[None], 3)[0]) == pairs_of(sound[0])
