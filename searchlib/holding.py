"""Which rows of a field of words hold all of some words, each in one of its spellings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from indexes.snapshot import Snapshot
from indexes.types import TermVectors, Unit

from .encoders.analyzer import Analyzer
from .query_cache import QueryCache
from .scorer import Ids

Spellings = tuple[str, ...]  # the terms of a word; who has one of them has the word


def spellings_of(text: str, queries: QueryCache) -> list[Spellings]:
    """The words of a text, where the queries are BM25's, each once."""
    analyzer = queries.encoder
    assert isinstance(analyzer, Analyzer)
    return list(dict.fromkeys((*word.terms, *word.joined) for word in analyzer.words(text)))


def rarest_first(snapshot: Snapshot, field: str, words: Sequence[Spellings]) -> list[Spellings]:
    """The words, those first whose commonest spelling has the most weight; equals as they were."""
    vector = TermVectors.of([dict.fromkeys(chain.from_iterable(words), 1.0)])
    weights = snapshot.query_weights(field, vector).tolist()
    weight = dict(zip(vector.row(0), weights, strict=True))
    return sorted(words, key=lambda word: -min(weight[term] for term in word))


def holding(
    snapshot: Snapshot, field: str, words: Iterable[Spellings], ids: Ids, unit: Unit
) -> NDArray[np.bool_]:
    """Which of `ids` hold every word, (m,); a document may hold them in several passages.

    Fastest where the rarest come first: who lacks one is not asked for the next.
    """
    left = np.arange(len(ids))
    for word in words:
        if not len(left):
            break
        left = left[snapshot.scores(field, one(word), ids[left], unit) > 0]
    found = np.zeros(len(ids), np.bool_)
    found[left] = True
    return found


def one(word: Spellings) -> TermVectors:
    """The query that asks for a single word."""
    return TermVectors.of([dict.fromkeys(word, 1.0)])
