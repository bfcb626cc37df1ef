"""The encoder of BM25: a text becomes the counts of its stemmed words."""

from __future__ import annotations

import hashlib
import re
import threading
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadInput
from ..types import TermVectors

_LUCENE = (
    "a an and are as at be but by for if in into is it no not of on or such that the their then "
    "there these they this to was will with"
)
LUCENE_STOPWORDS = frozenset(_LUCENE.split())
"""The 33 English stop words of Apache Lucene (EnglishAnalyzer.ENGLISH_STOP_WORDS_SET)."""

_LONGEST = 255  # characters of a word, as in Lucene; what is longer is cut into several
_REMEMBERED = 1 << 18  # words whose term is kept; then the memory starts afresh
_STREAMED = 1 << 20  # characters from which on a text's words are never held in a list

# Scripts written without spaces: Thai to Lao, Burmese, Khmer, Kana, Han.
_UNSPACED = (
    "\u0e01-\u0e3a\u0e40-\u0eff\u1000-\u109f\u1780-\u17d3\u3005-\u3007\u3041-\u30fa\u30fc-\u30ff"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U000323af"
)
_FLAGS = "\U0001f1e6-\U0001f1ff"
_EMOJI = (  # without the skin tones
    "\u2600-\u27bf\U0001f300-\U0001f3fa\U0001f400-\U0001f64f\U0001f680-\U0001f6ff"
    "\U0001f900-\U0001faff"
)
_JOINERS = "\u00ad\u200c\u200d\u2060"  # soft hyphen and the like: inside words, not seen
_MARKED = ((0x300, 0x3100), (0xA600, 0xAC00), (0xFE20, 0xFE30), (0x10A00, 0x1F000))
_SPECIAL = re.compile(  # all of the above; few ranges, as a long character class is slow
    "[\u00ad\u0300-\u036f\u0483-\u0487\u0591-\u10ff\u1200-\u1dff\u200c\u200d\u2060\u20d0-\u20ff"
    "\u2600-\u27bf\u2cef-\uabff\uf900-\ufaff\ufe20-\ufe2f\uff66-\uff9f\U00010a00-\U000323af]"
)
_ASCII = re.compile(f"[A-Za-z0-9]{{1,{_LONGEST}}}")
_PLAIN = re.compile(f"[^\\W_]{{1,{_LONGEST}}}")  # where nothing is special


@dataclass(frozen=True)
class Analyzer:
    """Counts of words: Unicode letters and digits, lower case, without stop words, stemmed.

    A word is a run of letters, digits and the marks on them; anything else separates, the
    underscore and the apostrophe too ("don't" is `don` and `t`). Accents stay; what Unicode
    calls compatible (full-width letters, ligatures) is made one (NFKC). Scripts without spaces
    give single characters and pairs of neighbours (see Nie et al. 2000, IRAL); an
    emoji is a word.

    language: a Snowball language, or "none" for no stemming and no stop words.
    stemmer: a Snowball algorithm or "none"; default "porter" (Porter 1980) for English, else
        the language's own.
    stopwords: lower-case words to leave out; default Lucene's 33 for English, else none.

    Raises BadInput if there is no such language or stemmer.

    >>> Analyzer().encode_document(["The cats saw a cat."]).row(0)
    {'cat': 2.0, 'saw': 1.0}
    """

    language: str = "english"
    stemmer: str = ""
    stopwords: frozenset[str] | None = None
    fingerprint: str = field(init=False)  # equal fingerprints: equal terms
    _memory: list[_Memory] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        english = self.language == "english"
        settle = object.__setattr__  # subtle: the class is frozen for its users, not for itself
        settle(self, "stemmer", self.stemmer or ("porter" if english else self.language))
        if self.stopwords is None:
            settle(self, "stopwords", LUCENE_STOPWORDS if english else frozenset())
        _check(self.language, self.stemmer)
        settings = f"analyzer 1\n{self.stemmer}\n{' '.join(sorted(self.stopwords or ()))}"
        settle(self, "fingerprint", hashlib.blake2b(settings.encode(), digest_size=16).hexdigest())
        settle(self, "_memory", [_Memory(self.stemmer, self.stopwords or frozenset())])

    def encode_document(self, texts: Sequence[str]) -> TermVectors:
        """One row of counts a text; terms in the order in which the text names them."""
        memory = self._remember()
        numbers = memory.numbers
        rows = [np.fromiter(map(numbers.__getitem__, _words(text)), np.int64, -1) for text in texts]
        return _count(rows, memory)

    def encode_query(self, texts: Sequence[str]) -> TermVectors:
        """The same as `encode_document`: a word asked for twice counts twice."""
        return self.encode_document(texts)

    def terms(self, text: str) -> list[str]:
        """The terms of a text in its order, repetitions included.

        >>> Analyzer().terms("Running on snake_case")
        ['run', 'snake', 'case']
        """
        memory = self._remember()
        return [memory.terms[n] for n in map(memory.numbers.__getitem__, _words(text)) if n >= 0]

    def tokens(self, text: str) -> list[tuple[int, int, str]]:
        """(start, end, term) of every word that has one, in characters of the text."""
        memory = self._remember()
        found = ((start, end, memory.numbers[text[start:end]]) for start, end in _spans(text))
        return [(start, end, memory.terms[n]) for start, end, n in found if n >= 0]

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON values; `Analyzer.from_json` makes an equal analyzer of them."""
        return {
            "language": self.language,
            "stemmer": self.stemmer,
            "stopwords": sorted(self.stopwords or ()),
        }

    @staticmethod
    def from_json(settings: dict[str, Any]) -> Analyzer:
        """The analyzer that `to_json` described."""
        return Analyzer(settings["language"], settings["stemmer"], frozenset(settings["stopwords"]))

    def _remember(self) -> _Memory:
        memory = self._memory[0]
        if len(memory.numbers) > _REMEMBERED:
            memory = _Memory(self.stemmer, self.stopwords or frozenset())
            self._memory[0] = memory  # subtle: who still uses the old one has all its numbers
        return memory


class _Memory:
    """Numbers for words as they are written, and the term that each number stands for."""

    def __init__(self, stemmer: str, stopwords: frozenset[str]) -> None:
        self.terms: list[str] = []
        self.numbers = _Numbers(_stem_function(stemmer), stopwords, self.terms)


class _Numbers(dict[str, int]):
    """word -> number of its term, -1 for a stop word; unknown words are analysed on the spot."""

    def __init__(
        self, stem: Callable[[str], str], stopwords: frozenset[str], terms: list[str]
    ) -> None:
        super().__init__()
        self._stem, self._stopwords, self._terms = stem, stopwords, terms
        self._by_term: dict[str, int] = {}
        self._lock = threading.Lock()  # PyStemmer's stemmers and our lists are not thread-safe

    def __missing__(self, word: str) -> int:
        with self._lock:
            term = word.lower() if word.isascii() else _normal(word)
            number = -1
            if term and term not in self._stopwords:
                term = self._stem(term) or term
                number = self._by_term.setdefault(term, len(self._terms))
                if number == len(self._terms):
                    self._terms.append(term)
            self[word] = number
            return number


def _normal(word: str) -> str:
    """The word in lower case, compatible characters made one, joiners left out."""
    word = unicodedata.normalize("NFKC", word).lower()
    return word.translate(dict.fromkeys(map(ord, _JOINERS)))


def _words(text: str) -> Iterator[str]:
    """The words of a text as they are written; n-grams where the script has no spaces."""
    pattern = _pattern(text)
    if pattern.groups:
        return (text[start:end] for start, end in _spans(text))
    if len(text) > _STREAMED:
        return (match.group() for match in pattern.finditer(text))
    return iter(pattern.findall(text))


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of what `_words` gives."""
    for match in _pattern(text).finditer(text):
        start, end = match.span()
        if match.lastgroup != "unspaced":
            yield start, end
            continue
        for i in range(start, end):
            yield i, i + 1
            if i + 2 <= end:
                yield i, i + 2


