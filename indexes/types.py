"""What goes into the engine room and what comes out: arrays and plain records, no text analysis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Unit = Literal["document", "passage"]
"""What a ranking ranks. A document's score in a passage field is its best passage's score."""


@dataclass(frozen=True, eq=False)
class TermVectors:
    """Sparse rows over named columns: a CSR matrix whose columns carry term strings.

    `terms` (m,) names the columns; row i holds `values[indptr[i]:indptr[i+1]]` at columns
    `indices[...]`. Weights are >= 0; a column stands at most once in a row. The same shape
    serves BM25's open vocabulary, a WordPiece expansion and an inference-free lookup table.
    """

    terms: Sequence[str]
    indptr: NDArray[np.int64]  # (n + 1,)
    indices: NDArray[np.int32]  # (nnz,) columns
    values: NDArray[np.float32]  # (nnz,) weights >= 0

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def row(self, i: int) -> dict[str, float]:
        """Row i as {term: weight}.

        >>> TermVectors.of([{"a": 1.0}, {"b": 2.0, "a": 0.5}]).row(1)
        {'b': 2.0, 'a': 0.5}
        """
        part = slice(int(self.indptr[i]), int(self.indptr[i + 1]))
        columns, values = self.indices[part].tolist(), self.values[part].tolist()
        return {self.terms[c]: v for c, v in zip(columns, values, strict=True)}

    def select(self, start: int, stop: int) -> TermVectors:
        """Rows start..stop (exclusive), sharing the column names."""
        low, high = int(self.indptr[start]), int(self.indptr[stop])
        return TermVectors(
            self.terms,
            self.indptr[start : stop + 1] - low,
            self.indices[low:high],
            self.values[low:high],
        )

    def take(self, rows: NDArray[np.int64]) -> TermVectors:
        """The rows named, in that order and as often as named, sharing the column names.

        >>> TermVectors.of([{"a": 1.0}, {"b": 2.0}]).take(np.array([1, 1])).row(1)
        {'b': 2.0}
        """
        lengths = np.diff(self.indptr)[rows]
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        places = np.arange(indptr[-1]) + np.repeat(self.indptr[rows] - indptr[:-1], lengths)
        return TermVectors(self.terms, indptr, self.indices[places], self.values[places])

    @staticmethod
    def of(rows: Sequence[dict[str, float]]) -> TermVectors:
        """Term vectors from one {term: weight} a row; columns in order of first appearance."""
        columns: dict[str, int] = {}
        indptr = np.zeros(len(rows) + 1, np.int64)
        indices: list[int] = []
        values: list[float] = []
        for i, row in enumerate(rows):
            indices.extend(columns.setdefault(term, len(columns)) for term in row)
            values.extend(row.values())
            indptr[i + 1] = len(indices)
        return TermVectors(
            list(columns), indptr, np.asarray(indices, np.int32), np.asarray(values, np.float32)
        )


@dataclass(frozen=True)
class Record:
    """A document as it is stored: what the user gave, and where its passages lie in its text."""

    id: str
    title: str
    text: str
    metadata: dict[str, Any] = field(default_factory=dict)  # JSON values
    hash: bytes = b""  # of the content; equal hash means nothing to re-encode
    passages: tuple[tuple[int, int], ...] = ((0, 0),)  # (start, end) characters of text; >= 1


class Excerpt(NamedTuple):
    """What an answer shows of one passage, and of the document it belongs to."""

    id: str  # the document's
    title: str
    metadata: dict[str, Any]  # JSON values
    number: int  # the passage's place within the document, from 0
    start: int  # characters of the document's text
    end: int
    text: str  # from `start` on, as much as was asked for


class Update(NamedTuple):
    """New metadata of a document that is there, and the hash of its content with them."""

    id: str
    metadata: dict[str, Any]  # JSON values
    hash: bytes


class TopK(NamedTuple):
    """One query's ranking: ids of a snapshot's documents or passages, best first."""

    ids: NDArray[np.int64]  # (<= k,)
    scores: NDArray[np.float32]  # (<= k,) descending; ties by ascending id


class TermPart(NamedTuple):
    """One term's share of a score: contribution = query_weight * impact.

    `impact` is what the field's similarity makes of the stored `weight` (a count for BM25).
    """

    term: str
    query_weight: float
    weight: float
    impact: float
    contribution: float
    document_frequency: int
