"""Numbers for the words of texts and the terms they stand for, and texts as counts of terms."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import chain, count, islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from indexes.forking import forkable_lock

from ..types import TermVectors
from . import plain_words
from .folding import folded
from .identifiers import gaps, has_joined, joined, units
from .words import has_parts, kinds, normal, parts, spans, words

try:
    from . import _words
except ImportError:  # installed without a compiler
    _words = None  # type: ignore[assignment, unused-ignore]

AT_ONCE = 1 << 20  # characters whose words are held at once; of a longer text, a part
NO_TERM = -1  # the number of a stop word's term; what is below says which several terms a word has

Token = tuple[int, int, str]  # start and end of a word, in characters of its text; its term


class Word(NamedTuple):
    """A word of a text: whoever has one of its terms, or of what it is joined to, has it."""

    start: int  # in characters of the text
    end: int
    terms: list[str]  # one a spelling
    joined: list[str]


class Lexicon:
    """Remembers every word that it meets, and its terms: lower case, stemmed, without accents.

    stem: of many words at once. stopwords: lower-case words that have no term.
    forms: how else a word beyond ASCII, in lower case, is written: each gives it a term.
    """

    def __init__(
        self,
        stem: Callable[[list[str]], list[str]],
        stopwords: frozenset[str],
        forms: Callable[[str], list[str]],
        native: bool = True,
    ) -> None:
        self.terms: list[str] = []  # by number
        self._by_term: dict[str, int] = defaultdict(count().__next__)
        self._several: list[list[int]] = []  # the terms of words that have more than one
        self._stem, self._forms = stem, forms
        self._without = frozenset(map(folded, stopwords)) | {""}  # joiners alone make no term
        self._lock = forkable_lock()  # PyStemmer's stemmers and our lists are not thread-safe
        # words of plain texts, their ASCII letters in lower case, and any words as they are written
        compiled = native and _words is not None
        self._simple: Any = _words.Words(kinds(), units()) if compiled else plain_words.Words()
        self._written: dict[str, int] = defaultdict(count().__next__)
        self._term_of_simple, self._term_of_written = _Numbers(), _Numbers()

    def __len__(self) -> int:
        """How many words are remembered."""
        return len(self._simple) + len(self._written)

    def terms_of(self, texts: Sequence[str]) -> list[list[str]]:
        """The terms of each text in its order, repetitions included."""
        numbers, lengths = self._rows(texts)
        found = (self.terms[n] if n >= 0 else "" for n in numbers.tolist())
        return [[term for term in islice(found, n) if term] for n in lengths.tolist()]

    def tokens(self, text: str) -> list[Token]:
        """Every word that has a term, and where it stands; see `cut`."""
        places = list(cut(text))
        numbers = self._numbers([word for _, _, word in places]).tolist()
        return [
            (start, end, self.terms[term])
            for (start, end, _), n in zip(places, numbers, strict=True)
            for term in self._terms_at(n)
        ]

    def words(self, text: str) -> list[Word]:
        """Every word that has a term; parts of compounds are none."""
        places, between = list(spans(text)), gaps(text)
        whole = [
            (i, last, word)
            for i, (_, end) in enumerate(places)
            if end in between
            for _, last, word in joined(text, places, i)
        ]
        written = [text[start:end] for start, end in places] + [word for _, _, word in whole]
        numbers = self._numbers(written).tolist()
        terms = [[self.terms[n] for n in self._terms_at(number)] for number in numbers]
        found = [Word(*place, own, []) for place, own in zip(places, terms, strict=False)]
        for (first, last, _), more in zip(whole, terms[len(places) :], strict=True):
            for i in range(first, len(found)):
                if found[i].end > last:
                    break
                found[i].joined.extend(more)
        return [word for word in found if word.terms]  # else it is a stop word

    def matches(self, texts: Sequence[str], terms: Collection[str]) -> list[list[Token]]:
        """Of each text, those `tokens` whose term is among `terms`."""
        with self._lock:
            found, sizes, *places = self._simple.places(list(texts))
            self._learn(self._simple.since(self._term_of_simple.n), self._term_of_simple)
            numbers = self._term_of_simple.data[np.frombuffer(found, np.int32)]
            wanted = np.zeros(len(self._by_term) + 1, np.bool_)  # the last is for NO_TERM
            wanted[[n for n in map(self._by_term.get, terms) if n is not None]] = True
        sized = np.frombuffer(sizes, np.int64)
        counts, numbers, lengths = self._unfolded(numbers, sized)
        at = np.flatnonzero(wanted[numbers])
        rows = np.searchsorted(np.cumsum(np.maximum(lengths, 0)), at, side="right")
        starts, ends = (
            (column if counts is None else np.repeat(column, counts))[at]
            for column in (np.frombuffer(place, np.int32) for place in places)
        )
        made: list[list[Token]] = [[] for _ in texts]
        columns = (array.tolist() for array in (rows, starts, ends, numbers[at]))
        for row, start, end, n in zip(*columns, strict=True):
            made[row].append((start, end, self.terms[n]))
        for row in np.flatnonzero(sized < 0).tolist():
            made[row] = [token for token in self.tokens(texts[row]) if token[2] in terms]
        return made

    def counts(self, texts: Sequence[str]) -> TermVectors:
        """One row of counts a text; entries and columns in order of their first appearance."""
        lengths = np.zeros(len(texts), np.int64)
        parts = [np.empty(0, np.int32)]
        for first, group in _groups(texts):
            numbers, words_each = self._rows(group)
            lengths[first : first + len(group)] += words_each
            parts.append(numbers)
        found = self._simple.count(np.concatenate(parts), lengths, len(self.terms))
        sizes, indices, named = (np.frombuffer(found[i], np.int32) for i in (0, 1, 3))
        indptr = np.zeros(len(texts) + 1, np.int64)
        np.cumsum(sizes, out=indptr[1:])
        terms = list(map(self.terms.__getitem__, named.tolist()))
        return TermVectors(terms, indptr, indices, np.frombuffer(found[2], np.float32))

    def _rows(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The term's number of every word of the texts, and how many words each text has."""
        with self._lock:
            found, sizes = self._simple.numbers(list(texts))
            self._learn(self._simple.since(self._term_of_simple.n), self._term_of_simple)
            numbers = self._term_of_simple.data[np.frombuffer(found, np.int32)]
        lengths = np.frombuffer(sizes, np.int64)
        others = np.flatnonzero(lengths < 0)
        if len(others):
            written = [cut_words(texts[row]) for row in others.tolist()]
            more = np.array([len(some) for some in written], np.int64)
            rows = np.concatenate([np.arange(len(texts)), others])
            lengths = np.maximum(lengths, 0)
            owner = np.repeat(rows, np.concatenate([lengths, more]))
            further = self._numbers(list(chain.from_iterable(written)))
            lengths[others] = more
            order = np.argsort(owner, kind="stable")
            numbers = np.concatenate([numbers, further])[order]
        return self._unfolded(numbers, lengths)[1:]

    def _numbers(self, words: list[str]) -> NDArray[np.int32]:
        """What stands for each word's terms: the number of one, or a number below 0."""
        with self._lock:
            found = np.fromiter(map(self._written.__getitem__, words), np.int32, len(words))
            fresh = len(self._written) - self._term_of_written.n
            self._learn(_latest(self._written, fresh), self._term_of_written)
            return self._term_of_written.data[found]

    def _terms_at(self, number: int) -> list[int]:
        """The terms that `number` stands for."""
        if number >= NO_TERM:
            return [number] if number >= 0 else []
        return self._several[NO_TERM - 1 - number]

    def _unfolded(
        self, numbers: NDArray[np.int32], lengths: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64] | None, NDArray[np.int32], NDArray[np.int64]]:
        """How many terms each word has, or None for one each; all of them; how many a text has."""
        if not self._several or numbers.min(initial=0) >= NO_TERM:
            return None, numbers, lengths
        at = np.flatnonzero(numbers < NO_TERM)
        several = [self._terms_at(number) for number in numbers[at].tolist()]
        counts = np.ones(len(numbers), np.int64)
        counts[at] = [len(terms) for terms in several]
        rows = np.searchsorted(np.cumsum(np.maximum(lengths, 0)), at, side="right")
        lengths = lengths.copy()
        np.add.at(lengths, rows, counts[at] - 1)
        unfolded = np.repeat(numbers, counts)
        unfolded[unfolded < NO_TERM] = list(chain.from_iterable(several))
        return counts, unfolded, lengths

    def _learn(self, fresh: list[str], numbers: _Numbers) -> None:
        # subtle: interrupted anywhere, it is done again by the next call, to the same effect
        if not fresh:
            return
        terms = [word.lower() if word.isascii() else normal(word) for word in fresh]
        stems = [stem or term for stem, term in zip(self._stem(terms), terms, strict=True)]
        beyond = [i for i, term in enumerate(terms) if not term.isascii()]
        several = [self._number_of_several(terms[i]) for i in beyond]
        for i in beyond:
            stems[i] = ""  # subtle: a term that no word has; theirs are known, and come below
        found = np.fromiter(map(self._by_term.__getitem__, stems), np.int32, len(stems))
        if not self._without.isdisjoint(terms):
            found[[term in self._without for term in terms]] = NO_TERM
        found[beyond] = several
        self.terms += _latest(self._by_term, len(self._by_term) - len(self.terms))
        numbers.extend(found)

    def _number_of_several(self, word: str) -> int:
        """What stands for the terms of a word beyond ASCII, in all its forms."""
        if folded(word) in self._without:
            return NO_TERM
        forms = self._forms(word)
        stems = zip(self._stem(forms), forms, strict=True)
        numbers = list(dict.fromkeys(self._by_term[folded(stem) or form] for stem, form in stems))
        if len(numbers) == 1:
            return numbers[0]
        self._several.append(numbers)
        return NO_TERM - len(self._several)


