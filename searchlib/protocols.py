"""The ports: the smallest interfaces that encoders and retrievers meet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .types import Document, Explanation, Passage, Ranking, TermVectors, Unit

Vectors = TermVectors | NDArray[np.float32]
"""What an encoder returns for n texts: `TermVectors` of n rows, or float32 (n, dim)."""


class Encoder(Protocol):
    """Turns texts into vectors, documents one way and queries maybe another."""

    @property
    def fingerprint(self) -> str:
        """Hash of weights, tokenizer and settings: equal fingerprints mean equal vectors."""
        ...

    def encode_document(self, texts: Sequence[str]) -> Vectors: ...

    def encode_query(self, texts: Sequence[str]) -> Vectors: ...


class Retriever(Protocol):
    """Whatever returns rankings: a field of an index, a fusion, a remote engine."""

    def search(
        self, queries: Sequence[str], k: int, where: str | None = None, unit: Unit = "document"
    ) -> list[Ranking]:
        """One ranking a query, at most k long; `where` is a filter applied before top-k."""
        ...

    def explain(self, query: str, id: str, where: str | None = None) -> Explanation:
        """Why document (or passage "id#n") `id` has the score it has for `query`."""
        ...


class Reranker(Protocol):
    """Reads a query and a text together, and says how well the text answers."""

    @property
    def name(self) -> str: ...

    def score(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """How relevant each text is, (n,): larger is better, on a scale of its own."""
        ...


class Splitter(Protocol):
    """Cuts a document into the passages that are encoded; at least one."""

    def __call__(self, document: Document) -> list[Passage]: ...


class Progress(Protocol):
    """Receives how far a long work has come: `done` of `total` (None: unknown) units."""

    def __call__(self, done: int, total: int | None, note: str = "") -> Any: ...
