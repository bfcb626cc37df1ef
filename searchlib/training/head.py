"""The sparse head with a gradient, at hardly more than the price of the head without one.

Max pooling lets a gradient through at the winning token of each active term alone (Sparton,
arXiv:2603.25011, makes the same use of it). So the winners are found without a graph, by the
kernel that encodes, and only their few hundred logits a text are computed once more with one.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..encoders.native import best_kernel, largest_logits

_TILE = 1 << 25  # logits at a time on a GPU


def winners(rows: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """The active terms of a text (m,) and the token (m,) whose logit is each one's largest.

    `rows` (T, D) of one text, `weight` (V, D), `bias` (V,); a term is active where its largest
    logit is above 0. No gradient.
    """
    rows, weight, bias = rows.detach(), weight.detach(), bias.detach()
    if rows.device.type == "cpu":
        found = largest_logits(rows.numpy(), weight.numpy(), best_kernel())
        terms = torch.from_numpy(np.flatnonzero(found + bias.numpy() > 0))
        return terms, (rows @ weight[terms].T).argmax(dim=0)
    tile = max(1, _TILE // len(rows))
    best = [
        (rows @ weight[start : start + tile].T).max(dim=0) for start in range(0, len(weight), tile)
    ]
    values = torch.cat([some.values for some in best])
    places = torch.cat([some.indices for some in best])
    terms = torch.nonzero(values.float() + bias > 0).squeeze(1)
    return terms, places[terms]


@dataclass(frozen=True)
class Rows:
    """The tokens' hidden rows of texts: text i has `lengths[i]` of them from `starts[i]` on."""

    flat: Tensor  # (N, D), padding included
    starts: list[int]
    lengths: list[int]

    def __len__(self) -> int:
        return len(self.starts)

    def of(self, text: int) -> Tensor:
        """(T, D) of one text."""
        return self.flat[self.starts[text] : self.starts[text] + self.lengths[text]]


def pooled(rows: Rows, weight: Tensor, bias: Tensor) -> Tensor:
    """(n, V) log1p(relu(max over tokens of row . weight + bias)) of n texts.

    Formal et al. 2021 (arXiv:2109.10086), eq. 2 and 4; a gradient reaches rows, weight and bias.
    """
    with torch.no_grad(), ThreadPoolExecutor(torch.get_num_threads()) as pool:
        # the kernel uses one core a text
        found = list(pool.map(lambda i: winners(rows.of(i), weight, bias), range(len(rows))))
    columns = torch.cat([terms for terms, _ in found])
    tokens = torch.cat([at + start for (_, at), start in zip(found, rows.starts, strict=True)])
    owners = torch.cat([torch.full_like(terms, i) for i, (terms, _) in enumerate(found)])
    # subtle: the gradient of `embedding` is summed many times as fast as that of indexing
    chosen = functional.embedding(tokens, rows.flat) * functional.embedding(columns, weight)
    logits = chosen.sum(dim=1) + bias.index_select(0, columns)
    out = logits.new_zeros(len(rows), len(weight))
    # subtle: rounding may differ from the kernel's, so that a winner is a little below 0 here
    return out.index_put((owners, columns), torch.log1p(torch.relu(logits)))