class _Numbers:
    """A growing array, int32; `n` of its places are in use."""

    def __init__(self) -> None:
        self.data = np.empty(1 << 10, np.int32)
        self.n = 0

    def extend(self, numbers: NDArray[np.int32]) -> None:
        n = self.n + len(numbers)
        if n > len(self.data):
            self.data = np.concatenate([self.data[: self.n], np.empty(2 * n, np.int32)])
        self.data[self.n : n] = numbers
        self.n = n


def cut_words(text: str) -> list[str]:
    """The words that `cut` gives."""
    if has_parts(text) or has_joined(text):
        return [word for _, _, word in cut(text)]
    return list(words(text))


def cut(text: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, word) of all words of any text; after each what is `joined`, and its `parts`."""
    places, between, compound = list(spans(text)), gaps(text), has_parts(text)
    for i, (start, end) in enumerate(places):
        word = text[start:end]
        yield start, end, word
        if end in between:
            yield from joined(text, places, i)
        if compound:
            for first, last in parts(word):
                yield start + first, start + last, word[first:last]


def _latest(numbers: dict[str, int], n: int) -> list[str]:
    """The n keys that came last, in the order in which they came."""
    return list(islice(reversed(numbers), n))[::-1]


def _groups(texts: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    """Neighbouring texts, with the place of the first; a very long text in parts, one a group."""
    start = characters = 0
    for place, text in enumerate(texts):
        characters += len(text)
        if characters <= AT_ONCE:
            continue
        if place > start:
            yield start, texts[start:place]
        start, characters = place, len(text)
        if characters > AT_ONCE:
            for part in _parts(text):
                yield place, [part]
            start, characters = place + 1, 0
    if start < len(texts):
        yield start, texts[start:]


def _parts(text: str) -> Iterator[str]:
    """A long text, cut at spaces as far as there are some."""
    low = 0
    while low < len(text):
        space = len(text)
        if space - low > AT_ONCE:
            space = text.rfind(" ", low, low + AT_ONCE)
            if space <= low:
                space = text.find(" ", low + 1)
        high = space if space > low else len(text)
        yield text[low:high]
        low = high
