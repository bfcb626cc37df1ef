"""How well a model ranks the candidate lists of held-out queries: quick enough for each check."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def ndcg_of_lists(
    scores: NDArray[np.float32], gains: NDArray[np.float32], k: int = 10
) -> NDArray[np.float64]:
    """nDCG@k of each list (n,), Järvelin and Kekäläinen 2002: sum of gain / log2(rank + 1).

    scores: (n, m) of the model. gains: (n, m), 0 or more. Of equal scores the later candidate
    ranks first, so that a model which says nothing gets no credit for the list's order. A list
    without gains has value 0.

    >>> ndcg_of_lists(np.array([[0.1, 0.9]]), np.array([[1.0, 0.0]])).round(3).tolist()
    [0.631]
    """
    length = scores.shape[1]
    order = length - 1 - np.argsort(-scores[:, ::-1], axis=1, kind="stable")
    discounts = 1 / np.log2(np.arange(2, min(k, length) + 2))
    got = np.take_along_axis(gains, order, axis=1)[:, :k] @ discounts
    best = -np.sort(-gains, axis=1)[:, :k] @ discounts
    return np.divide(got, best, out=np.zeros(len(scores)), where=best > 0)


def own_gains(shape: tuple[int, int]) -> NDArray[np.float32]:
    """Gains where only the first candidate, a query's own passage, is worth something."""
    gains = np.zeros(shape, np.float32)
    gains[:, 0] = 1
    return gains