def _count(rows: list[NDArray[np.int64]], memory: _Memory) -> TermVectors:
    """Term vectors of the rows' numbers; rows and columns in order of first appearance."""
    indptr = np.zeros(len(rows) + 1, np.int64)
    rows = [row[row >= 0] for row in rows]
    numbers = np.concatenate([np.empty(0, np.int64), *rows])
    owner = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    width = len(memory.terms) + 1
    _, first, counts = np.unique(owner * width + numbers, return_index=True, return_counts=True)
    order = np.argsort(first)
    numbers, owner = numbers[first[order]], owner[first[order]]
    known, seen, columns = np.unique(numbers, return_index=True, return_inverse=True)
    rank = np.empty(len(known), np.int32)
    appearance = np.argsort(seen)
    rank[appearance] = np.arange(len(known), dtype=np.int32)
    np.cumsum(np.bincount(owner, minlength=len(rows)), out=indptr[1:])
    return TermVectors(
        [memory.terms[n] for n in known[appearance].tolist()],
        indptr,
        rank[columns.reshape(-1)],
        counts[order].astype(np.float32),
    )


def _pattern(text: str) -> re.Pattern[str]:
    """What a word is: the fastest pattern that is right for the text."""
    if text.isascii():
        return _ASCII
    return _exotic() if _SPECIAL.search(text) else _PLAIN


@cache
def _exotic() -> re.Pattern[str]:
    """The pattern that is right for any text; slower, and slow to compile."""
    marks = _JOINERS + "".join(
        chr(c)
        for c in chain.from_iterable(range(low, high) for low, high in _MARKED)
        if unicodedata.category(chr(c)) in ("Mn", "Mc")
    )
    # subtle: a mark (a vowel sign, an accent of its own) goes on with a word, but \w has none.
    letters = f"[^\\W_{_UNSPACED}]"
    spaced = f"{letters}{{1,{_LONGEST}}}(?:[{marks}]{{1,9}}{letters}{{0,{_LONGEST}}}){{0,32}}"
    unspaced = f"(?P<unspaced>[{_UNSPACED}]{{1,{_LONGEST}}})"
    return re.compile(f"{spaced}|{unspaced}|[{_FLAGS}]{{2}}|[{_EMOJI}]")


def _stem_function(stemmer: str) -> Callable[[str], str]:
    if stemmer == "none":
        return str
    import Stemmer

    stem: Callable[[str], str] = Stemmer.Stemmer(stemmer, 0).stemWord  # 0: we remember ourselves
    return stem


def _check(language: str, stemmer: str) -> None:
    import Stemmer

    known = {*Stemmer.algorithms(), "none"}
    for what, name in (("language", language), ("stemmer", stemmer)):
        if name not in known:
            allowed = ", ".join(sorted(known))
            raise BadInput(f"unknown {what} {name!r}; allowed: {allowed}")
