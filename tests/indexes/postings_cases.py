"""Small term fields, and what the inverted file and its searches are compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray

from indexes import inversion, postings
from indexes.builder import PostingsBuilder
from indexes.inversion import Kind, decode, encode
from indexes.kernels import native
from indexes.postings import Postings
from indexes.similarity import BM25, Dot, Similarity, Statistics
from indexes.types import TermVectors

Row = dict[str, float]
Arrays = dict[str, NDArray[Any]]

TERMS = st.sampled_from(["a", "ab", "b", "é", "z", "日本", "\U0001f600", "\ud800", ""])
ROWS = st.lists(st.dictionaries(TERMS, st.floats(0, 300, width=32), max_size=6), max_size=12)
KINDS = st.sampled_from(["count", "impact"])

WAYS = ["numpy", *(["kernels"] if native() else [])]
needs_kernels = pytest.mark.skipif(native() is None, reason="the C extension was not built")


@contextmanager
def computed_by(way: str, dense_from: int | None = None) -> Iterator[None]:
    """Build and open term fields with the C extension, or without; dense lists from so many rows.

    Postings opened inside keep to their way if they are searched inside.
    """
    with pytest.MonkeyPatch.context() as patch:
        if way == "numpy":
            patch.setattr(inversion, "native", lambda: None)
            patch.setattr(postings, "native", lambda: None)
        if dense_from is not None:
            patch.setattr(inversion, "DENSE_FROM", dense_from)
        yield


def built(rows: Sequence[Row], kind: Kind = "impact", at_once: int = 3) -> Arrays:
    builder = PostingsBuilder(kind)
    for start in range(0, len(rows), at_once):
        builder.add(TermVectors.of(rows[start : start + at_once]))
    return builder.build()


def built_from(rows: TermVectors, kind: Kind) -> Arrays:
    builder = PostingsBuilder(kind)
    builder.add(rows)
    return builder.build()


def stored(rows: Sequence[Row], kind: Kind) -> list[Row]:
    """The rows as an index holds them: rounded, without zeros, terms in UTF-8 order."""
    result = []
    for row in rows:
        weights = decode(encode(np.array(list(row.values()), np.float32), kind)).tolist()
        pairs = zip(row, weights, strict=True)
        result.append({term: weight for term, weight in sorted(pairs) if weight > 0})
    return result


def content(postings: Postings) -> list[Row]:
    """All rows as dictionaries, read from the lists."""
    rows: list[Row] = [{} for _ in range(postings.n_rows)]
    for number, term in enumerate(postings.terms()):
        for row, weight in zip(*map(np.ndarray.tolist, postings.postings(number)), strict=True):
            assert term not in rows[row]
            rows[row][term] = weight
    return rows


def random_rows(
    seed: int, n: int, n_terms: int, mean: float, kind: Kind, *, levels: int = 0
) -> TermVectors:
    """n rows of about `mean` terms, frequent and rare ones; `levels` > 0: few different weights."""
    rng = np.random.default_rng(seed)
    shares = 1 / np.arange(1, n_terms + 1)
    counts = rng.poisson(mean, n).clip(0, n_terms)
    row = np.repeat(np.arange(n), counts)
    column = rng.choice(n_terms, len(row), p=shares / shares.sum())
    pairs = np.unique(row * n_terms + column)
    row, column = pairs // n_terms, (pairs % n_terms).astype(np.int32)
    if levels:
        values = rng.integers(1, levels + 1, len(row)) / (1 if kind == "count" else 2)
    else:
        values = rng.geometric(0.5, len(row)) if kind == "count" else rng.gamma(2, 0.5, len(row))
    indptr = np.append(0, np.cumsum(np.bincount(row, minlength=n))).astype(np.int64)
    names = [f"t{i}" for i in rng.permutation(n_terms)]
    return TermVectors(names, indptr, column, values.astype(np.float32))


def statistics_of(segments: Sequence[Postings], queries: TermVectors) -> Statistics:
    frequencies = [
        segment.document_frequency(segment.term_ids(queries.terms)) for segment in segments
    ]
    n = sum(segment.n_rows for segment in segments)
    counted = [segment for segment in segments if segment.kind == "count"]
    total = sum(float(segment.lengths.sum(dtype=np.float64)) for segment in counted)
    return Statistics(np.sum(frequencies, axis=0).astype(np.int64), n, total / max(1, n))


def similarities(kind: Kind) -> list[Similarity]:
    if kind == "count":
        return [BM25(), BM25(k1=1.5, b=1.0), BM25(k1=0.0), Dot()]
    return [Dot(), Dot(idf=1.0), Dot(idf=0.75)]


def ranked(scores: NDArray[np.float32], k: int) -> list[tuple[int, float]]:
    """The oracle's ranking: sort everything."""
    pairs = [(i, score) for i, score in enumerate(scores.tolist()) if score > 0]
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:k]


def pairs_of(ids: NDArray[np.int64], scores: NDArray[np.float32]) -> list[tuple[int, float]]:
    return list(zip(ids.tolist(), scores.tolist(), strict=True))
