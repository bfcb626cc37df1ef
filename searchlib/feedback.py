"""Formulas of pseudo-relevance feedback: a query and the passages it found make a better query.

Each gives the refined query as *shares*: rows that add up to it, first the query's own, then one
a passage, best first. So a score can be told apart: what the question found, what each passage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import BadQuery

Row = Mapping[str, float]  # term -> weight > 0


@dataclass(frozen=True)
class Feedback:
    """How much a query learns from the best passages of a first search.

    `passages`: how many; more are steadier and further from the question; 3 to 10 are usual.
    `terms`: how many of theirs are kept, 10 to 50; queries that are vectors have no use for it.
    `weight` (0 to 1): the query's own part; the smaller, the more the passages change. The
    defaults are good for all retrievers alike (benchmarks/feedback.py).

    Raises:
        BadQuery: a value out of its range.
    """

    passages: int = 5
    terms: int = 20
    weight: float = 0.7

    def __post_init__(self) -> None:
        for name, value in (("passages", self.passages), ("terms", self.terms)):
            if value < 1:
                raise BadQuery(f"illegal number of feedback {name}: {value}, must be 1 or more")
        if not 0 <= self.weight <= 1:
            raise BadQuery(f"illegal feedback weight: {self.weight}, must be between 0 and 1")


def discounts(count: int) -> NDArray[np.float64]:
    """How far each of `count` passages is believed, by rank, (count,); they add up to 1.

    1 / log2(1 + rank), as nDCG discounts. Published models take the first search's scores, which
    mean something of one retriever only; here any retriever may come first.
    """
    shares = 1 / np.log2(np.arange(2, count + 2))
    believed: NDArray[np.float64] = shares / shares.sum()
    return believed


def refined_terms(query: Row, passages: Sequence[Row], feedback: Feedback) -> list[Row]:
    """Shares of a query of weighted terms, and what its passages add to it.

    Of counts of words, RM3 (Abdul-Jaleel et al., TREC 2004): weight P(w|Q) + (1 - weight)
    sum_D P(w|D) P(D|Q), with the `terms` likeliest words of the sum, which are then made to add up
    to 1. P(w|D) is not smoothed; no word is left out for being frequent, since idf weighs it low
    anyway. Of learned weights it is Rocchio (1971) over vectors of sum 1. The refined query
    weighs as much as the query, so that scores keep their size.

    >>> refined_terms({"sea": 4.0}, [{"tide": 3.0, "sea": 1.0}], Feedback(terms=1, weight=0.5))
    [{'sea': 2.0}, {'tide': 2.0}]
    """
    shares = discounts(len(passages))
    models = [_scaled(row, share) for row, share in zip(passages, shares.tolist(), strict=True)]
    likely: dict[str, float] = {}
    for model in models:
        for term, probability in model.items():
            likely[term] = likely.get(term, 0.0) + probability
    kept = sorted(likely, key=lambda term: (-likely[term], term))[: feedback.terms]
    total, size = sum(likely[term] for term in kept), sum(query.values())
    if not total:  # nothing was found, or nothing in it: the query stays as it is
        return [query, *({} for _ in passages)]
    factor = (1 - feedback.weight) * size / total
    own = {term: feedback.weight * weight for term, weight in query.items()}
    learned = [{term: factor * model[term] for term in kept if term in model} for model in models]
    return [own, *learned]


def _scaled(row: Row, size: float) -> Row:
    """The row with weights that add up to `size`."""
    factor = size / (sum(row.values()) or 1.0)
    return {term: factor * weight for term, weight in row.items()}


def refined_vector(
    query: NDArray[np.float32], passages: NDArray[np.float32], feedback: Feedback
) -> NDArray[np.float32]:
    """Shares of a query that is a vector (dim,), and of its passages (m, dim): (1 + m, dim).

    Rocchio (1971) without passages to go away from, as Li et al. (TOIS 2023, arXiv:2108.11044)
    have it for dense retrieval: weight q + (1 - weight) times the passages' weighted mean.
    """
    if not len(passages):
        return query[np.newaxis]
    believed = (1 - feedback.weight) * discounts(len(passages))
    learned = passages * believed[:, np.newaxis]
    shares = np.concatenate([feedback.weight * query[np.newaxis], learned])
    return shares.astype(np.float32)
