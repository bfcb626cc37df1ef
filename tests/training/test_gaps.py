"""Words that a vocabulary cuts up, counted by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from tiny_models import WORDS, make_bert

from searchlib.encoders.tokenizing import Tokenizer
from searchlib.errors import BadInput
from searchlib.training.gaps import find_gaps, tokenizer_of

TEXTS = ["Playing the songs", "reading, playing PLAYING!", "a cat", "", "the cat and the dogs"]


@pytest.fixture
def tokenizer(tiny_sparse: Path) -> Tokenizer:
    return tokenizer_of(str(tiny_sparse))


def test_words_are_counted_by_document_and_weighed_by_idf(tokenizer: Tokenizer) -> None:
    """playing is in 2 of 5 documents; songs, reading and dogs in one; the rest is one piece.

    "and" has one piece too; the text with nothing in it counts as a document.
    """
    assert {"play", "##ing", "song", "##s", "read"} <= set(WORDS)
    found = find_gaps(TEXTS, tokenizer, pieces=2)
    assert [gap.word for gap in found.words] == ["playing", "dogs", "reading", "songs"]
    assert found.words[0].documents == 2
    assert found.words[0].pieces == ("play", "##ing")
    assert (found.different, found.documents) == (4, 5)

    def mass(df: int) -> float:
        return df * math.log(1 + (5 - df + 0.5) / (df + 0.5))

    # the: 2, a: 1, cat: 2, and: 1, playing: 2, songs, reading, dogs: 1 each
    whole = 3 * mass(2) + 5 * mass(1)
    assert found.words[0].share == pytest.approx(mass(2) / whole)
    assert found.share == pytest.approx((mass(2) + 3 * mass(1)) / whole)


def test_only_words_of_enough_pieces_are_shown_and_only_k(tokenizer: Tokenizer) -> None:
    assert find_gaps(TEXTS, tokenizer, pieces=3).words == ()
    found = find_gaps(TEXTS, tokenizer, pieces=2, k=1)
    assert len(found.words) == 1
    assert found.different == 4


def test_a_word_cut_in_two_ways_is_two(tiny_sparse: Path) -> None:
    tokenizer = Tokenizer(tiny_sparse, 64)
    found = find_gaps(["songs", "\uff53ongs"], tokenizer, pieces=1)  # a full-width s
    assert [gap.word for gap in found.words] == ["songs", "songs"]
    assert len({gap.pieces for gap in found.words}) == 2


def test_no_texts_no_gaps(tokenizer: Tokenizer) -> None:
    assert find_gaps([], tokenizer).share == 0


@pytest.mark.parametrize(("pieces", "k"), [(0, 5), (2, 0)])
def test_senseless_numbers_are_refused(tokenizer: Tokenizer, pieces: int, k: int) -> None:
    with pytest.raises(BadInput, match="illegal"):
        find_gaps(TEXTS, tokenizer, pieces=pieces, k=k)


def test_a_dense_model_has_a_tokenizer_too(tmp_path: Path) -> None:
    folder = make_bert(tmp_path / "dense", masked=False)
    assert tokenizer_of(str(folder)).size == len(WORDS)
