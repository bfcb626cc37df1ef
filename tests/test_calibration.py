"""From evidence to probabilities: the formula, and fitting it to judgements."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from searchlib.calibrating import UNFITTED, Judged, brier, calibrate
from searchlib.calibration import DEFAULT, FLOOR, Calibration, fitted
from searchlib.errors import BadQuery

MINE = Calibration(base=-1.0, share=2.0, cosine=0.5, whole=3.0, floor=0.2)

finite = st.floats(-50, 50, allow_nan=False)
rows = st.lists(st.tuples(finite, finite, finite), max_size=20)


# --- the formula


@given(rows)
def test_probabilities_are_numbers_from_0_to_1(evidence: list[tuple[float, float, float]]) -> None:
    found = DEFAULT.probabilities(np.array(evidence, np.float64).reshape(-1, 3))
    assert found.shape == (len(evidence),)
    assert ((found >= 0) & (found <= 1)).all()


@given(st.tuples(finite, finite, finite), st.integers(0, 2), st.floats(0, 10))
def test_more_evidence_never_makes_it_less_probable(
    row: tuple[float, float, float], which: int, more: float
) -> None:
    evidence = np.array([row, row])
    evidence[1, which] += more
    low, high = DEFAULT.probabilities(evidence)
    assert low <= high


def test_it_is_the_logistic_function() -> None:
    """-1 + 2 * 0.5 + 0.5 * 1 + 3 * 0.5 = 2; 1 / (1 + e^-2) = 0.8808."""
    assert MINE.probabilities(np.array([[0.5, 1.0, 0.5]]))[0] == pytest.approx(0.8808, abs=1e-4)


def test_nothing_good_is_said_of_hits_and_not_of_none() -> None:
    assert MINE.nothing_good(0.19)
    assert not MINE.nothing_good(0.2)
    assert not MINE.nothing_good(None)


@pytest.mark.parametrize("wrong", [{"base": math.nan}, {"cosine": math.inf}, {"floor": 1.5}])
def test_illegal_values_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadQuery, match="illegal calibration"):
        replace(MINE, **wrong)


# --- fitting


def example(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """n hits with evidence, relevant as MINE has it."""
    rng = np.random.default_rng(seed)
    evidence = rng.normal(0, 1, (n, 3))
    return evidence, (rng.random(n) < MINE.probabilities(evidence)).astype(float)


def test_fitting_finds_what_the_judgements_follow() -> None:
    evidence, relevant = example(40_000)
    found = fitted(evidence, relevant, UNFITTED)
    assert [found.base, *found.slopes] == pytest.approx([MINE.base, *MINE.slopes], abs=0.1)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 60))
def test_fitting_finds_the_least_loss(seed: int, n: int) -> None:
    """Against a minimiser that knows the loss only, from another point."""
    evidence, relevant = example(n, seed)
    weights = np.random.default_rng(seed).uniform(0.5, 2, n)
    found = fitted(evidence, relevant, DEFAULT, weights)
    centre = np.array([DEFAULT.base, *DEFAULT.slopes])
    penalty = 30 * np.array([1e-3, 0.3**2, 0.2**2, 0.15**2])

    def loss(values: np.ndarray) -> float:
        odds = values[0] + evidence @ values[1:]
        likelihood = weights @ (np.logaddexp(0, odds) - relevant * odds)
        return float(likelihood + penalty @ np.square(values - centre) / 2)

    best = minimize(loss, np.zeros(4), method="L-BFGS-B", options={"ftol": 1e-14, "gtol": 1e-9})
    assert loss(np.array([found.base, *found.slopes])) <= best.fun + 1e-6


def test_few_judgements_leave_the_slopes_as_they_were() -> None:
    evidence, relevant = example(5)
    few = fitted(evidence, relevant, DEFAULT)
    assert few.cosine == pytest.approx(DEFAULT.cosine, abs=1.5)
    assert (few.floor, few.model) == (DEFAULT.floor, DEFAULT.model)


def test_hits_that_are_all_alike_can_be_fitted() -> None:
    for relevant in (np.zeros(30), np.ones(30)):
        found = fitted(np.ones((30, 3)), relevant, DEFAULT)
        assert abs(found.probabilities(np.ones((1, 3)))[0] - relevant[0]) < 0.1


def judged(n: int, seed: int) -> dict[str, Judged]:
    return {f"q{i}": Judged(*example(10, seed * 1000 + i)) for i in range(n)}


def test_a_better_calibration_is_told_from_one_that_is_not() -> None:
    hits = judged(40, 1)
    found, report = calibrate(hits, DEFAULT, DEFAULT, model="m")
    assert report.better
    assert report.fitted < report.before
    assert found.model == "m"
    assert 0 <= found.floor <= FLOOR
    assert not calibrate(hits, MINE, MINE, model="m")[1].better  # there is nothing to be gained
    rng = np.random.default_rng(0)
    noise = {id: one._replace(relevant=rng.integers(0, 2, 10) * 1.0) for id, one in hits.items()}
    assert not calibrate(noise, None, UNFITTED, model="")[1].better  # than one constant


def test_queries_are_not_predicted_by_what_was_fitted_to_them() -> None:
    """Relevance that is a coin per query: nothing can be learned of the others."""
    rng = np.random.default_rng(3)
    hits = {
        f"q{i}": Judged(rng.normal(size=(1, 3)), np.array([float(rng.random() < 0.5)]))
        for i in range(30)
    }
    _, report = calibrate(hits, None, UNFITTED, model="")
    assert report.fitted > report.before - 0.02


def test_brier_of_nothing_is_0() -> None:
    assert brier(np.array([]), np.array([])) == 0
    assert brier(np.array([0.8, 0.1]), np.array([1.0, 0.0])) == pytest.approx(0.025)
