"""What in a document could be a question to it: titles, headings, questions, sentences, words.

Each function gives the pieces of one kind, the best first, as (text, start, end): what is asked,
and where in the document's text it stands. All are label-free and know nothing of languages but
their marks.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..encoders.analyzer import Analyzer
from ..sentences import sentence_starts
from ..types import Document

Piece = tuple[str, int, int]

LONGEST = 100_000  # characters of a document that are looked at
WINDOW = 1500  # characters that keywords are taken from: about a passage
FEWEST, MOST = 3, 32  # words of a sentence that can be a query
HEADING = 12  # words of the longest heading

_WORD = re.compile(r"\w[\w'’-]*")
_STOP = re.compile(r"[.!?;]+\s+")
_HEADING = re.compile(r"(?m)^(?P<marks>\#{1,6}[ \t]+)?(?P<text>[^\n]{3,120}?)[ \t]*\#*$")


@dataclass(frozen=True)
class Idf:
    """How rare words are: ln(1 + (n - df + ½) / (df + ½)), as BM25 has it (Robertson 2009)."""

    documents: int
    frequencies: Mapping[str, int]

    def __call__(self, term: str) -> float:
        """The weight of a term; one that was never met weighs most."""
        df = self.frequencies.get(term, 0)
        return math.log1p((self.documents - df + 0.5) / (df + 0.5))


@dataclass(frozen=True)
class Extractor:
    """Cuts pieces out of documents; `words` says what a word is, `idf` how rare it is."""

    words: Analyzer
    idf: Idf

    def titles(self, document: Document, rng: random.Random) -> Iterator[Piece]:
        """The title, if it has two words or more; it stands nowhere in the text."""
        if 2 <= len(_WORD.findall(document.title)) <= MOST:
            yield " ".join(document.title.split()), 0, 0

    def headings(self, document: Document, rng: random.Random) -> Iterator[Piece]:
        """Markdown headings, and short lines between empty ones that end in no stop."""
        text = document.text[:LONGEST]
        if "\n" not in text:
            return
        last = len(text.rstrip())
        for match in _HEADING.finditer(text):
            line, (start, end) = match["text"].strip(), match.span()
            after = not start or text.endswith(("\n\n", "\n\r\n"), 0, start)
            alone = after and text.startswith(("\n\n", "\r\n\r\n"), end)
            if (
                end < last
                and (match["marks"] or alone)
                and 2 <= len(_WORD.findall(line)) <= HEADING
                and (line[-1].isalnum() or line[-1] in "?!)\"'")
            ):
                yield line, start, end

    def questions(self, document: Document, rng: random.Random) -> Iterator[Piece]:
        """Sentences that end in a question mark."""
        for piece in sentences(document.text):
            if piece[0].endswith(("?", "？", "؟")):
                yield piece

    def key_sentences(self, document: Document, rng: random.Random) -> Iterator[Piece]:
        """Sentences by the mass of their words' rarity: sum of idf over the root of their number.

        The root keeps long sentences from being best by their length alone.
        """
        found = sentences(document.text)
        terms = self.words.terms_of([text for text, _, _ in found])
        masses = [self._mass(of_one) for of_one in terms]
        for place in sorted(range(len(found)), key=lambda i: -masses[i]):
            yield found[place]

    def cloze(self, document: Document, rng: random.Random) -> Iterator[Piece]:
        """Sentences in random order (inverse cloze: Lee et al. 2019, arXiv:1906.00300)."""
        found = sentences(document.text)
        yield from rng.sample(found, len(found))

    def crops(self, document: Document, rng: random.Random) -> Iterator[Piece]:
        """Random runs of 4 to 16 words (Izacard et al. 2022, arXiv:2112.09118)."""
        text = document.text[:LONGEST]
        words = [match.span() for match in _WORD.finditer(text)]
        for _ in range(len(words) // 4):
            length = rng.randint(4, min(16, len(words)))
            first = rng.randint(0, len(words) - length)
            start, end = words[first][0], words[first + length - 1][1]
            yield " ".join(text[start:end].split()), start, end

    def keywords(self, document: Document, rng: random.Random) -> Iterator[Piece]:
        """The 3 to 7 words of largest tf·idf in a window of the text, in the order they stand."""
        text, title = document.text[:LONGEST], document.title
        for _ in range(1 + len(text) // WINDOW):
            low = rng.randint(0, max(0, len(text) - WINDOW))
            low = 0 if not low else text.rfind(" ", 0, low) + 1
            window = text[low : low + WINDOW]
            whole = f"{title} {window}" if title else window
            tokens = self.words.tokens(whole)
            counts = Counter(term for _, _, term in tokens)
            weights = {term: tf * self.idf(term) for term, tf in counts.items()}
            best = sorted(weights, key=lambda term: -weights[term])[: rng.randint(3, 7)]
            first: dict[str, str] = {}
            for start, end, term in tokens:
                if term in best:
                    first.setdefault(term, whole[start:end])
            if len(first) >= FEWEST:
                yield " ".join(first.values()), low, low + len(window)

    def _mass(self, terms: Sequence[str]) -> float:
        distinct = set(terms)
        return sum(map(self.idf, distinct)) / math.sqrt(max(1, len(distinct)))


Extract = Callable[[Document, random.Random], Iterator[Piece]]


def sentences(text: str) -> list[Piece]:
    """The sentences of 3 to 32 words in a text, with their places.

    What is longer is cut at stops and semicolons, whatever letter follows, and then anywhere:
    some corpora are all in small letters or without marks.

    >>> sentences("Short. Yeast makes the dough rise.")
    [('Yeast makes the dough rise.', 7, 34)]
    """
    text = text[:LONGEST]
    starts = sentence_starts(text)
    found = []
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        for low, high in _short_enough(text, start, end):
            piece = text[low:high]
            if len(_WORD.findall(piece)) >= FEWEST:
                begin = low + len(piece) - len(piece.lstrip())
                found.append((" ".join(piece.split()), begin, begin + len(piece.strip())))
    return found


def _short_enough(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    if len(_WORD.findall(text, start, end)) <= MOST:
        yield start, end
        return
    cuts = [match.end() for match in _STOP.finditer(text, start, end)]
    for low, high in zip([start, *cuts], [*cuts, end], strict=True):
        words = [match.start() for match in _WORD.finditer(text, low, high)]
        parts = max(1, math.ceil(len(words) / MOST))
        firsts = [words[len(words) * part // parts] for part in range(1, parts)]
        yield from zip([low, *firsts], [*firsts, high], strict=True)
