"""From a text's token vectors to one vector: cls, mean, max and the rest, then projections.

The two functions do the same on numpy rows of one text and on a padded torch batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .activations import ACTIVATIONS, Array
from .dense_layout import DenseLayout, Normalize, Pool, Projection, Truncate
from .weights import Weights

if TYPE_CHECKING:
    from torch import Tensor


def pool_rows(rows: Array, modes: Sequence[Pool], skip: int = 0) -> Array:
    """One text's token vectors (T, dim) -> (dim * len(modes),).

    `skip` leading tokens (a prompt's) are left out; they keep their places in "weightedmean".
    """
    rows = rows[skip:] if skip < len(rows) else rows[-1:]
    places = np.arange(skip + 1, skip + 1 + len(rows), dtype=np.float32)
    functions: dict[Pool, Callable[[], Array]] = {
        "cls": lambda: rows[0],
        "max": lambda: rows.max(axis=0),
        "mean": lambda: rows.mean(axis=0),
        "mean_sqrt_len_tokens": lambda: rows.sum(axis=0) / np.sqrt(np.float32(len(rows))),
        "weightedmean": lambda: places @ rows / places.sum(),
        "lasttoken": lambda: rows[-1],
    }
    return np.concatenate([functions[mode]() for mode in modes])


def pool_batch(
    hidden: Tensor, lengths: Sequence[int], modes: Sequence[Pool], skip: int = 0
) -> Tensor:
    """As `pool_rows`, for a padded batch (B, T, dim) -> (B, dim * len(modes)), in float32."""
    import torch

    hidden = hidden.float()
    device = hidden.device
    ends = torch.tensor(lengths, device=device).unsqueeze(1)  # (B, 1)
    begins = torch.clamp(ends - 1, max=skip)
    places = torch.arange(hidden.shape[1], device=device).unsqueeze(0)
    mask = ((places >= begins) & (places < ends)).unsqueeze(2)  # (B, T, 1)
    weights = mask.to(hidden.dtype)
    rows = torch.arange(hidden.shape[0], device=device)
    count = weights.sum(dim=1)

    def mean(weights: Tensor, by: Tensor) -> Tensor:
        return torch.bmm(weights.transpose(1, 2), hidden).squeeze(1) / by

    def weighted() -> Tensor:
        scaled = weights * (places.unsqueeze(2) + 1)
        return mean(scaled, scaled.sum(dim=1))

    functions: dict[Pool, Callable[[], Tensor]] = {
        "cls": lambda: hidden[rows, begins.squeeze(1)],
        "max": lambda: hidden.masked_fill(~mask, float("-inf")).amax(dim=1),
        "mean": lambda: mean(weights, count),
        "mean_sqrt_len_tokens": lambda: mean(weights, count.sqrt()),
        "weightedmean": weighted,
        "lasttoken": lambda: hidden[rows, ends.squeeze(1) - 1],
    }

    return torch.cat([functions[mode]() for mode in modes], dim=1)


class Steps:
    """What follows pooling: projections, normalisation, truncation, applied to (n, dim) float32."""

    def __init__(self, layout: DenseLayout) -> None:
        self._steps: list[Callable[[Array], Array]] = []
        for step in layout.steps:
            match step:
                case Normalize():
                    self._steps.append(normalize)
                case Truncate(size):
                    self._steps.append(partial(truncated, size=size))
                case Projection():
                    self._steps.append(_projection(step))

    def __call__(self, vectors: Array) -> Array:
        for step in self._steps:
            vectors = step(vectors)
        return vectors


def normalize(vectors: Array) -> Array:
    """Rows scaled to length 1; a zero row stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    result: Array = vectors / np.maximum(lengths, np.float32(1e-12))
    return result


def truncated(vectors: Array, size: int) -> Array:
    """The first `size` columns, all where there are no more."""
    return np.ascontiguousarray(vectors[:, :size])


def _projection(step: Projection) -> Callable[[Array], Array]:
    weights = Weights(step.path)
    matrix: NDArray[Any] = weights["linear.weight"].astype(np.float32)
    bias = weights.get("linear.bias")
    activation = ACTIVATIONS[step.activation.lower()]

    def apply(vectors: Array) -> Array:
        out: Array = vectors @ matrix.T
        if bias is not None:
            out += bias
        return activation(out)

    return apply
