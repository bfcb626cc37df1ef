"""What a fusion computes for each query: C, numpy and the plain definitions agree."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchlib import fusing
from searchlib.adaptive import Trust
from searchlib.fusing import Given, best, fused, united
from searchlib.methods import OpinionPool
from searchlib.pool import Pool

needs_c = pytest.mark.skipif(fusing._fusion is None, reason="the C extension was not built")
PATHS = [pytest.param(True, marks=needs_c, id="c"), pytest.param(False, id="numpy")]
SCORES = st.floats(-100, 100, width=32)
FULL = st.just(()) | st.tuples(*[st.none() | st.floats(0, 100)] * 3)
IDS = st.lists(st.integers(-(2**62), 2**62) | st.integers(0, 9), max_size=12)


@pytest.fixture
def by(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Chooses C or numpy."""

    def choose(compiled: bool) -> None:
        if not compiled:
            monkeypatch.setattr(fusing, "_fusion", None)

    return choose


def tables(parts: int = 3) -> st.SearchStrategy[list[list[float]]]:
    """Scores of up to 20 candidates, a row a part."""
    return st.integers(0, 20).flatmap(
        lambda m: st.lists(
            st.lists(SCORES | st.just(0.0), min_size=m, max_size=m),
            min_size=parts, max_size=parts,
        )
    )  # fmt: skip


def plainly_fused(of: Pool, scores: list[float], rate: float, weights: Any, trust: Trust) -> float:
    """One candidate's fused score, from the definitions and one number at a time."""
    pool = of.scores.astype(float).tolist()
    z, evenness = [], []
    for row in pool:
        mean = sum(row) / len(row)
        width = math.sqrt(sum((s - mean) ** 2 for s in row) / len(row))
        z.append([(s - mean) / width if width > 1e-9 else 0.0 for s in row])
        shares = [math.exp(value) / sum(map(math.exp, z[-1])) for value in z[-1]]
        entropy = -sum(share * math.log(share) for share in shares if share > 0)
        evenness.append(entropy / math.log(len(row)) if len(row) > 1 else 1.0)
    total = 0.0
    for i, row in enumerate(pool):
        full = of.full[i] if of.full else None
        covered = 1.0 if full is None else min(1.0, max(0.0, *row) / full) if full else 0.0
        weight = weights[i] * math.exp(
            trust.sharpness * covered * (sum(evenness) / len(pool) - evenness[i])
            - trust.matchless * (1 - covered) * row.count(0.0) / len(row)
        )
        guide = trust.guides[i]
        if guide is not None:
            r = sum(a * b for a, b in zip(z[i], z[guide], strict=True)) / len(row)
            weight *= math.exp(trust.agreement * r)
        mean = sum(row) / len(row)
        width = math.sqrt(sum((s - mean) ** 2 for s in row) / len(row))
        standard = (scores[i] - mean) / width if width > 1e-9 else 0.0
        even = sum(math.exp(rate * value) for value in z[i]) / len(row)
        total += weight * math.exp(rate * standard) / even
    return total


@pytest.mark.parametrize("compiled", PATHS)
@pytest.mark.parametrize("full", [(), (None, None, None), (9.0, None, 0.0), (1.0, 5.0, None)])
def test_fused_scores_are_those_of_the_definition(by: Any, compiled: bool, full: Any) -> None:
    by(compiled)
    random = np.random.default_rng(5)
    trust = Trust((2, 2, None))
    weights = [0.45, 0.2, 1.0]
    for size in (1, 2, 7, 150):
        pool = random.normal(3, 2, (3, size)).astype(np.float32)
        pool[0, random.random(size) < 0.4] = 0  # no shared word
        pool[1] *= size != 7  # tells nothing apart
        scores = random.normal(3, 2, (3, 4)).astype(np.float32)
        found = fused(OpinionPool(0.4), weights, trust, Pool(pool, full), scores)
        for candidate, value in zip(scores.T.astype(float).tolist(), found, strict=True):
            expected = plainly_fused(Pool(pool, full), candidate, 0.4, weights, trust)
            assert value == pytest.approx(expected, rel=1e-6)


