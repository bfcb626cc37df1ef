"""The sparse head: pooled vocabulary logits of a text without ever holding [tokens, vocabulary].

log1p and relu are monotone, so a term's weight max_t log1p(relu(h_t . w + b)) is found from the
largest raw logit, and the activation is applied once. On a CPU `native` finds it without writing
logits, and computes few that are not above 0; elsewhere the vocabulary is cut into tiles whose
logits stay in a core's second-level cache. Formal et al. 2021 (arXiv:2109.10086), eq. 2 and 4.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .activations import Array
from .lean import Linear
from .native import PositiveLogits, best_kernel, tile_columns
from .terms import Terms

if TYPE_CHECKING:
    from torch import Tensor

_TILE = 1 << 18  # logits a tile on a CPU: 1 MiB, half of a core's L2
_TILE_GPU = 1 << 26


class Head:
    """Max (or sum) over tokens of `logs` times log1p of relu(hidden @ weight.T + bias).

    For torch: `weight` (V, dim), `bias` (V,) on any device. May be used by several threads.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, pooling: str, logs: int) -> None:
        self._weight = weight
        self._bias = bias
        self._sum = pooling == "sum"
        self._logs = logs
        self._cpu = weight.device.type == "cpu"
        self._logits_above = None
        if self._cpu and not self._sum and (kernel := best_kernel()) is not None:
            rows = weight.numpy()
            shift = np.zeros(len(rows), np.float32) if bias is None else bias.numpy()
            self._logits_above = PositiveLogits(rows, shift, kernel)
        self._own = threading.local()  # a thread's buffer of logits

    def __call__(
        self, hidden: Tensor, lengths: Sequence[int], positions: bool = False
    ) -> list[Terms]:
        """Terms of each row of `hidden` (B, T, dim), padded from `lengths` on."""
        if self._cpu:  # a text at a time: no padding, and the tile stays in the cache
            texts = [hidden[row : row + 1, :length] for row, length in enumerate(lengths)]
        else:
            texts = [hidden]
        result = []
        for text in texts:
            if self._logits_above is not None and not positions:
                [logits] = self._logits_above([text[0].numpy()])
                result.append(_positive(logits, self._logs))
                continue
            sizes = lengths if text is hidden else [text.shape[1]]
            result += self._pool(text, sizes, positions)
        return result

    def _pool(self, hidden: Tensor, lengths: Sequence[int], positions: bool) -> list[Terms]:
        import torch

        count, longest, _ = hidden.shape
        places = torch.arange(longest, device=hidden.device)
        padded = places >= torch.tensor(lengths, device=hidden.device).unsqueeze(1)  # (B, T)
        if not self._cpu:  # a copy of the first token at padded places can't change a maximum
            hidden = torch.where(padded.unsqueeze(2), hidden[:, :1], hidden)
        flat = hidden.reshape(count * longest, -1).to(self._weight.dtype)
        vocabulary = self._weight.shape[0]
        tile = tile_columns(_TILE if self._cpu else _TILE_GPU, count * longest)
        pooled = torch.empty((count, vocabulary), device=hidden.device)
        winner = torch.empty_like(pooled, dtype=torch.int64) if positions else None
        for start in range(0, vocabulary, tile):
            stop = min(start + tile, vocabulary)
            logits = self._logits(flat, start, stop).view(count, longest, stop - start)
            if self._sum:
                logits = self._activate(self._biased(logits.float(), start, stop))
                logits.masked_fill_(padded.unsqueeze(2), 0)
                pooled[:, start:stop] = logits.sum(dim=1)
            if winner is not None:
                best = logits.max(dim=1)
                winner[:, start:stop] = best.indices
                if not self._sum:
                    pooled[:, start:stop] = best.values
            elif self._cpu and not self._sum:
                torch.amax(logits, dim=1, out=pooled[:, start:stop])
            elif not self._sum:
                pooled[:, start:stop] = logits.amax(dim=1)
        if not self._sum:
            pooled = self._biased(pooled, 0, vocabulary)
        return self._sparse(pooled, winner)

    def _logits(self, rows: Tensor, start: int, stop: int) -> Tensor:
        """(n, stop - start) raw logits without bias; the CPU's buffer is written anew each time."""
        import torch

        weight = self._weight[start:stop].T
        if not self._cpu:
            return rows @ weight
        size = len(rows) * (stop - start)
        buffer: Tensor | None = getattr(self._own, "buffer", None)
        if buffer is None or buffer.numel() < size:
            buffer = self._own.buffer = torch.empty(size)
        out = buffer[:size].view(len(rows), stop - start)
        return torch.mm(rows, weight, out=out)

    def _biased(self, logits: Tensor, start: int, stop: int) -> Tensor:
        return logits if self._bias is None else logits.add_(self._bias[start:stop])

    def _activate(self, logits: Tensor) -> Tensor:
        logits = logits.relu_()
        for _ in range(self._logs):
            logits = logits.log1p_()
        return logits

    def _sparse(self, pooled: Tensor, winner: Tensor | None) -> list[Terms]:
        rows, ids = (pooled > 0).nonzero(as_tuple=True)
        values = pooled[rows, ids]
        if not self._sum:
            values = self._activate(values)
        won = None if winner is None else winner[rows, ids].int().cpu().numpy()
        counts = np.bincount(rows.cpu().numpy(), minlength=len(pooled))
        ends = np.cumsum(counts)
        columns, weights = ids.int().cpu().numpy(), values.cpu().numpy()
        return [
            Terms(
                columns[end - n : end],
                weights[end - n : end],
                None if won is None else won[end - n : end],
            )
            for n, end in zip(counts.tolist(), ends.tolist(), strict=True)
        ]


