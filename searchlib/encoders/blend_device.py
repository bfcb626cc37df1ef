"""Blends of many texts at once on a GPU: what `blend.blended` does of one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .activations import Array
from .terms import Terms
from .ternary import Ternary

TOGETHER = 256  # texts: each of 30,522 terms takes some 3 MB while it is sorted


class DeviceMap:
    """A map to the vocabulary on a GPU, (m, V) float32."""

    def __init__(self, map: Ternary, device: torch.device) -> None:
        self._matrix = torch.from_numpy(map.matrix()).to(device)

    def predicted(self, rows: Array) -> Tensor:
        """relu(rows @ map), (n, V), of `blend.inputs`."""
        # subtle: not by TF32, whatever the process has chosen: it has 3 digits
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = False
        try:
            return (torch.from_numpy(rows).to(self._matrix.device) @ self._matrix).relu_()
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before


def blended_rows(
    found: Sequence[Terms], predictions: Tensor, share: float, extra: int
) -> list[Terms]:
    """As `blend.blended`, of each text with its row of `predictions` (n, V); without positions.

    Raises ValueError where there are weights that are not finite.
    """
    device = predictions.device
    counts = np.array([len(terms.ids) for terms in found])
    owners = torch.from_numpy(np.repeat(np.arange(len(found)), counts)).to(device)
    ids = torch.from_numpy(np.concatenate([terms.ids for terms in found])).to(device).long()
    weights = torch.from_numpy(np.concatenate([terms.weights for terms in found])).to(device)
    squares = torch.zeros(len(found), dtype=torch.float64, device=device)
    lengths = squares.index_add_(0, owners, weights.double().square()).sqrt()
    reaches = torch.linalg.vector_norm(predictions, dim=1, dtype=torch.float64)
    if not bool((lengths.isfinite() & reaches.isfinite()).all()):
        raise ValueError("it makes weights that are not numbers")
    # a vocabulary may have more columns than the tokenizer's, which the map is of
    beyond = int(ids.max()) + 1 - predictions.shape[1] if len(ids) else 0
    if beyond > 0:
        predictions = torch.nn.functional.pad(predictions, (0, beyond))
    scales = torch.where(reaches > 0, share * lengths / reaches, 0).float()
    mixed = predictions * scales.unsqueeze(1)
    mixed.index_put_((owners, ids), weights * np.float32(1 - share).item(), accumulate=True)
    wanted = torch.from_numpy(np.where(counts, counts + extra, 0)).to(device)
    most = min(int(wanted.max()), mixed.shape[1])
    # subtle: a stable sort, so that of equal weights the first by id stay
    order = mixed.sort(dim=1, descending=True, stable=True).indices[:, :most]
    keep = torch.zeros_like(mixed, dtype=torch.bool)
    places = torch.arange(most, device=device)
    keep.scatter_(1, order, places < wanted.unsqueeze(1))
    rows, columns = (keep & (mixed > 0)).nonzero(as_tuple=True)
    values = mixed[rows, columns].cpu().numpy()
    kept = columns.int().cpu().numpy()
    ends = np.searchsorted(rows.cpu().numpy(), np.arange(len(found) + 1))
    return [
        Terms(kept[start:end], values[start:end])
        for start, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)
    ]