@needs_c
@given(tables(), tables(), FULL, st.booleans(), st.floats(0.05, 2))
@settings(deadline=None)
def test_c_and_numpy_fuse_alike(
    pool: list[list[float]], scores: list[list[float]], full: Any, trusting: bool, rate: float
) -> None:
    of_pool = Pool(np.array(pool, np.float32).reshape(3, -1), full)
    complete = np.array(scores, np.float32).reshape(3, -1)
    if any(float(np.ptp(row)) < 1e-3 for row in of_pool.scores if len(row)):
        complete = of_pool.scores  # far from a narrow pool, exponentials overflow
    trust = Trust((2, None, 0)) if trusting else None
    method, weights = OpinionPool(rate), (0.5, 0.0, 2.0)
    compiled = fused(method, weights, trust, of_pool, complete)
    with pytest.MonkeyPatch.context() as patch, np.errstate(over="ignore"):
        patch.setattr(fusing, "_fusion", None)
        plain = fused(method, weights, trust, of_pool, complete)
    np.testing.assert_allclose(compiled, plain, rtol=1e-6)


@pytest.mark.parametrize("compiled", PATHS)
@given(some=st.lists(st.tuples(st.integers(0, 2), IDS), min_size=1, max_size=6))
@settings(deadline=None)
def test_ids_are_united_and_what_is_missing_named(
    compiled: bool, some: list[tuple[int, list[int]]]
) -> None:
    def score(part: int, id: int) -> float:
        return float(id % 1009 + part)

    given_ = [
        Given(part, np.array(ids, np.int64), np.array([score(part, i) for i in ids], np.float32))
        for part, ids in some
    ]
    with pytest.MonkeyPatch.context() as patch:
        if not compiled:
            patch.setattr(fusing, "_fusion", None)
        ids, scores, missing = united(given_, 3)
    assert ids.tolist() == sorted({id for _, found in some for id in found})
    for part in range(3):
        own = {id for of, found in some if of == part for id in found}
        assert [ids[i] for i in missing[part]] == [id for id in ids.tolist() if id not in own]
        assert all(
            scores[part, i] == score(part, id) for i, id in enumerate(ids.tolist()) if id in own
        )


@pytest.mark.parametrize("compiled", PATHS)
@given(values=st.lists(st.floats(width=32, allow_nan=False), max_size=40), k=st.integers(0, 50))
@settings(deadline=None)
def test_the_best_come_first_and_ties_in_order(compiled: bool, values: list[float], k: int) -> None:
    ids = np.arange(len(values), dtype=np.int64) * 3
    scores = np.array(values, np.float32)
    with pytest.MonkeyPatch.context() as patch:
        if not compiled:
            patch.setattr(fusing, "_fusion", None)
        top = best(ids, scores, k)
    order = sorted(range(len(values)), key=lambda i: (-scores[i], i))[:k]
    assert top.ids.tolist() == [3 * i for i in order]
    assert top.scores.tolist() == [scores[i] for i in order]


@needs_c
def test_c_refuses_arrays_that_do_not_fit() -> None:
    kernel: Any = fusing._fusion
    ids, floats, doubles = (np.zeros(4, kind) for kind in (np.int64, np.float32, np.float64))
    one = (0, ids, floats)
    for item in [(3, ids, floats), (-1, ids, floats), (0, ids[:3], floats)]:
        with pytest.raises(ValueError, match="do not fit"):
            kernel.complete([one, item], np.zeros(99, np.int64), *(np.zeros(99),) * 2, ids[:3])
    with pytest.raises(ValueError, match="do not fit"):
        kernel.complete([one], ids[:3], floats, ids, ids[:1])
    for wrong in ["ids", (0, ids), (0, "text", floats), None]:
        with pytest.raises(TypeError):
            kernel.complete([one, wrong], ids, floats, ids, ids[:1])
    good = [floats, floats, doubles[:2], 0.4, ids[:2], doubles[:3], doubles[:2], floats[:2]]
    kernel.fuse(*good)
    for place, wrong in [
        (0, floats[:3]), (1, floats[:3]), (2, doubles[:0]), (4, ids[:1]), (4, ids[:2] + 2),
        (5, doubles[:2]), (5, None), (6, doubles[:1]), (6, None), (7, floats),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match="do not fit"):
            kernel.fuse(*good[:place], wrong, *good[place + 1 :])
    for sizes in [(3, 4, 2, 2), (4, 4, 3, 2), (2, 2, 3, 3)]:
        a, b, c, d = sizes
        with pytest.raises(ValueError, match="do not fit"):
            kernel.best(ids[:a], floats[:b], ids[:c], floats[:d])
