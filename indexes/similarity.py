"""What turns stored weights into scores: score = sum over terms of factor(query) * impact(row).

A similarity splits a term's share of a score into a factor that depends on the query and on the
collection's statistics, and an impact that depends on the stored weight and on the row. All of
it is float32 arithmetic, one operation at a time, so that equal inputs give equal bits wherever
and in whatever batch they are computed.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Statistics:
    """What BM25 and Dot know about the live rows of all segments together.

    `document_frequency` (m,) int64 is aligned with the query's terms (`TermVectors.terms`):
    how many live rows hold each. `documents` is the number of live rows, `average_length`
    the mean of their lengths.
    """

    document_frequency: NDArray[np.int64]
    documents: int
    average_length: float


@dataclass(frozen=True)
class BM25:
    """Okapi BM25 in Lucene's variant, without the constant (k1 + 1) (Kamphuis et al. 2020).

    idf = ln(1 + (N - df + 0.5) / (df + 0.5)); impact = tf / (tf + k1 (1 - b + b len / avglen)).
    `k1` (>= 0; 0.4 to 1.6 is usual): the larger, the more a repeated term counts.
    `b` (0 to 1): how far longer rows are penalised; 0 is not at all.

    >>> BM25(b=1.4)
    Traceback (most recent call last):
    ValueError: illegal b value: 1.4, must be between 0 and 1
    """

    k1: float = 0.9
    b: float = 0.4

    def __post_init__(self) -> None:
        if not (math.isfinite(self.k1) and self.k1 >= 0):
            raise ValueError(f"illegal k1 value: {self.k1}, must be a number >= 0")
        if not 0 <= self.b <= 1:
            raise ValueError(f"illegal b value: {self.b}, must be between 0 and 1")

    def term_weights(self, statistics: Statistics) -> NDArray[np.float64]:
        """What a query's weights are multiplied by: idf, (m,) as the statistics' terms."""
        return idf(statistics)

    def norms(self, lengths: NDArray[np.float32], average_length: float) -> NDArray[np.float32]:
        """k1 (1 - b + b len / avglen) of each row, float32 (n,)."""
        slope = self.k1 * self.b / average_length if average_length > 0 else 0.0
        return lengths * np.float32(slope) + np.float32(self.k1 * (1 - self.b))

    @staticmethod
    def impacts(weights: NDArray[np.float32], norms: NDArray[np.float32]) -> NDArray[np.float32]:
        """tf / (tf + norm), float32, from counts tf >= 1 and the norms of their rows."""
        return weights / (weights + norms)


@dataclass(frozen=True)
class Dot:
    """The inner product of query and row: stored weights are impacts already (SPLADE).

    `idf` (0 to 2): a query's weights are multiplied by that power of the index's own idf. 0
    leaves them as they are; 1 weighs queries that bring no weights (inference-free); between,
    a model learns what is rare here (Iida and Okazaki 2022, arXiv:2211.03988, with power 1).
    """

    idf: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.idf <= 2:
            raise ValueError(f"illegal idf value: {self.idf}, must be between 0 and 2")

    def term_weights(self, statistics: Statistics) -> NDArray[np.float64] | None:
        """What a query's weights are multiplied by, (m,) as the statistics' terms; None: by 1."""
        if self.idf == 0:
            return None
        weights = idf(statistics)
        return weights if self.idf == 1 else weights**self.idf


Similarity = BM25 | Dot

_KINDS: dict[str, type[BM25 | Dot]] = {"bm25": BM25, "dot": Dot}


def idf(statistics: Statistics) -> NDArray[np.float64]:
    """ln(1 + (N - df + 0.5) / (df + 0.5)), float64 (m,): Lucene's, always above zero."""
    df = statistics.document_frequency
    return np.log1p((statistics.documents - df + 0.5) / (df + 0.5))


def to_json(similarity: Similarity) -> dict[str, Any]:
    """JSON values that `similarity_from_json` turns back.

    >>> to_json(BM25())
    {'kind': 'bm25', 'k1': 0.9, 'b': 0.4}
    """
    kind = next(name for name, cls in _KINDS.items() if isinstance(similarity, cls))
    return {"kind": kind, **asdict(similarity)}


def similarity_from_json(values: dict[str, Any]) -> Similarity:
    """The similarity that `to_json` described; ValueError where there is no such one."""
    kind, parameters = values.get("kind"), {**values}
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError(f"unknown similarity: {kind!r}, must be one of {', '.join(_KINDS)}")
    del parameters["kind"]
    try:
        return _KINDS[kind](**parameters)
    except TypeError:
        raise ValueError(f"illegal parameters of {kind}: {parameters}") from None
