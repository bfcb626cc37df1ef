"""The hybrid's calibration, fitted to judged queries, and kept only if it predicts better.

What is compared is cross-validated: each fifth of the queries is predicted by what was fitted to
the rest. Predictions are judged by their Brier score (1950), the mean squared difference between
probability and truth, which is best where probabilities are right and far from even.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .calibration import FLOOR, Calibration, Float64s, fitted
from .evaluation import Qrels, compare, themselves
from .evidence import evidence_of
from .fused import Fused
from .naming import name_ids

HITS = 10  # best of each query that are learned from
FOLDS = 5
LEVEL = 0.05  # of the paired test
LOST = 0.02  # of the judged queries whose best hit may be below the floor
UNFITTED = Calibration(0.0, 1.5, 0.0, 1.0)  # to begin with where there is no default


@dataclass(frozen=True)
class CalibrationReport:
    """What fitting found. Brier scores are means over queries of means over their ten best hits."""

    better: bool  # and so kept
    queries: int
    relevant: float  # share of the hits that are judged relevant
    before: float  # Brier score of the calibration there was; of a constant where there was none
    fitted: float  # cross-validated, as are gain and p
    gain: float
    low: float  # 95 % bootstrap interval of the gain
    high: float
    p: float  # of the paired randomisation test
    base: float  # what was fitted to all queries
    share: float
    cosine: float
    whole: float
    floor: float


class Judged(NamedTuple):
    """The best hits of one query: their evidence (m, 3), and which are relevant (m,) 0 or 1."""

    evidence: Float64s
    relevant: Float64s


def judged_hits(hybrid: Fused, topics: Mapping[str, str], qrels: Qrels) -> dict[str, Judged]:
    """What each query's ten best hits look like; the query's own document is none of them.

    A document is a query's own as `evaluation.themselves` says.
    """
    found, own = {}, themselves(hybrid.snapshot, topics)
    for id, text in topics.items():
        [top] = hybrid.top([text], HITS + 1, None, "document")
        names = name_ids(hybrid.snapshot, top.ids, "document")
        evidence = evidence_of(hybrid, text, top, None, "document")
        rows = [row for row, name in enumerate(names) if name != id or id not in own][:HITS]
        grades = [qrels.get(id, {}).get(names[row], 0) for row in rows]
        found[id] = Judged(evidence[rows], np.array([float(grade > 0) for grade in grades]))
    return found


def calibrate(
    hits: Mapping[str, Judged], before: Calibration | None, prior: Calibration, *, model: str
) -> tuple[Calibration, CalibrationReport]:
    """Fit a calibration to judged hits, and compare it with the one there was.

    `prior`: what few judgements are drawn towards. `model`: of the dense vectors. The floor is
    the default one, or lower, so that not more than 2 % of these queries are told that nothing
    good was found.
    """
    calibration = _fit(list(hits.values()), prior)
    best = [float(calibration.probabilities(one.evidence).max(initial=0)) for one in hits.values()]
    floor = min(FLOOR, float(np.quantile(best, LOST)))
    calibration = replace(calibration, floor=floor, model=model)
    old, new = {}, {}
    for held, rest in _folds(hits):
        learned = _fit([hits[id] for id in rest], prior)
        constant = float(np.concatenate([hits[id].relevant for id in rest]).mean())
        for id in held:
            evidence, relevant = hits[id]
            now = before.probabilities(evidence) if before else np.full(len(relevant), constant)
            old[id] = brier(now, relevant)
            new[id] = brier(learned.probabilities(evidence), relevant)
    against = compare(old, new)  # less is better
    report = CalibrationReport(
        against.difference > 0 and against.p < LEVEL,
        len(hits),
        float(np.concatenate([one.relevant for one in hits.values()]).mean()),
        against.a,
        against.b,
        against.difference,
        against.low,
        against.high,
        against.p,
        calibration.base,
        calibration.share,
        calibration.cosine,
        calibration.whole,
        floor,
    )
    return calibration, report


def brier(probabilities: Float64s, relevant: NDArray[np.float64]) -> float:
    """Mean squared difference of probabilities (m,) and what came true (m,); 0 where m is 0.

    >>> brier(np.array([0.5, 1.0]), np.array([1.0, 1.0]))
    0.125
    """
    return float(np.square(probabilities - relevant).mean()) if len(relevant) else 0.0


def _fit(hits: Sequence[Judged], prior: Calibration) -> Calibration:
    evidence = np.concatenate([one.evidence for one in hits])
    return fitted(evidence, np.concatenate([one.relevant for one in hits]), prior)


def _folds(hits: Mapping[str, Judged]) -> list[tuple[list[str], list[str]]]:
    """(held out, the rest) of the queries, in each fold."""
    ids = sorted(hits)
    random.Random(0).shuffle(ids)
    held = [ids[fold::FOLDS] for fold in range(FOLDS)]
    return [(some, [id for id in ids if id not in set(some)]) for some in held if some]
