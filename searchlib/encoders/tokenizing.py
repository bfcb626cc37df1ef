"""Texts to token ids and character spans, from a model's tokenizer.json, without transformers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from indexes.threads import in_runs

from ..errors import UnsupportedModel
from .tokenizer_files import made_by_transformers, stands_alone

TOGETHER = 32  # texts: a piece takes 100 bytes until it is no more than its id

Ids = NDArray[np.int32]
Span = tuple[int, int]


class Word(NamedTuple):
    """One word of a text: its characters, and the ids of the pieces that it is cut into."""

    start: int
    end: int
    ids: list[int]


class Tokenizer:
    """A model's tokenizer, cutting each text to `max_tokens` (special tokens included).

    `lower` puts all texts in lower case first. Safe to use from several threads.
    """

    def __init__(self, folder: Path, max_tokens: int, lower: bool = False) -> None:
        self.max_tokens = max_tokens
        self._tokenizer = _load(folder, lower)
        self._before, self._after = self._template()
        if max_tokens <= self.special_tokens_count:
            raise UnsupportedModel(
                f"illegal max_tokens value: {max_tokens}, must be above "
                f"{self.special_tokens_count}, the number of special tokens"
            )

    def encode(self, texts: Sequence[str], prompt: str = "", parallel: bool = False) -> list[Ids]:
        """One array of ids a text, special tokens included; `prompt` goes before each text.

        In `parallel`, on all cores: a GPU would wait for one.
        """

        def some(part: Sequence[str]) -> list[Ids]:
            return [self.wrap(ids) for ids in self._ids(part, prompt)]

        return in_runs(some, texts) if parallel else some(texts)

    def words(self, texts: Sequence[str], prompt: str = "") -> list[Ids]:
        """As `encode`, without the special tokens."""
        return [np.asarray(ids[: self.max_tokens], np.int32) for ids in self._ids(texts, prompt)]

    def _ids(self, texts: Sequence[str], prompt: str) -> Iterator[list[int]]:
        """The ids of each text's pieces, uncut; few texts' pieces are there at a time."""
        for start in range(0, len(texts), TOGETHER):
            some = [clean(prompt + text) for text in texts[start : start + TOGETHER]]
            for pieces in self._tokenizer.encode_batch_fast(some, add_special_tokens=False):
                yield pieces.ids

    def plain_words(self, texts: Sequence[str]) -> list[Ids]:
        """As `words`, without special tokens that stand in the texts, and unknown ones."""
        special = self._is_special
        return [ids[~special.take(ids, mode="clip")] for ids in self.words(texts)]

    def knows(self, word: str) -> bool:
        """Whether a word is one token, of which nothing is unknown."""
        for text in (word, f" {word}"):  # subtle: some vocabularies have words with their space
            [ids] = self.words([text])
            if len(ids) == 1 and not self._is_special.take(ids, mode="clip").any():
                return True
        return False

    def encode_words(self, texts: Sequence[str]) -> list[tuple[Ids, NDArray[np.int64]]]:
        """As `encode`, and for each position which word it is part of, -1 for special tokens.

        Words are what the tokenizer cuts a text into before it cuts words into pieces.
        """
        pieces = self._tokenizer.encode_batch(
            [clean(text) for text in texts], add_special_tokens=False
        )
        room = self.max_tokens - self.special_tokens_count
        before, after = [-1] * len(self._before), [-1] * len(self._after)
        return [
            (self.wrap(piece.ids), np.array([*before, *piece.word_ids[:room], *after], np.int64))
            for piece in pieces
        ]

    def spans(self, text: str, prompt: str = "") -> list[Span]:
        """For each position of `encode([text], prompt)[0]`, its characters in `text`.

        Special tokens and the prompt's tokens have the empty span (0, 0).
        """
        pieces = self._tokenizer.encode(clean(prompt + text), add_special_tokens=False)
        room = self.max_tokens - self.special_tokens_count
        shift = len(prompt)
        inner = [
            (max(start - shift, 0), end - shift) if end > shift else (0, 0)
            for start, end in pieces.offsets[:room]
        ]
        return [(0, 0)] * len(self._before) + inner + [(0, 0)] * len(self._after)

    def offsets(self, text: str) -> list[Span]:
        """Character spans of all the word-pieces of `text`, without special tokens, not cut.

        >>> tokenizer.offsets("lean times")  # doctest: +SKIP
        [(0, 4), (5, 10)]
        """
        # subtle: of a batch, as only that lets other threads run meanwhile
        [pieces] = self._tokenizer.encode_batch([clean(text)], add_special_tokens=False)
        found: list[Span] = pieces.offsets
        return found

    def cut_words(self, texts: Sequence[str]) -> Iterator[list[Word]]:
        """Of each text, its words in order: where each stands and the ids of its pieces; uncut."""
        encoded = self._tokenizer.encode_batch(list(map(clean, texts)), add_special_tokens=False)
        for pieces in encoded:
            words: list[Word] = []
            last = None
            for id, word, (start, end) in zip(
                pieces.ids, pieces.word_ids, pieces.offsets, strict=True
            ):
                if words and word is not None and word == last:
                    words[-1] = Word(words[-1].start, end, [*words[-1].ids, id])
                else:
                    words.append(Word(start, end, [id]))
                last = word
            yield words

    def own_terms(self, text: str) -> frozenset[str]:
        """The vocabulary strings that `text` itself consists of, uncut."""
        ids = self._tokenizer.encode(clean(text), add_special_tokens=False).ids
        return frozenset(self.term(id) for id in ids)

    def to_json(self) -> dict[str, Any]:
        """The tokenizer as the JSON value of a tokenizer.json, without cutting or padding."""
        settings: dict[str, Any] = json.loads(self._tokenizer.to_str())
        return settings

    @property
    def special_tokens_count(self) -> int:
        """How many special tokens `encode` puts around a text."""
        return len(self._before) + len(self._after)

    def overhead(self, prompt: str) -> int:
        """How many of a text's `max_tokens` go to special tokens and to `prompt`."""
        return self.special_tokens_count + (len(self.offsets(prompt)) if prompt else 0)

    def prompt_length(self, prompt: str) -> int:
        """Leading tokens of `encode([text], prompt)` that aren't the text's."""
        return len(self._before) + len(self.offsets(prompt))

    @cached_property
    def special_ids(self) -> Ids:
        """Ids of the tokenizer's special tokens ([CLS], [PAD], ...), ascending."""
        added: dict[int, Any] = self._tokenizer.get_added_tokens_decoder()
        return np.asarray(sorted(i for i, token in added.items() if token.special), np.int32)

    @cached_property
    def _is_special(self) -> NDArray[np.bool_]:
        """Of each id up to the last special one, and False for all beyond."""
        found = np.zeros(max(self.special_ids, default=-1) + 2, np.bool_)
        found[self.special_ids] = True
        return found

    @cached_property
    def size(self) -> int:
        """Number of tokens in the vocabulary, added ones included."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def term(self, id: int) -> str:
        """The vocabulary's string for an id; "[unused#id]" where a model has more columns."""
        token = self._tokenizer.id_to_token(id)
        return f"[unused#{id}]" if token is None else str(token)

    def id(self, term: str) -> int | None:
        """The id of a vocabulary string, or None."""
        found: int | None = self._tokenizer.token_to_id(term)
        return found

    def wrap(self, ids: list[int]) -> Ids:
        """Ids of a text with the special tokens around them, cut to `max_tokens`."""
        room = self.max_tokens - self.special_tokens_count
        return np.asarray([*self._before, *ids[:room], *self._after], np.int32)

    def _template(self) -> tuple[list[int], list[int]]:
        """Ids that the tokenizer puts before and after a text."""
        bare = self._tokenizer.encode("a", add_special_tokens=False).ids
        full = self._tokenizer.encode("a").ids
        for start in range(len(full) - len(bare) + 1):
            if full[start : start + len(bare)] == bare:
                return full[:start], full[start + len(bare) :]
        raise UnsupportedModel("the tokenizer changes a text's tokens when it adds special ones")


