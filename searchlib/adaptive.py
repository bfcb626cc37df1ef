"""How far each retriever of a fusion is to be trusted with one query, from its scores alone.

Nothing is learned at query time and no judgement is needed: a part counts more where it tells
the candidates apart, less where it contradicts its guide, and less where it finds nothing in
them, unless one of them has all that the query asks for. `benchmarks/fusion.py` shows what each
factor is worth, collection by collection.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .errors import BadQuery
from .pool import Pool
from .types import Explanation


class Evidence(NamedTuple):
    """What one part's scores of the pool say about it."""

    evenness: float  # of its shares
    mean: float  # evenness of all parts
    correlation: float | None  # with its guide, if it has one
    matchless: float  # the share of the candidates that match nothing
    coverage: float  # how much of the query the best candidate has


@dataclass(frozen=True)
class Trust:
    """The rates at which evidence changes a part's weight; 0 leaves one kind out.

    `sharpness` (default 2, good range 0-3): of how much less even a part's shares of the pool are
    than the parts' on average, as far as its best candidate covers the query: a stray word in one
    candidate stands out as much as an identifier does. `agreement` (0.8, 0-1.2): of a part's
    correlation with its guide. `matchless` (3, 0-5): of the share of candidates that have nothing
    in common with the query, as far as the best one does not cover it.
    `guides`: for each part the number of the part it should agree with, or None: a learned
    expansion that contradicts the dense model is off what it was trained on.
    """

    guides: tuple[int | None, ...]
    sharpness: float = 2.0
    agreement: float = 0.8
    matchless: float = 3.0

    def __post_init__(self) -> None:
        rates = (self.sharpness, self.agreement, self.matchless)
        if any(not 0 <= rate <= 10 for rate in rates):
            raise BadQuery(f"illegal rates of trust: {rates}, must be between 0 and 10")
        parts = range(len(self.guides))
        if any(guide is not None and guide not in parts for guide in self.guides):
            raise BadQuery(f"illegal guides: {self.guides}, must be numbers of parts")

    def weights(self, weights: Sequence[float], pool: Pool) -> tuple[float, ...]:
        """The parts' weights for the query that has this pool: those given, as evidence has it."""
        return tuple(
            weight * math.prod(self._factors(evidence))
            for weight, evidence in zip(weights, self._evidence(pool), strict=True)
        )

    def explain(self, weights: Sequence[float], pool: Pool) -> list[Explanation]:
        """Each of `weights(...)` as the product of the weight given and its factors."""
        nodes = []
        for weight, evidence in zip(weights, self._evidence(pool), strict=True):
            factors = self._factors(evidence)
            leaves = [Explanation(weight, "weight")]
            leaves += [
                Explanation(factor, name, note=note)
                for factor, (name, note) in zip(factors, _notes(evidence), strict=True)
                if note
            ]
            value = weight * math.prod(factors)
            nodes.append(Explanation(value, "weight for this query", "product", tuple(leaves)))
        return nodes

    def _evidence(self, pool: Pool) -> list[Evidence]:
        mean = sum(pool.evenness) / len(pool.evenness)
        return [
            Evidence(
                pool.evenness[i],
                mean,
                None if guide is None else pool.correlation(i, guide),
                pool.matchless[i],
                pool.coverage[i],
            )
            for i, guide in enumerate(self.guides)
        ]

    def _factors(self, evidence: Evidence) -> tuple[float, float, float]:
        """Sharpness, agreement and coverage: 1 where there is nothing to say."""
        covered = evidence.coverage
        return (
            math.exp(self.sharpness * covered * (evidence.mean - evidence.evenness)),
            math.exp(self.agreement * (evidence.correlation or 0.0)),
            math.exp(-self.matchless * evidence.matchless * (1 - covered)),
        )


def _notes(evidence: Evidence) -> list[tuple[str, str]]:
    """The name of each factor, and what it rests on; no note where there is nothing to say."""
    spread = f"evenness of its shares {evidence.evenness:.3f}, {evidence.mean:.3f} on average"
    agreeing = covered = ""
    if evidence.correlation is not None:
        agreeing = f"correlation with its guide {evidence.correlation:.3f}"
    if evidence.coverage < 1:
        has = f"the best candidate has {evidence.coverage:.0%} of what is asked for"
        spread = f"{spread}; {has}"
        if evidence.matchless:
            covered = f"{has}, {evidence.matchless:.0%} of all match nothing"
    return [("sharpness", spread), ("agreement", agreeing), ("coverage", covered)]
