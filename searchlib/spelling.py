"""Spelling: a word that no document has, and no model knows, is read as the nearest that one has.

BM25 finds nothing by a slip of the pen, and a model reads its pieces as other words. The words of
the index's own documents say what was meant; `benchmarks/spelling.py` shows what it is worth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from indexes.snapshot import Snapshot
from indexes.types import TermVectors

from .encoders.analyzer import Analyzer
from .encoders.folding import folded, unaccented
from .encoders.words import normal
from .quoting import quoted

LEAST = 5  # letters of a word that is respelled
ENDING = 4  # letters that a slip in a word's ending may keep from its stem
TERMS = 12  # the nearest ones, whose words are looked up in texts
PASSAGES = 3  # that a term's words are looked up in
READ = 1 << 18  # characters of each: where nothing is cut, a passage is a document
MOST = 16  # different words of a query that are looked up: the first ones
REMEMBERED = 1024  # words
_BOUND = "_/\\@#$&=<>.:"  # with these before or behind it, a word is a part of a name


class Change(NamedTuple):
    """A word of a query, and what it is read as."""

    typed: str
    read: str


class Respelled(NamedTuple):
    """A query as it is read."""

    query: str
    changes: tuple[Change, ...] = ()


class Speller:
    """Respells queries by the words of an index's documents.

    `knows` tells of a word, in lower case, whether a model has it as a whole. Left as they are:
    words that a document has or a model knows, short ones, what is quoted, and what looks like a
    name: with a digit, a sign or a capital inside. Meant by the others is a word that is one slip
    away: a letter too many, too few, another one, or two that changed places. Of several the most
    frequent, those first that a model knows; a very rare one that no model knows may be a slip
    itself. First letters are believed, accents are none of the letters, and ue may be a slip away
    from what stands there as ü. Of very many words only the first ones are looked up.

    >>> speller.respelled("travel expences")  # doctest: +SKIP
    Respelled(query='travel expenses', changes=(Change(typed='expences', read='expenses'),))
    """

    def __init__(
        self, snapshot: Snapshot, analyzer: Analyzer, knows: Callable[[str], bool]
    ) -> None:
        self.snapshot = snapshot
        self._analyzer = analyzer
        self._knows = knows
        self._words = snapshot.vocabulary("bm25")
        self._read: dict[str, str | None] = {}

    def respelled(self, query: str) -> Respelled:
        """The query, with the words that are meant. Raises Damaged."""
        changes, parts, last = [], [], 0
        meant: dict[str, str | None] = {}
        unknown = 0
        for start, end, word in self._missing(query):
            if word not in meant:
                looked_up = unknown < MOST and not self._knows(word)
                unknown += looked_up
                meant[word] = self._nearest(word) if looked_up else None
            read = meant[word]
            if read is None:
                continue
            typed = query[start:end]
            read = read.capitalize() if typed[0].isupper() else read
            changes.append(Change(typed, read))
            parts += [query[last:start], read]
            last = end
        return Respelled("".join([*parts, query[last:]]), tuple(changes))

    def _missing(self, query: str) -> list[tuple[int, int, str]]:
        """Where the words are that no document has, and each in lower case."""
        asked = quoted(query)
        phrases = "" if asked is None else f" {' '.join(asked.phrases)} "
        found: list[tuple[int, int, str, list[str]]] = []
        for start, end, terms, joined in self._analyzer.words(query):
            if end - start < LEAST or not _is_plain(query, start, end):
                continue
            word = normal(query[start:end])
            if word.isalpha() and f" {folded(word)} " not in phrases:
                found.append((start, end, word, terms + joined))
        if not found:
            return []
        every = list({term for *_, terms in found for term in terms})
        frequency = self._words.frequency(every).tolist()
        there = {term for term, count in zip(every, frequency, strict=True) if count}
        return [(start, end, word) for start, end, word, terms in found if there.isdisjoint(terms)]

    def _nearest(self, word: str) -> str | None:
        """What is meant by a word; None where nothing is near."""
        known = self._read
        if word in known:
            return known[word]
        if len(self._read) >= REMEMBERED:  # subtle: other threads may read it: a new one
            self._read = {}
        read = self._read[word] = self._looked_up(word)
        return read

    def _looked_up(self, word: str) -> str | None:
        from rapidfuzz.distance import OSA

        rare, plain = int(math.log10(max(self.snapshot.n_documents, 1))) - 2, folded(word)
        found = [
            (not known, -frequency, written)
            for term, frequency in self._near(word)
            for written in self._written(term)
            if any(OSA.distance(plain, form) == 1 for form in unaccented(written))
            and ((known := self._knows(written)) or frequency >= rare)
        ]
        return min(found)[-1] if found else None

    def _near(self, word: str) -> list[tuple[str, int]]:
        """Terms of words that may be meant, the nearest first, and how many documents have each."""
        from rapidfuzz import process
        from rapidfuzz.distance import OSA

        stem = self._analyzer.terms(word)[0]
        longest = (len(stem) + 1) * (1 if stem.isascii() else 4)
        terms = self._words.beginning(stem[0], len(stem) - 1, longest)
        near = {
            term: distance
            for term, distance, _ in process.extract(
                stem, terms, scorer=OSA.distance, score_cutoff=1, limit=None
            )
        }
        plain = folded(word)
        # subtle: German's stemmer reads ue as ü, and so has no beginning of the word
        whole = plain if plain.startswith(stem[:-1]) else stem
        for size in range(max(ENDING, len(whole) - ENDING), len(whole)):
            near.setdefault(whole[:size], 2)
        frequencies = self._words.frequency(list(near)).tolist()
        order = sorted(
            (distance, -frequency, term)
            for (term, distance), frequency in zip(near.items(), frequencies, strict=True)
            if frequency
        )
        return [(term, -frequency) for _, frequency, term in order[:TERMS]]

    def _written(self, term: str) -> set[str]:
        """The words that passages have for a term, in lower case."""
        one = TermVectors.of([{term: 1.0}])
        top = self.snapshot.search("bm25_passage", one, PASSAGES, unit="passage")[0]
        texts = []
        for excerpt in self.snapshot.excerpts(top.ids, READ):
            texts += [excerpt.title, excerpt.text]
        return {
            normal(text[start:end])
            for text, tokens in zip(texts, self._analyzer.matches(texts, {term}), strict=True)
            for start, end, _ in tokens
        }


def _is_plain(query: str, start: int, end: int) -> bool:
    """Whether a word that stands there is no name, nor a part of one."""
    if query[start + 1 : end] != query[start + 1 : end].lower():
        return False
    behind = query[end : end + 2]  # a full stop ends a sentence, or goes on with a name
    goes_on = behind[:1] in _BOUND and behind[1:].isalnum() if behind else False
    return not goes_on and (start == 0 or query[start - 1] not in _BOUND)
