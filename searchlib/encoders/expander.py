"""A masked-language model at work: texts to terms of its vocabulary and their weights."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from .activations import Array
from .backbone import Backbone, threads
from .blas import one_blas_thread
from .heads import Head, heaviest_terms, largest_terms, pooled_terms
from .lean import LeanEncoder
from .sparse_layout import Expansion
from .terms import Terms
from .tokenizing import Ids

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .network import Network

NOTHING = Terms(np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.int32))
"""What a text of no tokens says."""
_TOGETHER = 256  # short texts that share a product with the vocabulary's weights


class Expander:
    """One masked-language model: texts to Terms."""

    def __init__(self, side: Expansion, max_tokens: int, device: str | None) -> None:
        self._side = side
        self._backbone = Backbone(side.transformer, "masked", max_tokens, device)
        self._heads: dict[torch.device, Head] = {}
        self._making = threading.Lock()
        self.tokenizer = self._backbone.tokenizer

    def terms(self, texts: Sequence[str], prompt: str, positions: bool = False) -> list[Terms]:
        """Terms of each text; with `positions`, the winning token's place for each."""
        found = self._backbone.run(texts, prompt, *self._ways(positions))
        return self._kept([NOTHING if terms is None else terms for terms in found])

    @property
    def vocabulary(self) -> int:
        """How many of the tokenizer's tokens the model knows."""
        return self._backbone.vocabulary

    def heaviest(self, tokens: list[Ids], k: int) -> list[Terms]:
        """The k heaviest terms of each of many texts of one length > 0, given as token ids.

        Short texts one by one would read the whole vocabulary's weights each; here some hundred
        share a product.
        """
        decoders: list[tuple[Array, Array]] = []  # the first is enough

        def lean(encoder: LeanEncoder, some: Sequence[Ids], workers: int) -> list[Array]:
            if not decoders:
                decoders.append(encoder.decoder)
            return encoder.projected(some, workers)

        def full(network: Network, worker: int, hidden: Tensor, lengths: list[int]) -> list[Array]:
            if not decoders:
                weight, bias = network.decoder(worker)
                zero = np.zeros(len(weight), np.float32)
                shift = zero if bias is None else bias.float().cpu().numpy()
                decoders.append((weight.float().cpu().numpy(), shift))
            return list(hidden.float().cpu().numpy())

        states = self._backbone.run_tokens(tokens, lean, full)
        rows = np.stack([row for row in states if row is not None])
        pooling, logs = self._side.pooling, self._side.logs
        blocks = [rows[start : start + _TOGETHER] for start in range(0, len(rows), _TOGETHER)]
        with one_blas_thread(), ThreadPoolExecutor(threads()) as pool:
            work = pool.map(
                lambda block: heaviest_terms(block, decoders[0], pooling, logs, k), blocks
            )
            return self._kept([terms for found in work for terms in found])

    def _ways(
        self, positions: bool
    ) -> tuple[
        Callable[[LeanEncoder, Sequence[Ids], int], list[Terms]],
        Callable[[Network, int, Tensor, list[int]], list[Terms]],
    ]:
        """What makes terms of hidden rows, in numpy and in torch."""
        side = self._side

        def lean(encoder: LeanEncoder, some: Sequence[Ids], workers: int) -> list[Terms]:
            hidden = encoder.projected(some, workers)
            if positions or side.pooling == "sum":
                return [
                    pooled_terms(rows, encoder.decoder, side.pooling, side.logs, positions)
                    for rows in hidden
                ]
            return largest_terms(hidden, encoder.positive_logits, side.logs, workers)

        def full(network: Network, worker: int, hidden: Tensor, lengths: list[int]) -> list[Terms]:
            weight, bias = network.decoder(worker)
            with self._making:  # one for all workers of a device: it holds a copy in bytes
                head = self._heads.get(weight.device)
                if head is None:
                    head = Head(weight, bias, side.pooling, side.logs)
                    self._heads[weight.device] = head
            return head(hidden, lengths, positions)

        return lean, full

    def _kept(self, found: list[Terms]) -> list[Terms]:
        if not self._side.drop_special:
            return found
        return [self._without_special(terms) for terms in found]

    def _without_special(self, terms: Terms) -> Terms:
        keep = ~np.isin(terms.ids, self.tokenizer.special_ids)
        positions = None if terms.positions is None else terms.positions[keep]
        return Terms(terms.ids[keep], terms.weights[keep], positions)
