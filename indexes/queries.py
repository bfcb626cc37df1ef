"""Queries of a term field, brought down to the terms they use."""

from __future__ import annotations

import numpy as np

from .types import TermVectors


def compact(queries: TermVectors) -> TermVectors:
    """The same rows over only the columns they use.

    Do this once before asking for `Statistics` and searching segments: an encoder's columns
    may be a whole vocabulary.

    >>> compact(TermVectors.of([{"a": 1.0, "b": 2.0}, {"b": 1.0}]).select(1, 2)).terms
    ['b']
    """
    indices = queries.indices
    if len(queries) == 1 and len(queries.terms) == len(indices):
        return queries
    if len(queries) == 1:  # subtle: a row holds a column once at most
        used, renumbered = indices, np.arange(len(indices), dtype=np.int32)
    else:
        used = np.unique(indices)
        place = np.zeros(int(used[-1]) + 1 if len(used) else 0, np.int32)
        place[used] = np.arange(len(used), dtype=np.int32)
        renumbered = place[indices]
    terms = queries.terms
    names = [terms[column] for column in used.tolist()]
    return TermVectors(names, queries.indptr, renumbered, queries.values)
