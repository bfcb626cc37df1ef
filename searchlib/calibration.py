"""From a score to a probability: how likely it is that a hit is relevant.

A fused score ranks, but says nothing of how good the best is: something is always best. Three
things that are known of a hit carry over from one collection to another, and a logistic function
of them is the probability (Platt 1999; for other ways see Zadrozny and Elkan, KDD 2002).
`benchmarks/calibration.py` shows what it is worth on collections that it was not fitted to.

Relevant means judged relevant: a hit that nobody judged counts as not relevant, so where few
were judged the probability is of having been found by a judge, which is less.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import BadQuery
from .typed import check_types

Float64s = NDArray[np.float64]

FLOOR = 0.2  # of the best hit, below which the default calibration says that nothing is good
_SPREADS = (0.3, 0.2, 0.15)  # of share, cosine and wholeness over the collections, roughly
_STRENGTH = 30.0  # of the prior when fitting; larger: labels count less


@dataclass(frozen=True)
class Calibration:
    """The log-odds of being relevant, as a linear function of a hit's evidence.

    `base` is added to the `share`, `cosine` and `whole` of the hit times these (see
    `evidence.py`). `floor`: where the best hit's probability is below it, nothing good was found.
    `model`: name or fingerprint of the dense model whose cosines it was fitted to; "": of none.

    Raises:
        BadQuery: a value is not a finite number, or the floor not between 0 and 1.
    """

    base: float
    share: float
    cosine: float
    whole: float
    floor: float = FLOOR
    model: str = ""

    def __post_init__(self) -> None:
        check_types(self, BadQuery, "illegal calibration {}")
        if not 0 <= self.floor <= 1:
            raise BadQuery(f"illegal calibration floor: {self.floor}, must be between 0 and 1")

    @property
    def slopes(self) -> Float64s:
        """What each kind of evidence is multiplied by, (3,)."""
        return np.array([self.share, self.cosine, self.whole])

    def probabilities(self, evidence: Float64s) -> Float64s:
        """Probabilities (m,) of hits with this evidence (m, 3), each in [0, 1].

        >>> DEFAULT.probabilities(np.array([[0.5, 0.7, 1], [0.5, 0.1, 0]])).round(2).tolist()
        [0.93, 0.02]
        """
        odds = self.base + evidence @ self.slopes
        # subtle: the same as 1 / (1 + exp(-odds)), without its overflow
        probabilities: Float64s = 0.5 * (1 + np.tanh(0.5 * odds))
        return probabilities

    def nothing_good(self, best: float | None) -> bool:
        """Whether there are hits, and even the best of them is less probable than the floor."""
        return best is not None and best < self.floor


DEFAULT = Calibration(
    base=-5.82,
    share=1.94,
    cosine=7.35,
    whole=2.27,
    floor=FLOOR,
    model="sentence-transformers/all-MiniLM-L6-v2",
)
"""Fitted to the ten best hits of the hybrid on six collections that weigh the same, and at half
that weight to hits of questions that belong to the others, all irrelevant."""


def fitted(
    evidence: Float64s, relevant: Float64s, prior: Calibration, weights: Float64s | None = None
) -> Calibration:
    """The calibration that makes these judgements most probable, drawn towards `prior`.

    `evidence` (n, 3), `relevant` (n,) 0 or 1, `weights` (n,), default 1 each. Its slopes are those
    of the prior where there are few judgements, and move away from them as there are more (a
    Gaussian prior, as in ridge regression; the base is free). Newton's method; the floor and the
    model are the prior's.

    >>> evidence = np.array([[0.0, 0.1, 0.0]] * 9 + [[0.0, 0.9, 0.0]])
    >>> never = fitted(evidence, np.zeros(10), DEFAULT)
    >>> bool((never.probabilities(evidence) < 0.2).all())
    True
    """
    design = np.column_stack([np.ones(len(evidence)), evidence])
    centre = np.array([prior.base, *prior.slopes])
    penalty = _STRENGTH * np.array([1e-3, *np.square(_SPREADS)])
    counts = np.ones(len(evidence)) if weights is None else weights
    found = centre.copy()
    for _ in range(100):
        p = 0.5 * (1 + np.tanh(0.5 * (design @ found)))
        gradient = design.T @ (counts * (p - relevant)) + penalty * (found - centre)
        curvature = (design * (counts * p * (1 - p))[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        step *= min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-300))  # Newton may overshoot
        found -= step
        if float(np.abs(step).max()) < 1e-9:
            break
    base, share, cosine, whole = found.tolist()
    return Calibration(base, share, cosine, whole, prior.floor, prior.model)
