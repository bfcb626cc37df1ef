"""Inference-free queries: word-pieces and their terms from a table, no network.

Formal et al. 2021 (SPLADE-doc, arXiv:2109.10086); Geng et al. 2024 (arXiv:2411.04403).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from indexes.types import TermVectors

from ..errors import UnsupportedModel
from .blend import check_width, mixed, read_map
from .layout import digest_of
from .models import QUERIES_DEFAULT, SPARSE_DEFAULT, ModelFolder, resolve
from .neighbours import (
    KEPT,
    Neighbours,
    keep_neighbours,
    kept_neighbours,
    log,
    make_neighbours,
    table_terms,
)
from .pruning import Pruning
from .sparse_layout import SparseLayout, Table, read_sparse, table_bytes
from .static_queries import StaticQueries, static_queries
from .terms import Terms, term_vectors
from .ternary import Ternary
from .tokenizer_files import tokenizer_bytes
from .tokenizing import Tokenizer
from .weights import Weights, read_json, sense

if TYPE_CHECKING:
    from .activations import Array
    from .sparse import SparseEncoder


WORTH_KEEPING = 5000  # tokens, from which on a table takes seconds to make


class TokenTable:
    """Weights of a vocabulary's tokens; a text's terms are its distinct tokens."""

    def __init__(self, table: Table) -> None:
        self.tokenizer = Tokenizer(table.path, table.max_tokens, table.lower)
        self._weights = read_table(table, self.tokenizer)

    def terms(self, texts: Sequence[str], prompt: str = "") -> list[Terms]:
        """Distinct tokens of each text, ids ascending; those of weight 0 or less are left out."""
        result = []
        for ids in self.tokenizer.words(texts, prompt):
            distinct = np.array(sorted(set(ids.tolist())), np.int32)
            weights = self._weights[distinct]
            result.append(Terms(distinct[weights > 0], weights[weights > 0]))
        return result


class LookupEncoder:
    """Queries by table lookup, documents by the model's masked-language head.

    The table is the model's own (OpenSearch's idf.json, sentence-transformers'
    SparseStaticEmbedding). For a model without one it is made once, of what the model makes of
    each word-piece alone (`neighbours.py`), and kept in the user's cache (the default model's comes
    with searchlib); its queries are to be weighted by the index's document frequencies, as the
    model's own are. A model's blend takes part where the dense model it needs has a table of
    query vectors: `static`, or the one that comes with searchlib (`static_queries.py`). `queries`:
    which terms of a query are kept. `device`: where the table is made.

    >>> LookupEncoder().encode_query(["lean times"]).row(0)  # doctest: +SKIP
    {'times': 3.1, 'lean': 3.0, 'recession': 0.9, ...}
    """

    def __init__(
        self,
        model: str | Path = SPARSE_DEFAULT,
        device: str | None = None,
        *,
        queries: Pruning = Pruning(),  # noqa: B008  frozen
        static: StaticQueries | None = None,
    ) -> None:
        self.name = str(model)
        self._offered = static
        self._device = device
        self._queries = queries

    def encode_query(self, texts: Sequence[str]) -> TermVectors:
        """Distinct word-pieces of each text with the table's weights."""
        if self.has_table:
            table = self._table
            found, tokenizer = table.terms(texts), table.tokenizer
        else:
            tokenizer = self.tokenizer
            found = self._blended(texts, table_terms(self._neighbours, tokenizer, texts))
        rows = [self._queries(row.ids, row.weights) for row in found]
        return term_vectors(rows, tokenizer.term)

    def encode_document(self, texts: Sequence[str]) -> TermVectors:
        """As `SparseEncoder.encode_document` of the same model."""
        return self._documents.encode_document(texts)

    @cached_property
    def folder(self) -> ModelFolder:
        """Where the model's files are."""
        return resolve(self.name)

    @cached_property
    def has_table(self) -> bool:
        """Whether the model brings weights for queries."""
        return self._source.weights != self._source.path or _static(self._source.path)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of table, tokenizer and settings, and of the model that makes the documents."""
        source = self._source
        table = table_bytes(source).hex() if self.has_table else f"neighbours {KEPT}"
        if not self.has_table and self._static is not None:
            table += self._static.fingerprint
        return digest_of(
            "lookup", table, tokenizer_bytes(source.path).hex(), self._documents.fingerprint
        )

    @cached_property
    def _documents(self) -> SparseEncoder:
        from .sparse import SparseEncoder

        return SparseEncoder(self.name, self._device)

    def _blended(self, texts: Sequence[str], found: list[Terms]) -> list[Terms]:
        """What the model's blend makes of the terms, by static vectors instead of dense ones."""
        layout, static = self._layout.blend, self._static
        if layout is None or static is None or not found:
            return found
        vectors = static.encode_query(texts)
        with sense(layout.path), np.errstate(over="ignore", invalid="ignore"):
            check_width(self._map, vectors)
            return mixed(found, vectors, self._map, layout.query_share, layout.extra_query_terms)

    @cached_property
    def _static(self) -> StaticQueries | None:
        """Queries' vectors for the model's blend; None where there is no blend, or no table."""
        blend, offered = self._layout.blend, self._offered
        if blend is None:
            return None
        if offered is not None and offered.dense == blend.dense:
            return offered
        return static_queries(QUERIES_DEFAULT, blend.dense)

    @cached_property
    def _map(self) -> Ternary:
        assert self._layout.blend is not None
        return read_map(self._layout.blend, self.tokenizer.size)

    @cached_property
    def _layout(self) -> SparseLayout:
        return read_sparse(self.folder.path)

    @cached_property
    def _source(self) -> Table:
        layout = self._layout
        if isinstance(layout.query, Table):
            return layout.query
        transformer = layout.query.transformer
        path = transformer.path
        return Table(path, path, transformer.max_tokens, transformer.lower)

    @cached_property
    def _table(self) -> TokenTable:
        return TokenTable(self._source)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """That of its queries."""
        source = self._source
        return Tokenizer(source.path, source.max_tokens, source.lower)

    @cached_property
    def _neighbours(self) -> Neighbours:
        if self.tokenizer.size < WORTH_KEEPING:
            return make_neighbours(self._documents.expander)
        digest = self._layout.plain().digest()
        table = kept_neighbours(digest, self.tokenizer)
        if table is None:
            log.warning("making the table of expansions of %s, once (some 15 s)", self.name)
            table = make_neighbours(self._documents.expander)
            keep_neighbours(digest, table)
        return table


def read_table(table: Table, tokenizer: Tokenizer) -> Array:
    """(vocabulary,) float32 weights of a model's own table. Raises UnsupportedModel."""
    if table.weights.is_file():
        try:
            return _from_json(table.weights, tokenizer)
        except (ValueError, TypeError):
            raise UnsupportedModel(f"{table.weights} is damaged; get the model anew") from None
    with sense(table.weights):
        own: Array = Weights(table.weights)["weight"].astype(np.float32)
    if own.ndim != 1 or len(own) < tokenizer.size:
        raise UnsupportedModel(
            f"{table.weights} has {own.shape} weights for {tokenizer.size} tokens"
        )
    return own


def _from_json(path: Path, tokenizer: Tokenizer) -> Array:
    weights = np.zeros(tokenizer.size, np.float32)
    for term, weight in read_json(path).items():
        id = tokenizer.id(term)
        if id is not None:
            weights[id] = float(weight)
    return weights


def _static(folder: Path) -> bool:
    """Whether a folder is a saved SparseStaticEmbedding."""
    config = folder / "config.json"
    return config.is_file() and "frozen" in read_json(config)
