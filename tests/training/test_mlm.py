"""Masked texts: whole words, the right share, the right replacements; against a plain loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import WORDS

from searchlib.encoders.tokenizing import Tokenizer
from searchlib.errors import BadQuery, UnsupportedModel
from searchlib.training.mlm import IGNORED, MaskedTexts, Masking, draw_masked, stacked

TEXTS = [
    "the cats and the dogs",
    "yeast heated the dough",
    "a",
    "",
    "the plant eats light in water",
]


@pytest.fixture(scope="module")
def tokenizer(tiny_sparse: Path) -> Tokenizer:
    return Tokenizer(tiny_sparse, 64)


def test_words_are_whole(tokenizer: Tokenizer) -> None:
    """`cats` is `cat ##s`: two pieces of the second word."""
    (ids, words), *_ = tokenizer.encode_words(["the cats"])
    assert [tokenizer.term(id) for id in ids] == ["[CLS]", "the", "cat", "##s", "[SEP]"]
    assert words.tolist() == [-1, 0, 1, 1, -1]
    for (ids, words), plain in zip(
        tokenizer.encode_words(TEXTS), tokenizer.encode(TEXTS), strict=True
    ):
        assert (ids == plain).all()
        assert len(words) == len(ids)


def test_a_long_text_is_cut_with_its_words(tiny_sparse: Path) -> None:
    ((ids, words),) = Tokenizer(tiny_sparse, 4).encode_words(["the cats and dogs"])
    assert (len(ids), words.tolist()) == (4, [-1, 0, 1, -1])


def plain_loop(
    masking: Masking, ids: np.ndarray, words: np.ndarray, rng: np.random.Generator
) -> tuple[list[int], list[int]]:
    """The slow oracle: the same draws, token by token."""
    by_word: dict[int, int] = {}
    for word in words.tolist():
        if word >= 0:
            by_word[word] = by_word.get(word, 0) + 1
    numbers = sorted(by_word)
    order = rng.permutation(len(numbers))
    room = max(1, round(masking.share * sum(by_word.values())))
    chosen, used = set(), 0
    for place in order:
        length = by_word[numbers[place]]
        if chosen and used + length > room:
            break
        chosen.add(numbers[place])
        used += length
        if used > room:
            break
    dice, replaced = rng.random(len(ids)), rng.choice(masking.others, len(ids))
    read, labels = [], []
    for id, word, die, other in zip(ids, words, dice, replaced, strict=True):
        masked = word in chosen
        labels.append(id if masked else IGNORED)
        read.append(masking.mask if masked and die < 0.8 else other if masked and die < 0.9 else id)
    return read, labels


@given(st.lists(st.integers(1, 4), max_size=30), st.integers(0, 1000), st.floats(0.01, 0.99))
def test_masking_is_what_a_plain_loop_does(lengths: list[int], seed: int, share: float) -> None:
    words = np.array([-1, *np.repeat(np.arange(len(lengths)), lengths), -1])
    ids = np.arange(len(words)) + 100
    masking = Masking(4, np.arange(5, 90), share)
    read, labels = masking(ids, words, np.random.default_rng(seed))
    slow = plain_loop(masking, ids, words, np.random.default_rng(seed))
    assert (read.tolist(), labels.tolist()) == slow


def test_shares() -> None:
    """15 % of many tokens are chosen; of these 80 % are masks, 10 % others, 10 % stay."""
    words = np.arange(100_000)
    ids = words % 1000 + 10_000
    masking = Masking(4, np.arange(5, 1000))
    read, labels = masking(ids, words, np.random.default_rng(0))
    chosen = labels != IGNORED
    assert chosen.mean() == pytest.approx(0.15, abs=1e-4)
    assert (labels[chosen] == ids[chosen]).all()
    assert (read[~chosen] == ids[~chosen]).all()
    assert (read[chosen] == 4).mean() == pytest.approx(0.8, abs=0.01)
    assert (read[chosen] == ids[chosen]).mean() == pytest.approx(0.1, abs=0.01)


def drawn(tokenizer: Tokenizer, seed: int, count: int = 2) -> MaskedTexts:
    """Some of the texts, one of them whole too."""
    return draw_masked(
        lambda ids: [TEXTS[i] for i in ids], np.arange(len(TEXTS)), tokenizer,
        Masking.of(tokenizer), count=count, replayed=1, rng=np.random.default_rng(seed),
    )  # fmt: skip


def test_drawn_texts_are_masked(tokenizer: Tokenizer) -> None:
    masking = Masking.of(tokenizer)
    assert masking.mask == WORDS.index("[MASK]")
    assert not set(masking.others) & set(tokenizer.special_ids)
    special = set(tokenizer.special_ids.tolist())
    seen = set()
    for seed in range(30):
        batch, again = drawn(tokenizer, seed), drawn(tokenizer, seed)
        masked = batch.masked
        assert (masked.ids == again.masked.ids).all()
        assert (masked.labels == again.masked.labels).all()
        assert masked.ids.shape == masked.attention.shape == masked.labels.shape
        assert not set(masked.labels.ravel().tolist()) & special
        assert (masked.labels[masked.attention == 0] == IGNORED).all()
        [whole] = batch.replayed
        true = np.where(masked.labels != IGNORED, masked.labels, masked.ids)[0]
        assert tokenizer.encode([whole])[0].tolist() == true[: masked.attention[0].sum()].tolist()
        seen.add(whole)
    assert seen == set(TEXTS)
    assert len(drawn(tokenizer, 0, count=99).masked.ids) == len(TEXTS)


def test_stacked_pads() -> None:
    batch = stacked([(np.array([2, 7]), np.array([IGNORED, 7])), (np.array([2]), np.array([2]))])
    assert batch.ids.tolist() == [[2, 7], [2, 0]]
    assert batch.attention.tolist() == [[1, 1], [1, 0]]
    assert batch.labels.tolist() == [[IGNORED, 7], [2, IGNORED]]


def test_nothing_to_mask(tokenizer: Tokenizer) -> None:
    with pytest.raises(BadQuery, match="nothing to mask"):
        drawn(tokenizer, 0, count=0)
    with pytest.raises(BadQuery, match="share"):
        Masking(4, np.arange(5), share=1.0)


def test_a_tokenizer_without_masks() -> None:
    class NoMask:
        def id(self, name: str) -> None:
            return None

    with pytest.raises(UnsupportedModel, match="MASK"):
        Masking.of(NoMask())  # type: ignore[arg-type]
