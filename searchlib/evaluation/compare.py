"""Two systems side by side: difference, p, interval, and on how many queries each is ahead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import BadQuery
from .significance import bootstrap_interval, randomisation_test

PerQuery = Mapping[str, float]
"""Query id -> value of one measure."""

Weighting = Literal["queries", "collections"]
"""What a pooled mean is over: all queries alike, or each collection's mean alike."""

TIE = 1e-9  # values of a measure closer than this are equal but for rounding


@dataclass(frozen=True)
class Comparison:
    """System a against system b by one measure; `difference` above 0 means that a is better."""

    a: float  # a's mean
    b: float  # b's mean
    difference: float  # a - b
    p: float  # two-sided, paired randomisation test
    low: float  # bootstrap interval of the difference
    high: float
    wins: int  # queries on which a is ahead
    losses: int
    ties: int
    weighting: Weighting = "queries"

    @property
    def queries(self) -> int:
        """How many queries were compared."""
        return self.wins + self.losses + self.ties


def compare(
    a: PerQuery,
    b: PerQuery,
    *,
    confidence: float = 0.95,
    samples: int = 100_000,
    seed: int = 0,
) -> Comparison:
    """a against b over the same queries (Smucker et al. 2007; Sakai 2006; see significance.py).

    The interval uses a tenth of the test's `samples`. Raises BadQuery if there are no queries,
    the two do not have the same ones, or a value is not finite.

    >>> c = compare({"q1": 1.0, "q2": 0.5, "q3": 0.5}, {"q1": 0.5, "q2": 0.5, "q3": 0.25})
    >>> c.difference, c.p, c.wins, c.ties
    (0.25, 0.5, 2, 1)
    """
    return compare_pooled({"": a}, {"": b}, confidence=confidence, samples=samples, seed=seed)


def compare_pooled(
    a: Mapping[str, PerQuery],
    b: Mapping[str, PerQuery],
    weighting: Weighting = "queries",
    *,
    confidence: float = 0.95,
    samples: int = 100_000,
    seed: int = 0,
) -> Comparison:
    """a against b over several collections (name -> query id -> value), as one comparison.

    `weighting` "queries" takes the mean over all queries, so that a large collection dominates;
    "collections" takes the mean of the collections' means, as tables of averages do. Either way
    signs flip query by query and the bootstrap draws within each collection. Wins, losses and
    ties count queries.

    Raises BadQuery if the two do not have the same collections and queries, or a value is not
    finite.
    """
    if set(a) != set(b):
        raise BadQuery(f"not the same collections: {', '.join(sorted(set(a) ^ set(b)))}")
    differences, weights, strata, a_values = [], [], [], []
    total = sum(len(values) for values in a.values())
    for number, (name, a_by_query) in enumerate(a.items()):
        b_by_query = b[name]
        _must_be_paired(a_by_query, b_by_query, name)
        weight = 1 / total if weighting == "queries" else 1 / (len(a) * len(a_by_query))
        for query in sorted(a_by_query):
            a_values.append(a_by_query[query])
            differences.append(a_by_query[query] - b_by_query[query])
            weights.append(weight)
            strata.append(number)
    if not differences:
        raise BadQuery("no queries to compare")
    difference, weight_of = np.array(differences), np.array(weights)
    difference[np.abs(difference) < TIE] = 0.0
    weighted = difference * weight_of
    low, high = bootstrap_interval(
        weighted,
        np.array(strata),
        confidence=confidence,
        samples=max(1, samples // 10),
        seed=seed,
    )
    mean_a, mean_difference = float(np.array(a_values) @ weight_of), float(weighted.sum())
    return Comparison(
        a=mean_a,
        b=mean_a - mean_difference,
        difference=mean_difference,
        p=randomisation_test(weighted, samples=samples, seed=seed),
        low=low,
        high=high,
        wins=int(np.count_nonzero(difference > 0)),
        losses=int(np.count_nonzero(difference < 0)),
        ties=int(np.count_nonzero(difference == 0)),
        weighting=weighting,
    )


def _must_be_paired(a: PerQuery, b: PerQuery, collection: str) -> None:
    alone = sorted(set(a) ^ set(b))
    if alone:
        where = f" in {collection}" if collection else ""
        raise BadQuery(
            f"not the same queries{where}: {len(alone)} are judged for only one of the two"
            f" (the first: {alone[0]!r})"
        )
    if not a:
        raise BadQuery(f"no queries to compare in {collection}" if collection else "no queries")
