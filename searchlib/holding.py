"""Which rows of a field of words hold all of some terms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from indexes.snapshot import Snapshot
from indexes.types import TermVectors, Unit

from .scorer import Ids


def rarest_first(snapshot: Snapshot, field: str, terms: Sequence[str]) -> list[str]:
    """The terms, each once, those with the most weight first; equals as they were."""
    vector = TermVectors.of([dict.fromkeys(terms, 1.0)])
    weights = snapshot.query_weights(field, vector)
    known = list(vector.row(0))
    return [known[i] for i in np.argsort(-weights, kind="stable").tolist()]


def holding(
    snapshot: Snapshot, field: str, terms: Sequence[str], ids: Ids, unit: Unit
) -> NDArray[np.bool_]:
    """Which of `ids` hold every term, (m,); a document may hold them in several passages.

    Fastest where the rarest come first: who lacks one is not asked for the next.
    """
    left = np.arange(len(ids))
    for term in terms:
        if not len(left):
            break
        left = left[snapshot.scores(field, one(term), ids[left], unit) > 0]
    found = np.zeros(len(ids), np.bool_)
    found[left] = True
    return found


def one(term: str) -> TermVectors:
    """The query that asks for a single term."""
    return TermVectors.of([{term: 1.0}])
