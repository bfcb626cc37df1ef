"""The formulas, by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from indexes.similarity import (
    BM25,
    Dot,
    Similarity,
    Statistics,
    idf,
    similarity_from_json,
    to_json,
)

STATISTICS = Statistics(np.array([1, 3]), documents=4, average_length=2.0)


def test_idf_by_hand() -> None:
    """N = 4: ln(1 + 3.5/1.5) = ln(10/3) for df = 1, ln(1 + 1.5/3.5) = ln(10/7) for df = 3."""
    assert idf(STATISTICS).tolist() == pytest.approx([math.log(10 / 3), math.log(10 / 7)])


def test_bm25_by_hand() -> None:
    """k1 = 1, b = 0.5, len = 4, avglen = 2: norm = 1 - 0.5 + 0.5 * 2 = 1.5; 3/(3 + 1.5) = 2/3."""
    similarity = BM25(k1=1, b=0.5)
    norms = similarity.norms(np.array([4], np.float32), 2.0)
    assert norms.tolist() == [1.5]
    assert similarity.impacts(np.array([3], np.float32), norms)[0] == pytest.approx(2 / 3)
    assert similarity.term_weights(STATISTICS).tolist() == idf(STATISTICS).tolist()


def test_bm25_of_empty_rows_divides_by_nothing() -> None:
    norms = BM25().norms(np.zeros(2, np.float32), 0.0)
    assert np.isfinite(norms).all()


def test_dots_differ_in_idf() -> None:
    assert Dot().term_weights(STATISTICS) is None
    whole, part = Dot(idf=1.0).term_weights(STATISTICS), Dot(idf=0.75).term_weights(STATISTICS)
    assert whole is not None
    assert whole.tolist() == idf(STATISTICS).tolist()
    assert part is not None
    assert part.tolist() == pytest.approx((idf(STATISTICS) ** 0.75).tolist())
    with pytest.raises(ValueError, match=r"illegal idf value: 2\.5, must be between 0 and 2"):
        Dot(idf=2.5)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"b": 1.4}, "illegal b value: 1.4, must be between 0 and 1"),
        ({"b": math.nan}, "illegal b value"),
        ({"k1": -1.0}, "illegal k1 value: -1.0"),
        ({"k1": math.inf}, "illegal k1 value"),
    ],
)
def test_illegal_parameters(parameters: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BM25(**parameters)


@pytest.mark.parametrize("similarity", [BM25(), BM25(k1=1.2, b=0.75), Dot(), Dot(idf=1.0)])
def test_json_round_trip(similarity: Similarity) -> None:
    assert similarity_from_json(to_json(similarity)) == similarity


@pytest.mark.parametrize(
    "values",
    [{}, {"kind": "bm52"}, {"kind": ["bm25"]}, {"kind": "dot", "k1": 1}, {"kind": "bm25", "b": 2},
     {"kind": "bm25", "b": "x"}],
)  # fmt: skip
def test_illegal_json(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        similarity_from_json(values)
