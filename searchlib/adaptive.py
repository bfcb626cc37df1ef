"""How far each retriever of a fusion is to be trusted with one query, from its scores alone.

Nothing is learned at query time and no judgement is needed: a part counts more where it tells
the candidates apart, less where it contradicts its guide, and less where it finds nothing in
them. `benchmarks/fusion.py` shows what each factor is worth, collection by collection.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import BadQuery
from .fusion import Floats, z_score
from .types import Explanation


@dataclass(frozen=True)
class Trust:
    """The rates at which evidence changes a part's weight; 0 leaves one kind out.

    `sharpness` (default 2, good range 0-3): of how much less even a part's shares of the pool are
    than the parts' on average. `agreement` (0.8, 0-1.2): of a part's correlation with its guide.
    `matchless` (1, 0-1): of the share of candidates that have nothing in common with the query.
    `guides`: for each part the number of the part it should agree with, or None: a learned
    expansion that contradicts the dense model is off what it was trained on.
    """

    guides: tuple[int | None, ...]
    sharpness: float = 2.0
    agreement: float = 0.8
    matchless: float = 1.0

    def __post_init__(self) -> None:
        rates = (self.sharpness, self.agreement, self.matchless)
        if any(not 0 <= rate <= 10 for rate in rates):
            raise BadQuery(f"illegal rates of trust: {rates}, must be between 0 and 10")
        parts = range(len(self.guides))
        if any(guide is not None and guide not in parts for guide in self.guides):
            raise BadQuery(f"illegal guides: {self.guides}, must be numbers of parts")

    def weights(self, weights: Sequence[float], pool: Floats) -> list[Explanation]:
        """The parts' weights for the query whose pool has these complete scores (parts, m).

        Each is the product of the weight given and of what the evidence makes of it.
        """
        z = np.stack([z_score(row)(row) for row in pool])
        evenness = [evenness_of(row) for row in z]
        mean = sum(evenness) / len(evenness)
        adapted = []
        for i, weight in enumerate(weights):
            sharp = math.exp(self.sharpness * (mean - evenness[i]))
            note = f"evenness of its shares {evenness[i]:.3f}, {mean:.3f} on average"
            factors = [Explanation(weight, "weight"), Explanation(sharp, "sharpness", note=note)]
            guide = self.guides[i]
            if guide is not None:
                r = float(z[i] @ z[guide]) / max(z.shape[1], 1)
                note = f"correlation with its guide {r:.3f}"
                agreeing = math.exp(self.agreement * r)
                factors.append(Explanation(agreeing, "agreement", note=note))
            nothing = float((pool[i] == 0).mean()) if pool.shape[1] else 0.0
            if nothing:
                note = f"{nothing:.0%} of the candidates match nothing"
                covered = math.exp(-self.matchless * nothing)
                factors.append(Explanation(covered, "coverage", note=note))
            value = math.prod(factor.value for factor in factors)
            adapted.append(Explanation(value, "weight for this query", "product", tuple(factors)))
        return adapted


def evenness_of(z: NDArray[np.float64]) -> float:
    """Entropy of the softmax of z-scores (m,), over that of an even distribution: 0 to 1.

    >>> evenness_of(np.array([0.0, 0.0])), round(evenness_of(np.array([-1.0, 1.0])), 3)
    (1.0, 0.527)
    """
    if len(z) < 2:
        return 1.0
    shares = np.exp(z - z.max())
    shares /= shares.sum()
    entropy = -float((shares * np.log(np.maximum(shares, 1e-300))).sum())
    return entropy / math.log(len(z))
