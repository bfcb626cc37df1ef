"""Words that a model's vocabulary lacks and cuts into many pieces, though a corpus uses them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from ..encoders.tokenizing import Tokenizer
from ..encoders.words import normal
from ..errors import BadInput, UnsupportedModel

PIECES = 3
"""A word of so many pieces counts as cut up: by then none of them need say what it is."""
_BATCH = 512  # texts


@dataclass(frozen=True)
class Gap:
    """One word that is cut up."""

    word: str  # in lower case
    documents: int  # that have it
    pieces: tuple[str, ...]
    share: float  # of the corpus's idf mass: documents * idf, over that of all words


@dataclass(frozen=True)
class Gaps:
    """What a vocabulary lacks of a corpus."""

    words: tuple[Gap, ...]  # the heaviest first
    different: int  # how many words are cut up, shown or not
    share: float  # of the corpus's idf mass that lies on all of them
    documents: int


def tokenizer_of(model: str) -> Tokenizer:
    """The tokenizer of a sparse or dense model; its weights are not loaded.

    Raises ModelNotFound, UnsupportedModel.
    """
    from ..encoders.dense import DenseEncoder
    from ..encoders.sparse import SparseEncoder

    try:
        return SparseEncoder(model).tokenizer
    except UnsupportedModel:
        return DenseEncoder(model).tokenizer


def find_gaps(
    texts: Iterable[str], tokenizer: Tokenizer, *, pieces: int = PIECES, k: int = 50
) -> Gaps:
    """The k words of at least `pieces` pieces that hold the most of the corpus's idf mass.

    idf(w) = ln(1 + (N - df + 1/2) / (df + 1/2)), over documents, as BM25's. Words are what the
    model's tokenizer splits at spaces and punctuation; numbers count, single signs do not.

    Raises BadInput where `pieces` or k is below 1.
    """
    if pieces < 1:
        raise BadInput(f"illegal pieces value: {pieces}, must be 1 or more")
    if k < 1:
        raise BadInput(f"illegal k: {k}, must be 1 or more")
    frequency: Counter[tuple[str, tuple[int, ...]]] = Counter()
    total = 0
    rest = iter(texts)
    while batch := list(islice(rest, _BATCH)):
        total += len(batch)
        for found in normal_words(batch, tokenizer):
            frequency.update(found)
    mass = {key: df * _idf(df, total) for key, df in frequency.items()}
    whole = sum(mass.values()) or 1.0
    cut = sorted((key for key in mass if len(key[1]) >= pieces), key=lambda key: (-mass[key], key))
    shown = (
        Gap(key[0], frequency[key], tuple(map(tokenizer.term, key[1])), mass[key] / whole)
        for key in cut[:k]
    )
    return Gaps(tuple(shown), len(cut), sum(mass[key] for key in cut) / whole, total)


def normal_words(
    texts: Sequence[str], tokenizer: Tokenizer
) -> Iterator[set[tuple[str, tuple[int, ...]]]]:
    """Of each text, its distinct words in lower case, each with its pieces.

    A word may be cut in several ways: a tokenizer need not see that a ligature is two letters.
    """
    for text, words in zip(texts, tokenizer.cut_words(texts), strict=True):
        found = {(normal(text[word.start : word.end]), tuple(word.ids)) for word in words}
        yield {(word, ids) for word, ids in found if any(map(str.isalnum, word))}


def _idf(df: int, total: int) -> float:
    return math.log(1 + (total - df + 0.5) / (df + 0.5))
