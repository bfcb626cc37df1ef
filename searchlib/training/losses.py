"""What training makes small: pure functions of scores (B, m) and of weights (n, V)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def divergence(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(teacher || student) of the softmax over each query's candidates, mean over queries.

    `student`, `teacher`: (B, m) scores; the teacher's are divided by `temperature` (smaller
    trusts its order more). Hinton et al. 2015; as in SPLADE-v3 (arXiv:2403.06789).
    """
    aim = functional.log_softmax(teacher / temperature, dim=1)
    seen = functional.log_softmax(student, dim=1)
    return functional.kl_div(seen, aim, reduction="batchmean", log_target=True)


def contrast(student: Tensor, positives: Tensor) -> Tensor:
    """InfoNCE: -log of the softmax share of each query's positives (B, m) bool, mean.

    van den Oord et al. 2018 (arXiv:1807.03748); the other columns are its negatives.
    """
    share = functional.log_softmax(student, dim=1)
    return -(share.masked_fill(~positives, float("-inf")).logsumexp(dim=1)).mean()


def flops(weights: Tensor) -> Tensor:
    """Sum over terms of the squared mean weight (n, V): how much work the vectors make.

    Paria et al. 2020 (arXiv:2004.05665), eq. 4. A term in every text costs n times as much as n
    terms in one text each.
    """
    return weights.mean(dim=0).square().sum()


def quadratic_ramp(step: int, steps: int) -> float:
    """From 0 to 1 with the square of the step, then 1: a regulariser's growing share.

    Formal et al. 2021 (arXiv:2107.05720), section 3.4.
    """
    return min(1.0, step / max(steps, 1)) ** 2
