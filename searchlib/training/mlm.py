"""Texts for masked-language-model training: whole words are hidden and are to be guessed.

Devlin et al. 2019 (arXiv:1810.04805), with their later whole-word masking: 15 % of a text's
tokens are chosen, in whole words; of these 80 % become [MASK], 10 % another token, 10 % stay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..encoders.tokenizing import Tokenizer
from ..errors import BadQuery, UnsupportedModel

Ids = NDArray[np.int64]
IGNORED = -100  # a label that torch's cross-entropy passes over


@dataclass(frozen=True)
class MaskedBatch:
    """(B, T) int64 each: what the model reads, which of it is text (1), and what it should say.

    `labels` holds the true id where a token was chosen, IGNORED elsewhere.
    """

    ids: Ids
    attention: Ids
    labels: Ids


@dataclass(frozen=True)
class Masking:
    """How tokens are hidden: `mask` is the id of [MASK], `others` those that may replace."""

    mask: int
    others: Ids
    share: float = 0.15  # of a text's tokens; more: harder, and more is learned from each text

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise BadQuery(f"illegal masking share: {self.share}, must be between 0 and 1")

    @staticmethod
    def of(tokenizer: Tokenizer, share: float = 0.15) -> Masking:
        """For a model's tokenizer. Raises UnsupportedModel if it has no token for masks."""
        found = [tokenizer.id(name) for name in ("[MASK]", "<mask>")]
        masks = [id for id in found if id is not None]
        if not masks:
            raise UnsupportedModel("the model's tokenizer has no [MASK]: it is no masked model")
        return Masking(
            masks[0], np.setdiff1d(np.arange(tokenizer.size), tokenizer.special_ids), share
        )

    def __call__(self, ids: Ids, words: Ids, rng: np.random.Generator) -> tuple[Ids, Ids]:
        """(what the model reads, labels) of one text, (T,) each.

        `words` (T,): the word that each token is part of, -1 for special ones. Words are chosen
        in random order as long as they fit into the share; at least one is.
        """
        chosen = np.isin(words, self._chosen(words, rng))
        labels = np.where(chosen, ids, IGNORED)
        dice = rng.random(len(ids))
        replaced = rng.choice(self.others, len(ids))
        read = np.where(chosen & (dice < 0.8), self.mask, ids)
        return np.where(chosen & (dice >= 0.8) & (dice < 0.9), replaced, read), labels

    def _chosen(self, words: Ids, rng: np.random.Generator) -> Ids:
        numbers, lengths = np.unique(words[words >= 0], return_counts=True)
        order = rng.permutation(len(numbers))
        room = max(1, round(self.share * int(lengths.sum())))
        fits = np.cumsum(lengths[order]) <= room
        fits[:1] = True
        return numbers[order[fits]]


@dataclass(frozen=True)
class MaskedTexts:
    """Texts with words hidden, and some of the same texts whole."""

    masked: MaskedBatch
    replayed: Sequence[str]


def draw_masked(
    texts: Callable[[Ids], list[str]],
    passages: Ids,
    tokenizer: Tokenizer,
    masking: Masking,
    *,
    count: int,
    replayed: int,
    rng: np.random.Generator,
) -> MaskedTexts:
    """`count` different passages of those given, masked, the first `replayed` of them whole too;
    equal generators give equal batches. Raises BadQuery if there is nothing to draw."""
    if not len(passages) or count < 1:
        raise BadQuery(f"nothing to mask: {len(passages)} texts, batches of {count}")
    drawn = texts(rng.permutation(passages)[:count])
    encoded = tokenizer.encode_words(drawn)
    masked = stacked([masking(ids.astype(np.int64), words, rng) for ids, words in encoded])
    return MaskedTexts(masked, drawn[:replayed])


def stacked(texts: Sequence[tuple[Ids, Ids]], padding: int = 0) -> MaskedBatch:
    """Texts of different lengths as one batch."""
    longest = max(len(ids) for ids, _ in texts)
    ids = np.full((len(texts), longest), padding, np.int64)
    attention = np.zeros_like(ids)
    labels = np.full_like(ids, IGNORED)
    for row, (read, wanted) in enumerate(texts):
        ids[row, : len(read)] = read
        attention[row, : len(read)] = 1
        labels[row, : len(read)] = wanted
    return MaskedBatch(ids, attention, labels)
