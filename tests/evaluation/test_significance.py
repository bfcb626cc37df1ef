"""The tests against enumeration, SciPy and what they promise in the long run."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from searchlib.errors import BadQuery
from searchlib.evaluation import (
    bootstrap_interval,
    compare,
    compare_pooled,
    holm,
    randomisation_test,
)


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_exact_equals_every_pattern_counted_one_by_one(n: int) -> None:
    d = np.round(np.random.default_rng(n).normal(0.2, 1, n), 1)
    patterns = np.array(list(itertools.product((1, -1), repeat=n)))
    expected = np.mean(np.abs(patterns @ d) >= abs(d.sum()) - 1e-9)
    assert randomisation_test(d) == pytest.approx(expected)


@pytest.mark.parametrize("n", [8, 30, 301])
def test_equals_scipy(n: int) -> None:
    rng = np.random.default_rng(n)
    a, b = rng.beta(2, 2, n), rng.beta(2, 2.2, n)
    theirs = stats.permutation_test(
        (a, b),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        n_resamples=20_000,
        vectorized=True,
        rng=1,
    ).pvalue
    ours = randomisation_test((a - b) / n)
    if n == 8:
        assert ours == pytest.approx(theirs)
    else:
        assert ours == pytest.approx(theirs, abs=4 * np.sqrt(0.25 / 20_000))


def test_zero_differences_change_nothing() -> None:
    d = np.array([0.4, -0.1, 0.3, 0.2])
    assert randomisation_test(np.concatenate([d, np.zeros(500)])) == randomisation_test(d)
    assert randomisation_test(np.zeros(5)) == 1.0


def test_rounding_does_not_split_equal_sums() -> None:
    """0.1 + 0.2 != 0.3 in floats; all 2 of 4 patterns of (0.1+0.2, 0) tie with the one seen."""
    d = np.array([0.1] * 10)
    assert randomisation_test(d) == 2 / 2**10


def test_p_is_never_zero_and_does_not_depend_on_the_side() -> None:
    d = np.full(50, 0.1)
    assert randomisation_test(d, samples=999) == 1 / 1000
    e = np.random.default_rng(3).normal(0.1, 1, 60)
    assert randomisation_test(e, samples=5000, seed=2) == pytest.approx(
        randomisation_test(-e, samples=5000, seed=2)
    )


def test_seeded() -> None:
    d = np.random.default_rng(5).normal(0.1, 1, 40)
    assert randomisation_test(d, samples=500, seed=1) == randomisation_test(d, samples=500, seed=1)
    assert bootstrap_interval(d, seed=1) == bootstrap_interval(d, seed=1)
    assert bootstrap_interval(d, seed=1) != bootstrap_interval(d, seed=2)


def test_false_alarms_are_as_rare_as_promised() -> None:
    """Under no difference p is uniform: of 400 trials about 40 fall below 0.1 (sd 6)."""
    rng = np.random.default_rng(11)
    p = [randomisation_test(rng.normal(0, 1, 25), samples=400) for _ in range(400)]
    assert 16 <= sum(value <= 0.1 for value in p) <= 64


def test_the_interval_is_near_the_normal_one_when_that_holds() -> None:
    d = np.random.default_rng(2).normal(0.3, 1, 2000)
    low, high = bootstrap_interval(d / len(d), samples=4000)
    error = 1.96 * d.std() / np.sqrt(len(d))
    assert low == pytest.approx(d.mean() - error, abs=0.006)
    assert high == pytest.approx(d.mean() + error, abs=0.006)


def test_strata_are_drawn_from_by_themselves() -> None:
    """Each stratum is constant, so that every draw gives the same sum: an interval of one point."""
    d = np.array([1.0, 1.0, 1.0, 5.0, 5.0])
    strata = np.array([0, 0, 0, 1, 1])
    assert bootstrap_interval(d, strata) == (13.0, 13.0)
    low, high = bootstrap_interval(d)
    assert low < 13 < high


def test_holm_by_hand() -> None:
    """Sorted 0.01 x 3, 0.03 x 2, 0.04 x 1, each at least the one before: 0.03, 0.06, 0.06."""
    assert holm(np.array([0.04, 0.01, 0.03])).tolist() == pytest.approx([0.06, 0.03, 0.06])
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]


def test_comparison_of_two_systems() -> None:
    a = {f"q{n}": 0.5 for n in range(10)} | {"up": 1.0, "down": 0.0}
    b = {f"q{n}": 0.5 for n in range(10)} | {"up": 0.5, "down": 0.25}
    result = compare(a, b)
    assert (result.wins, result.losses, result.ties, result.queries) == (1, 1, 10, 12)
    assert result.difference == pytest.approx(0.25 / 12)
    assert result.a - result.b == pytest.approx(result.difference)
    assert result.p == 1.0
    assert result.low < result.difference < result.high
    turned = compare(b, a)
    assert (turned.difference, turned.p) == (pytest.approx(-result.difference), result.p)


def test_rounding_noise_is_a_tie() -> None:
    result = compare({"q": 0.1 + 0.2, "r": 0.5}, {"q": 0.3, "r": 0.5})
    assert (result.ties, result.difference, result.p) == (2, 0.0, 1.0)


def test_pooling_says_what_the_mean_is_over() -> None:
    """Collection x: 1 query, +0.4; y: 3 queries, 0. Queries: 0.4/4 = 0.1; collections: 0.4/2."""
    a = {"x": {"1": 0.9}, "y": {"1": 0.5, "2": 0.5, "3": 0.5}}
    b = {"x": {"1": 0.5}, "y": {"1": 0.5, "2": 0.5, "3": 0.5}}
    queries = compare_pooled(a, b)
    collections = compare_pooled(a, b, "collections")
    assert (queries.difference, queries.weighting) == (pytest.approx(0.1), "queries")
    assert (collections.difference, collections.weighting) == (pytest.approx(0.2), "collections")
    assert collections.a == pytest.approx(0.7)
    assert collections.queries == queries.queries == 4


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ({"q1": 1.0}, {"q2": 1.0}, "not the same queries"),
        ({}, {}, "no queries"),
    ],
)
def test_what_cannot_be_compared(a: dict[str, float], b: dict[str, float], message: str) -> None:
    with pytest.raises(BadQuery, match=message):
        compare(a, b)


def test_illegal_parameters() -> None:
    d = np.ones(3)
    with pytest.raises(BadQuery, match="illegal number of samples: 0"):
        randomisation_test(d, samples=0)
    with pytest.raises(BadQuery, match=r"illegal confidence: 1\.0, must be between 0 and 1"):
        bootstrap_interval(d, confidence=1.0)
    with pytest.raises(BadQuery, match="not the same collections: y"):
        compare_pooled({"x": {"q": 1.0}}, {"y": {"q": 1.0}, "x": {"q": 1.0}})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(BadQuery, match="must be finite"):
        compare({"q1": 0.5, "q2": value}, {"q1": 0.25, "q2": 0.25})
    with pytest.raises(BadQuery, match="must be finite"):
        randomisation_test(np.array([0.5, value]))
