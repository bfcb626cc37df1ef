"""Is one system better than another, or lucky in its queries? Paired tests over queries.

Each query gives one difference d = a - b. The statistic is the weighted sum of the differences,
with weights that make it a mean (over queries, or over collections of queries' means).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import BadQuery

EXACT_UP_TO = 18  # differences that are not 0; 2^18 sign patterns take a few milliseconds
BLOCK = 1 << 22  # elements drawn at once: memory stays below about 64 MiB


def randomisation_test(
    differences: NDArray[np.float64], *, samples: int = 100_000, seed: int = 0
) -> float:
    """Two-sided p of the paired randomisation (sign-flip) test for sum(differences) = 0.

    If the systems were interchangeable, each difference could as well have the other sign
    (Fisher 1935; Smucker, Allan, Carterette, CIKM 2007, section 2.1). p is the share of sign
    patterns whose sum is at least as far from 0 as the one seen: over all 2^n patterns where at
    most 18 differences are not 0, else over `samples` random ones, the one seen counted among
    them (Phipson and Smyth 2010), so that p is never 0. More samples: a finer p; 100,000 tell
    0.05 from 0.051. Differences may carry weights.

    `differences` (n,) float64. Raises BadQuery if it is empty or not finite, or
    `samples` is below 1.

    >>> randomisation_test(np.array([0.5, 0.25, 0.125]))  # 2 of 8 patterns are as far out
    0.25
    """
    _check(differences, samples)
    moving = differences[differences != 0].astype(np.float64)
    if not len(moving):
        return 1.0
    seen = abs(float(moving.sum()))
    # subtle: sums that are equal in exact arithmetic must not be split by rounding
    bar = seen - 1e-12 * float(np.abs(moving).sum())
    if len(moving) <= EXACT_UP_TO:
        return float(np.mean(np.abs(_all_signed_sums(moving)) >= bar))
    extreme = 0
    rng = np.random.default_rng(seed)
    tables = _byte_tables(moving)
    for size in _blocks(samples, len(tables)):
        draws = rng.integers(0, 256, (len(tables), size), dtype=np.uint8)
        sums = np.zeros(size)
        for table, draw in zip(tables, draws, strict=True):
            sums += table[draw]
        extreme += int(np.count_nonzero(np.abs(sums) >= bar))
    return (1 + extreme) / (1 + samples)


def bootstrap_interval(
    differences: NDArray[np.float64],
    strata: NDArray[np.int64] | None = None,
    *,
    confidence: float = 0.95,
    samples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """The percentile bootstrap interval of sum(differences), queries drawn with replacement.

    Efron and Tibshirani 1993, chapter 13; on paired IR data: Sakai, SIGIR 2006. Each stratum
    (`strata` (n,), one number a collection) is drawn from by itself, so that collections keep
    their sizes. Not corrected for bias or skew; with fewer than about 20 queries it is too
    narrow. More samples: steadier ends.

    Raises BadQuery for differences that are empty or not finite, samples below 1, or a
    confidence outside (0, 1).
    """
    _check(differences, samples)
    if not 0 < confidence < 1:
        raise BadQuery(f"illegal confidence: {confidence}, must be between 0 and 1")
    groups = [differences]
    if strata is not None:
        groups = [differences[strata == stratum] for stratum in np.unique(strata)]
    rng = np.random.default_rng(seed)
    sums = np.zeros(samples)
    for group in groups:
        start = 0
        for size in _blocks(samples, len(group)):
            picks = rng.integers(0, len(group), (size, len(group)), dtype=np.int32)
            sums[start : start + size] += group[picks].sum(axis=1)
            start += size
    low, high = np.quantile(sums, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def holm(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """p values adjusted for being several: Holm's step-down (Scand. J. Statistics 1979).

    Keeps the chance of any false alarm among m tests at the level that one test has.

    >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values)
    steps = np.arange(len(p_values), 0, -1)
    raised = np.minimum(np.maximum.accumulate(p_values[order] * steps), 1.0)
    adjusted = np.empty(len(p_values))
    adjusted[order] = raised
    return adjusted


def _all_signed_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def _byte_tables(values: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    # one random byte draws eight signs: its table holds the signed sum of those eight values
    padded = np.zeros(-(-len(values) // 8) * 8)
    padded[: len(values)] = values
    return [_all_signed_sums(eight) for eight in padded.reshape(-1, 8)]


def _blocks(samples: int, width: int) -> list[int]:
    size = max(1, BLOCK // max(1, width))
    return [min(size, samples - start) for start in range(0, samples, size)]


def _check(differences: NDArray[np.float64], samples: int) -> None:
    if not len(differences):
        raise BadQuery("no queries to compare")
    if not np.isfinite(differences).all():
        wrong = float(differences[~np.isfinite(differences)][0])
        raise BadQuery(f"illegal difference: {wrong}, must be finite; which query has no value?")
    if samples < 1:
        raise BadQuery(f"illegal number of samples: {samples}, must be at least 1")
