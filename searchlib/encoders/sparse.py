"""Learned sparse encoders: a text is weighted terms of a vocabulary, its own and related ones.

SPLADE: Formal et al. 2021 (arXiv:2107.05720, arXiv:2109.10086).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexes.types import TermVectors

from .activations import Array
from .backbone import Backbone, allowed_tokens, threads
from .blas import one_blas_thread
from .heads import Head, Terms, heaviest_terms, lean_terms
from .layout import digest_of
from .lean import LeanEncoder
from .lookup import TokenTable
from .models import SPARSE_DEFAULT, ModelFolder, resolve
from .pruning import Pruning
from .sparse_layout import Expansion, SparseLayout, read_sparse
from .terms import term_vectors
from .tokenizing import Ids, Span, Tokenizer
from .weights import sense

if TYPE_CHECKING:
    from torch import Tensor

    from .network import Network


@dataclass(frozen=True)
class Provenance:
    """Term vectors, and for each value the characters of the word-piece that its term came from."""

    vectors: TermVectors
    spans: list[list[Span]]  # of row i: one a value, in order; (0, 0) for a special token


class SparseEncoder:
    """Texts to TermVectors, by any ...ForMaskedLM or sentence-transformers SparseEncoder folder.

    `model`, `device`, `max_tokens`: as for DenseEncoder. `documents`, `queries`: which terms are
    kept. `length_power`: a document's weights are divided by that power of their Euclidean
    length, so that long texts don't win by their many terms (0: not at all; pivoted length
    normalisation, Singhal et al. 1996, is of that kind). Making an encoder reads nothing; torch
    is loaded when there is more to encode than a few queries. A model with a table for queries
    (inference-free) uses it.

    Raises ModelNotFound, UnsupportedModel at first use.

    >>> SparseEncoder().encode_query(["lean times"]).row(0)  # doctest: +SKIP
    {'times': 1.9, 'lean': 2.4, 'recession': 0.6, ...}
    """

    def __init__(
        self,
        model: str | Path = SPARSE_DEFAULT,
        device: str | None = None,
        max_tokens: int | None = None,
        documents: Pruning = Pruning(),  # noqa: B008  frozen
        queries: Pruning = Pruning(),  # noqa: B008
        *,
        length_power: float = 0.0,
    ) -> None:
        self.name = str(model)
        self._length_power = length_power
        self._device = device
        self._max_tokens = max_tokens
        self._documents = documents
        self._queries = queries

    def encode_document(self, texts: Sequence[str]) -> TermVectors:
        """One row a text: weights > 0 of the model's vocabulary; a text may have no terms."""
        rows = self._rows(texts, query=False)
        return term_vectors(rows, self.tokenizer.term)

    def encode_query(self, texts: Sequence[str]) -> TermVectors:
        """One row a text, with the model's way for queries."""
        rows = self._rows(texts, query=True)
        return term_vectors(rows, self.tokenizer.term)

    def encode_with_provenance(self, texts: Sequence[str]) -> Provenance:
        """Documents, and which word-piece made each term (the position of its largest logit)."""
        prompt = self._layout.document_prompt
        keep = self._pruning(query=False)
        rows, spans = [], []
        found = self._document_side.terms(texts, prompt, positions=True)
        for text, terms in zip(texts, found, strict=True):
            ids, weights = keep(terms.ids, terms.weights)
            weights = shortened(weights, self._length_power)
            assert terms.positions is not None
            positions = terms.positions[np.searchsorted(terms.ids, ids)]
            places = self.tokenizer.spans(text, prompt)
            rows.append((ids, weights))
            spans.append([places[position] for position in positions.tolist()])
        return Provenance(term_vectors(rows, self.tokenizer.term), spans)

    def offsets(self, text: str) -> list[Span]:
        """Character spans of the word-pieces of `text`, uncut, without special tokens."""
        return self.tokenizer.offsets(text)

    def own_terms(self, text: str) -> frozenset[str]:
        """The vocabulary's terms that `text` itself consists of; all others are expansion."""
        return self.tokenizer.own_terms(text)

    @property
    def special_tokens_count(self) -> int:
        """How many of `max_tokens` go to special tokens, and to a document's prompt."""
        return self.tokenizer.overhead(self._layout.document_prompt)

    @cached_property
    def folder(self) -> ModelFolder:
        """Where the model's files are."""
        return resolve(self.name)

    @cached_property
    def max_tokens(self) -> int:
        """Tokens a text is cut to, special ones included."""
        limit = self._layout.document.transformer.max_tokens
        return allowed_tokens(self._max_tokens, limit, self.name)

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        return self._document_side.tokenizer

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights, tokenizer and settings: equal fingerprints mean equal documents.

        How queries are pruned is left out: an index stays valid when that changes.
        """
        documents = self._documents.to_json()
        parts = ["sparse", self._layout.digest(), self.max_tokens, documents]
        if self._length_power:
            parts.append(self._length_power)
        return digest_of(*parts)

    @property
    def settings(self) -> dict[str, Any]:
        """What makes this encoder again: JSON values."""
        return {
            "model": self.name,
            "max_tokens": self._max_tokens,
            "documents": self._documents.to_json(),
            "queries": self._queries.to_json(),
            "length_power": self._length_power,
        }

    @cached_property
    def _layout(self) -> SparseLayout:
        return read_sparse(self.folder.path)

    @cached_property
    def _document_side(self) -> Expander:
        return Expander(self._layout.document, self.max_tokens, self._device)

    @property
    def expander(self) -> Expander:
        """What makes documents."""
        return self._document_side

    @cached_property
    def _query_side(self) -> Expander | TokenTable:
        side = self._layout.query
        if side == self._layout.document:
            return self._document_side
        if isinstance(side, Expansion):
            limit = min(self.max_tokens, side.transformer.max_tokens)
            return Expander(side, limit, self._device)
        return TokenTable(side)

    def _pruning(self, query: bool) -> Pruning:
        """The user's pruning, and the model's own largest number of terms."""
        chosen = self._queries if query else self._documents
        limits = [k for k in (chosen.top_k, self._layout.max_active) if k is not None]
        return replace(chosen, top_k=min(limits)) if limits else chosen

    def _rows(self, texts: Sequence[str], query: bool) -> list[Any]:
        layout = self._layout
        keep = self._pruning(query)
        if query:
            found = self._query_side.terms(texts, layout.query_prompt)
        else:
            found = self._document_side.terms(texts, layout.document_prompt)
        with sense(self.folder.path):
            if not all(np.isfinite(terms.weights).all() for terms in found):
                raise ValueError("it makes weights that are not numbers")
        rows = [keep(terms.ids, terms.weights) for terms in found]
        if query:
            return rows
        return [(ids, shortened(weights, self._length_power)) for ids, weights in rows]


def shortened(weights: NDArray[np.float32], power: float) -> NDArray[np.float32]:
    """Weights (m,) divided by their Euclidean length to that power.

    >>> shortened(np.array([3, 4], np.float32), 1.0)
    array([0.6, 0.8], dtype=float32)
    """
    if not power or not len(weights):
        return weights
    # subtle: in float64, so that the length is the same however a processor adds
    length = math.sqrt(float(np.square(weights, dtype=np.float64).sum()))
    return weights / np.float32(length**power)


_TOGETHER = 256  # short texts that share a product with the vocabulary's weights


class Expander:
    """One masked-language model: texts to Terms."""

    def __init__(self, side: Expansion, max_tokens: int, device: str | None) -> None:
        self._side = side
        self._backbone = Backbone(side.transformer, "masked", max_tokens, device)
        self._heads: dict[int, Head] = {}  # one a worker, on its device
        self.tokenizer = self._backbone.tokenizer

    def terms(self, texts: Sequence[str], prompt: str, positions: bool = False) -> list[Terms]:
        """Terms of each text; with `positions`, the winning token's place for each."""
        found = self._backbone.run(texts, prompt, *self._ways(positions))
        return self._kept(found)

    def heaviest(self, tokens: list[Ids], k: int) -> list[Terms]:
        """The k heaviest terms of each of many texts of one length, given as token ids.

        Short texts one by one would read the whole vocabulary's weights each; here some hundred
        share a product.
        """
        decoders: list[tuple[Array, Array]] = []  # the first is enough

        def lean(encoder: LeanEncoder, ids: Ids) -> Array:
            if not decoders:
                decoders.append(encoder.decoder)
            return encoder.projected(ids)

        def full(network: Network, worker: int, hidden: Tensor, lengths: list[int]) -> list[Array]:
            if not decoders:
                weight, bias = network.decoder(worker)
                zero = np.zeros(len(weight), np.float32)
                shift = zero if bias is None else bias.float().cpu().numpy()
                decoders.append((weight.float().cpu().numpy(), shift))
            return list(hidden.float().cpu().numpy())

        rows = np.stack(self._backbone.run_tokens(tokens, lean, full))
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
        Callable[[LeanEncoder, Ids], Terms],
        Callable[[Network, int, Tensor, list[int]], list[Terms]],
    ]:
        """What makes terms of hidden rows, in numpy and in torch."""
        side = self._side

        def lean(encoder: LeanEncoder, ids: Ids) -> Terms:
            hidden = encoder.projected(ids)
            return lean_terms(hidden, encoder.decoder, side.pooling, side.logs, positions)

        def full(network: Network, worker: int, hidden: Tensor, lengths: list[int]) -> list[Terms]:
            if worker not in self._heads:
                weight, bias = network.decoder(worker)
                self._heads[worker] = Head(weight, bias, side.pooling, side.logs)
            return self._heads[worker](hidden, lengths, positions)

        return lean, full

    def _kept(self, found: list[Terms]) -> list[Terms]:
        if not self._side.drop_special:
            return found
        return [self._without_special(terms) for terms in found]

    def _without_special(self, terms: Terms) -> Terms:
        keep = ~np.isin(terms.ids, self.tokenizer.special_ids)
        positions = None if terms.positions is None else terms.positions[keep]
        return Terms(terms.ids[keep], terms.weights[keep], positions)
