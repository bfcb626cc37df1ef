"""Learned sparse encoders: a text is weighted terms of a vocabulary, its own and related ones.

SPLADE: Formal et al. 2021 (arXiv:2107.05720, arXiv:2109.10086).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from indexes.types import TermVectors

from .activations import Array
from .backbone import allowed_tokens
from .blend import Blend, stored_terms
from .expander import Expander
from .gains import gained, read_gains
from .layout import digest_of
from .lookup import TokenTable
from .models import SPARSE_DEFAULT, ModelFolder, resolve
from .pruning import Pruning, shortened
from .sparse_layout import Expansion, SparseLayout, read_sparse
from .terms import term_vectors
from .tokenizing import Span, Tokenizer
from .weights import sense


@dataclass(frozen=True)
class Provenance:
    """Term vectors, and for each value the characters of the word-piece that its term came from."""

    vectors: TermVectors
    spans: list[list[Span]]  # of row i: one a value, in order; (0, 0) where there is none


class SparseEncoder:
    """Texts to TermVectors, by any ...ForMaskedLM or sentence-transformers SparseEncoder folder.

    `model`, `device`, `max_tokens`: as for DenseEncoder. `documents`, `queries`: which terms are
    kept. `length_power`: a document's weights are divided by that power of their Euclidean
    length, so that long texts don't win by their many terms (0: not at all; pivoted length
    normalisation, Singhal et al. 1996, is of that kind). Making an encoder reads nothing; torch
    is loaded when there is more to encode than a few queries. A model with a table for queries
    (inference-free) uses it. One with a blend (see `blend`) runs a dense model too: `dense` gives
    one that is there already.

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
        dense: Callable[[], object] | None = None,
    ) -> None:
        self.name = str(model)
        self._length_power = length_power
        self._device = device
        self._max_tokens = max_tokens
        self._documents = documents
        self._queries = queries
        self._dense = dense

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
        found = self.blend(texts, found, query=False) if self.blend else found
        for text, terms in zip(texts, found, strict=True):
            ids, weights = keep(terms.ids, terms.weights)
            weights = shortened(weights, self._length_power)
            assert terms.positions is not None
            positions = terms.positions[np.searchsorted(terms.ids, ids)]
            places = self.tokenizer.spans(text, prompt)
            rows.append((ids, weights))
            spans.append([places[p] if p >= 0 else (0, 0) for p in positions.tolist()])
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

    @property
    def room(self) -> int:
        """How many of a document's own tokens are read, by the blend's dense model too."""
        own = self.max_tokens - self.special_tokens_count
        return own if self.blend is None else min(own, self.blend.room)

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

        How queries are pruned, and factors of their terms, are left out: an index stays valid when
        these change.
        """
        parts = self._parts(self._layout)
        return digest_of(*parts, self.blend.fingerprint) if self.blend else digest_of(*parts)

    @cached_property
    def plain_fingerprint(self) -> str | None:
        """Of the same model without its blend, where that one's documents can be blended.

        None where there is no blend, or they are pruned, or without their length.
        """
        whole = self._length_power < 1 and self._pruning(query=False) == Pruning()
        return digest_of(*self._parts(self._layout.plain())) if self.blend and whole else None

    def _parts(self, layout: SparseLayout) -> list[Any]:
        parts = ["sparse", layout.digest(), self.max_tokens, self._documents.to_json()]
        return [*parts, self._length_power] if self._length_power else parts

    @cached_property
    def _layout(self) -> SparseLayout:
        return read_sparse(self.folder.path)

    @cached_property
    def _document_side(self) -> Expander:
        return Expander(self._layout.document, self.max_tokens, self._device)

    @cached_property
    def gains(self) -> Array | None:
        """Factors (V,) of a query's terms; None for a model without."""
        folder = self._layout.gains
        return None if folder is None else read_gains(folder)

    @cached_property
    def blend(self) -> Blend | None:
        """What adds a dense model's terms; None for a plain model."""
        layout = self._layout.blend
        if layout is None:
            return None
        return Blend(layout, self.tokenizer.size, self._device, self._max_tokens, self._dense)

    def blended(self, documents: TermVectors, vectors: Array) -> TermVectors | None:
        """Documents as the model of `plain_fingerprint` made them, with their dense vectors.

        What `encode_document` gives, but for rounding; None where a term is unknown.
        """
        ids = [self.tokenizer.id(term) for term in documents.terms]
        if self.blend is None or None in ids:
            return None
        found = stored_terms(documents, np.array(ids, np.int32), self._length_power)
        rows = [(t.ids, t.weights) for t in self.blend.of_vectors(vectors, found, query=False)]
        made = [(ids, shortened(weights, self._length_power)) for ids, weights in rows]
        return term_vectors(made, self.tokenizer.term)

    def plain(self, model: str) -> SparseEncoder:
        """The model which this one blends, called `model`, with these settings."""
        made = SparseEncoder(
            model, self._device, self.max_tokens, self._documents, self._queries,
            length_power=self._length_power,
        )  # fmt: skip
        made._layout = self._layout.plain()  # subtle: a folder may blend the model in it
        return made

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
        found = self.blend(texts, found, query) if self.blend else found
        if query and self.gains is not None:
            with sense(self.folder.path):
                found = gained(found, self.gains)
        rows = [keep(terms.ids, terms.weights) for terms in found]
        if query:
            return rows
        return [(ids, shortened(weights, self._length_power)) for ids, weights in rows]
