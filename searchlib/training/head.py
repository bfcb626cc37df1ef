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

from ..encoders.native import PositiveLogits, best_kernel

_TILE = 1 << 27  # logits at a time on a GPU


def winners(rows: Tensor, weight: Tensor, logits: PositiveLogits) -> tuple[Tensor, Tensor]:
    """The active terms of a text (m,) and the token (m,) whose logit is each one's largest.

    `rows` (T, D) of one text, `weight` (V, D), `logits`: of that weight; a term is active where
    its largest logit is above 0. On the CPU, without gradient.
    """
    rows, weight = rows.detach(), weight.detach()
    [found] = logits([rows.numpy()])
    terms = torch.from_numpy(np.flatnonzero(found > 0))
    return terms, (rows @ weight[terms].T).argmax(dim=0)


def winners_together(rows: Rows, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of all texts: (text, term, place in `rows.flat`), each (m,); as `winners`, in a few steps.

    For GPUs, where many small steps cost more than padding does.
    """
    flat, weight, bias = rows.flat.detach(), weight.detach(), bias.detach()
    starts, lengths = (
        torch.tensor(some, device=flat.device) for some in (rows.starts, rows.lengths)
    )
    longest = max(rows.lengths)
    # subtle: a text's last token at padded places can't change a maximum
    places = torch.arange(longest, device=flat.device).unsqueeze(0)
    places = starts.unsqueeze(1) + torch.minimum(places, lengths.unsqueeze(1) - 1)
    padded = flat[places].reshape(-1, flat.shape[1])
    tile = max(1, _TILE // len(padded))
    found = []
    for start in range(0, len(weight), tile):
        part = slice(start, start + tile)
        best = (padded @ weight[part].T).view(len(rows), longest, -1).max(dim=1)
        texts, terms = torch.nonzero(best.values + bias[part] > 0, as_tuple=True)
        found.append((texts, terms + start, places[texts, best.indices[texts, terms]]))
    texts, terms, tokens = (torch.cat(parts) for parts in zip(*found, strict=True))
    return texts, terms, tokens


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
    if rows.flat.device.type == "cpu":
        owners, columns, tokens = _winners_one_by_one(rows, weight, bias)
    else:
        with torch.no_grad():
            owners, columns, tokens = winners_together(rows, weight, bias)
    # subtle: the gradient of `embedding` is summed many times as fast as that of indexing
    chosen = functional.embedding(tokens, rows.flat) * functional.embedding(columns, weight)
    logits = chosen.sum(dim=1) + bias.index_select(0, columns)
    out = logits.new_zeros(len(rows), len(weight))
    # subtle: rounding may differ from the kernel's, so that a winner is a little below 0 here
    return out.index_put((owners, columns), torch.log1p(torch.relu(logits)))


def _winners_one_by_one(rows: Rows, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    logits = PositiveLogits(weight.detach().numpy(), bias.detach().numpy(), best_kernel())
    with torch.no_grad(), ThreadPoolExecutor(torch.get_num_threads()) as pool:
        # the kernel uses one core a text
        found = list(pool.map(lambda i: winners(rows.of(i), weight, logits), range(len(rows))))
    columns = torch.cat([terms for terms, _ in found])
    tokens = torch.cat([at + start for (_, at), start in zip(found, rows.starts, strict=True)])
    owners = torch.cat([torch.full_like(terms, i) for i, (terms, _) in enumerate(found)])
    return owners, columns, tokens