def largest_terms(
    hidden: Sequence[Array], logits: PositiveLogits, logs: int, workers: int
) -> list[Terms]:
    """As `Head` with pooling "max", without torch, for some texts' hidden rows (T, dim)."""
    return [_positive(found, logs) for found in logits(hidden, workers)]


def pooled_terms(hidden: Array, decoder: Linear, pooling: str, logs: int, positions: bool) -> Terms:
    """As `Head`, without torch, for one text's hidden rows (T, dim)."""
    weight, bias = decoder
    vocabulary = len(weight)
    tile = tile_columns(_TILE * 4, len(hidden))
    pooled = np.empty(vocabulary, np.float32)
    winner = np.empty(vocabulary, np.int32) if positions else None
    for start in range(0, vocabulary, tile):
        part = slice(start, min(start + tile, vocabulary))
        logits = hidden @ weight[part].T
        if winner is not None:
            winner[part] = logits.argmax(axis=0)
        if pooling == "sum":
            pooled[part] = _activated(logits + bias[part], logs).sum(axis=0)
        else:
            pooled[part] = logits.max(axis=0) + bias[part]
    found = _positive(pooled, 0 if pooling == "sum" else logs)
    return found if winner is None else Terms(found.ids, found.weights, winner[found.ids])


def heaviest_terms(hidden: Array, decoder: Linear, pooling: str, logs: int, k: int) -> list[Terms]:
    """The k heaviest terms of each of n short texts of one length, `hidden` (n, T, dim)."""
    weight, bias = decoder
    count, longest, dim = hidden.shape
    logits = (hidden.reshape(-1, dim) @ weight.T).reshape(count, longest, -1)
    if pooling == "sum":
        pooled, logs = _activated(logits + bias, logs).sum(axis=1), 0
    else:
        pooled = logits[:, 0] + bias
        for place in range(1, longest):
            np.maximum(pooled, logits[:, place] + bias, out=pooled)
    vocabulary = pooled.shape[1]
    best = np.argpartition(pooled, vocabulary - min(k, vocabulary), axis=1)[:, -k:]
    found = []
    for row, columns in zip(pooled, np.sort(best, axis=1).astype(np.int32), strict=True):
        ids = columns[row[columns] > 0]
        found.append(Terms(ids, _activated(row[ids], logs)))
    return found


def _positive(pooled: Array, logs: int) -> Terms:
    """The pooled logits above 0, with `logs` times log1p applied."""
    ids = np.flatnonzero(pooled > 0).astype(np.int32)
    return Terms(ids, _activated(pooled[ids], logs))


def _activated(logits: Array, logs: int) -> Array:
    result: Array = np.maximum(logits, np.float32(0))
    for _ in range(logs):
        result = np.log1p(result)
    return result
