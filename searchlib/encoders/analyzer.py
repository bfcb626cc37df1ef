"""The encoder of BM25: a text becomes the counts of its stemmed words."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from ..errors import BadInput
from ..types import TermVectors
from .folding import all_forms, unaccented
from .lexicon import Lexicon, Token, Word

_LUCENE = (
    "a an and are as at be but by for if in into is it no not of on or such that the their then "
    "there these they this to was will with"
)
LUCENE_STOPWORDS = frozenset(_LUCENE.split())
"""The 33 English stop words of Apache Lucene (EnglishAnalyzer.ENGLISH_STOP_WORDS_SET)."""

_VERSION = 5  # of what becomes of a text
_UNACCENTED = ("porter", "english", "none")  # stemmers that know no accents
_REMEMBERED = 1 << 16  # words whose term is kept, some 20 MB; then the lexicon starts afresh


@dataclass(frozen=True)
class Analyzer:
    """Counts of words: Unicode letters and digits, lower case, without stop words, stemmed.

    A word is a run of letters, digits and the marks on them; anything else separates, the
    underscore and the apostrophe too ("don't" is `don` and `t`). What is written in several ways
    has a term for each, and all count, in the length of a row too:

    - a compound like `parseFile` is a word, and so are `parse` and `file`, after it; `INC48371`
      (three digits or more) is `INC` and `48371`, too;
    - neighbours that are likely one identifier are also joined: `XJ-900`, `RAL 7016`, `5 V`,
      `M8 x 40`, `1,500` (see `identifiers`);
    - Latin letters lose their accents, after stemming where a language's stemmer wants them;
      ä, ö, ü, å and ø are ae, oe, ue, aa and oe as well (see `folding`).

    What Unicode calls compatible (full-width letters, ligatures) is made one (NFKC). Scripts
    without spaces give single characters and pairs of neighbours (see Nie et al. 2000, IRAL); an
    emoji is a word.

    language: a Snowball language, or "none" for no stemming and no stop words.
    stemmer: a Snowball algorithm or "none"; default "porter" (Porter 1980) for English, else
        the language's own.
    stopwords: lower-case words to leave out, with or without their accents; default Lucene's 33
        for English, else none.

    Raises BadInput if there is no such language or stemmer.

    >>> Analyzer().encode_document(["The cats saw a cat."]).row(0)
    {'cat': 2.0, 'saw': 1.0}
    """

    language: str = "english"
    stemmer: str = ""
    stopwords: frozenset[str] | None = None
    fingerprint: str = field(init=False)  # equal fingerprints: equal terms
    _memory: list[Lexicon] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        english = self.language == "english"
        settle = object.__setattr__  # subtle: the class is frozen for its users, not for itself
        settle(self, "stemmer", self.stemmer or ("porter" if english else self.language))
        if self.stopwords is None:
            settle(self, "stopwords", LUCENE_STOPWORDS if english else frozenset())
        _check(self.language, self.stemmer)
        settings = f"analyzer {_VERSION}\n{self.stemmer}\n{' '.join(sorted(self.stopwords or ()))}"
        settle(self, "fingerprint", hashlib.blake2b(settings.encode(), digest_size=16).hexdigest())
        settle(self, "_memory", [self._new_lexicon()])

    def encode_document(self, texts: Sequence[str]) -> TermVectors:
        """One row of counts a text; terms in the order in which the text names them."""
        return self._lexicon().counts(texts)

    def encode_query(self, texts: Sequence[str]) -> TermVectors:
        """The same as `encode_document`: a word asked for twice counts twice."""
        return self.encode_document(texts)

    def terms(self, text: str) -> list[str]:
        """The terms of a text in its order, repetitions included.

        >>> Analyzer().terms("Running on snake_case and camelCase")
        ['run', 'snake', 'case', 'camelcas', 'camel', 'case']
        """
        return self._lexicon().terms_of([text])[0]

    def terms_of(self, texts: Sequence[str]) -> list[list[str]]:
        """The `terms` of many texts."""
        return self._lexicon().terms_of(texts)

    def tokens(self, text: str) -> list[Token]:
        """(start, end, term) of every word that has one, in characters of the text."""
        return self._lexicon().tokens(text)

    def words(self, text: str) -> list[Word]:
        """The words of a text that have terms; parts of compounds are none.

        >>> for word in Analyzer().words("the XJ-900, Störche"):
        ...     print(*word)
        4 6 ['xj'] ['xj900']
        7 10 ['900'] ['xj900']
        12 19 ['storch', 'stoerch'] []
        """
        return self._lexicon().words(text)

    def matches(self, texts: Sequence[str], terms: Collection[str]) -> list[list[Token]]:
        """Of each text, those `tokens` whose term is among `terms`; faster than looking at all.

        >>> Analyzer().matches(["The cats saw a cat."], {"cat"})
        [[(4, 8, 'cat'), (15, 18, 'cat')]]
        """
        return self._lexicon().matches(texts, terms)

    def _lexicon(self) -> Lexicon:
        if len(self._memory[0]) > _REMEMBERED:
            self._memory[0] = self._new_lexicon()  # subtle: who uses the old one keeps it
        return self._memory[0]

    def _new_lexicon(self) -> Lexicon:
        stem, forms = _stem_function(self.stemmer), _forms_function(self.stemmer)
        return Lexicon(stem, self.stopwords or frozenset(), forms)


def _stem_function(stemmer: str) -> Callable[[list[str]], list[str]]:
    if stemmer == "none":
        return list
    import Stemmer

    stem: Callable[[list[str]], list[str]] = Stemmer.Stemmer(stemmer, 0).stemWords
    return stem  # subtle: the 0 says that it need not remember words, as we do


def _forms_function(stemmer: str) -> Callable[[str], list[str]]:
    """The forms of a word with accents that are stemmed, each for a term: a language's stemmer
    wants the accents, English has none."""
    return unaccented if stemmer in _UNACCENTED else all_forms


def _check(language: str, stemmer: str) -> None:
    import Stemmer

    known = {*Stemmer.algorithms(), "none"}
    for what, name in (("language", language), ("stemmer", stemmer)):
        if name not in known:
            allowed = ", ".join(sorted(known))
            raise BadInput(f"unknown {what} {name!r}; allowed: {allowed}")
