"""Fitting a few numbers on top of a model by gradient, with nothing encoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import BadQuery
from . import losses
from .loop import rate

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class FitSettings:
    """How numbers are fitted.

    `queries`: of a batch. `passages`: so many random ones are negatives, besides the answers of
    the batch's other queries. `share`: of the way from doing nothing to what was learned that is
    gone, 0 to 1. `spread`: what the scores' deviation over a query's passages is scaled to in the
    first batch.

    Raises BadQuery for a number out of its range.
    """

    learning_rate: float
    share: float
    steps: int = 90
    queries: int = 64
    passages: int = 600
    spread: float = 2.0

    def __post_init__(self) -> None:
        for name in ("steps", "queries", "passages"):
            if getattr(self, name) < 1:
                raise BadQuery(f"illegal {name}: {getattr(self, name)}, must be 1 or more")
        for name in ("learning_rate", "spread"):
            if not getattr(self, name) > 0:
                raise BadQuery(f"illegal {name}: {getattr(self, name)}, must be more than 0")
        if not 0 < self.share <= 1:
            raise BadQuery(f"illegal share: {self.share}, must be more than 0, at most 1")


def fit_batch(
    answers: Sequence[Ids], passages: int, settings: FitSettings, seed: tuple[int, int]
) -> tuple[Ids, Ids, NDArray[np.bool_]]:
    """Rows of queries (B,), rows of passages (n,), and which of these answer which (B, n).

    `answers`: of each query, rows of the `passages`. Equal seeds give equal batches.
    """
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(answers))[: settings.queries]
    drawn = rng.permutation(passages)[: settings.passages]
    columns = np.unique(np.concatenate([drawn, *(answers[row] for row in rows)]))
    positives = np.stack([np.isin(columns, answers[row]) for row in rows])
    return rows, columns, positives


def fit(
    weights: Tensor,
    scores: Callable[[Ids, Ids], Tensor],
    answers: Sequence[Ids],
    passages: int,
    settings: FitSettings,
    *,
    seed: int,
    report: Callable[[dict[str, float]], None],
) -> None:
    """Train `weights`, a leaf with a gradient, by InfoNCE.

    `scores`: of rows of queries (B,) and of passages (n,), (B, n), as the weights are now. The
    rest as for `fit_batch`; `report` gets {"step", "loss"} of each step.
    """
    optimizer = torch.optim.Adam([weights], lr=settings.learning_rate)
    scale = 0.0
    for step in range(settings.steps):
        rows, columns, positives = fit_batch(answers, passages, settings, (seed, step))
        found = scores(rows, columns)
        scale = scale or scale_of(found, settings)
        loss = losses.contrast(found * scale, torch.from_numpy(positives))
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * rate(step, settings.steps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        report({"step": step + 1, "loss": float(loss.detach())})


def scale_of(scores: Tensor, settings: FitSettings) -> float:
    """By what a batch's scores (B, n) are to be multiplied for the spread that is wanted."""
    return settings.spread / max(float(scores.detach().std(dim=1, correction=0).mean()), 1e-6)