class PairTokenizer:
    """A model's tokenizer for pairs of texts, cut to `max_tokens`, the longer text first."""

    def __init__(self, folder: Path, max_tokens: int) -> None:
        self._tokenizer = _load(folder, False)
        special = self._tokenizer.num_special_tokens_to_add(is_pair=True)
        if not special:
            raise UnsupportedModel(f"{folder}: its tokenizer puts nothing between two texts")
        if max_tokens <= special:
            raise UnsupportedModel(
                f"illegal max_tokens value: {max_tokens}, must be above {special}, the number of"
                " special tokens"
            )
        self._tokenizer.enable_truncation(max_tokens, strategy="longest_first")

    @cached_property
    def size(self) -> int:
        """Number of tokens in the vocabulary, added ones included."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def encode(self, query: str, texts: Sequence[str]) -> list[tuple[Ids, Ids]]:
        """(ids, types) of the query with each of the texts, special tokens included."""
        query = clean(query)
        pairs = self._tokenizer.encode_batch([(query, clean(text)) for text in texts])
        return [
            (np.asarray(pair.ids, np.int32), np.asarray(pair.type_ids, np.int32)) for pair in pairs
        ]


def clean(text: str) -> str:
    """`text` with lone surrogates, which no tokenizer can encode, replaced one by one.

    Nearly every text has none and comes back itself.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
    return text


def _load(folder: Path, lower: bool) -> Any:
    # subtle: without this, a later fork of the process makes tokenizers warn on stderr. One
    # thread is enough: tokenising runs beside encoding and takes a fiftieth of its time.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import tokenizers
    from tokenizers import normalizers

    path = folder / "tokenizer.json"
    try:
        alone = tokenizers.Tokenizer.from_file(str(path)) if stands_alone(folder) else None
    except Exception as error:  # tokenizers raises bare Exception
        raise UnsupportedModel(f"{path} is damaged: {str(error)[:100]}") from None
    tokenizer = _from_transformers(folder) if alone is None else alone
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if lower:
        first = normalizers.Lowercase()
        rest = tokenizer.normalizer
        tokenizer.normalizer = normalizers.Sequence([first, rest]) if rest else first
    return tokenizer


def _from_transformers(folder: Path) -> Any:
    backend = getattr(made_by_transformers(folder), "backend_tokenizer", None)
    if backend is None:
        raise UnsupportedModel(
            f"{folder} has no tokenizer.json, nor can one be made from its files"
        )
    return backend
