"""Identifiers written apart, as one word: XJ-900, RAL 7016, 5 V, M8 x 40, 1,500."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

LONGEST = 16  # characters of a word that is joined with its neighbour
_TAIL = 3  # letters at most behind a number and a hyphen: 900-S, 5-HT, not 20-year
_HEAD = 5  # capitals at most before a space and a number: RAL 7016
_UNITS = (
    " v w m g l s h k c b x mm cm km kg mg ml kw mw kv mv ma ah hz kb mb gb tb ft lb oz px pt nm "
    "am pm khz mhz ghz kwh mah mph kmh bit bar rpm dpi fps psi ppm "
)  # in lower case; not a, which is a word of a sentence
_GAP = re.compile(  # what may stand between two that are joined, and the character before
    "[0-9](?:-(?=[A-Za-z])|,(?=[0-9]{3})| (?=[A-Za-z]{1,3}(?![A-Za-z0-9])))"
    "|[A-Za-z]-(?=[0-9])|[A-Zx] (?=[0-9])"
)
_ARTICLES = ("A", "I")  # before a number: words of a sentence
_DECIMALS = re.compile("[.,][0-9]")
_GROUPS = re.compile("(?<![0-9][,.])[1-9][0-9]{0,2}(?:,[0-9]{3}){1,4}(?![0-9A-Za-z]|,[0-9])")

Span = tuple[int, int]


def units() -> bytes:
    """What may stand behind a number, in lower case, as `_words.c` wants it."""
    return _UNITS.encode()


def has_joined(text: str) -> bool:
    """Whether some words of a text may be `joined`."""
    return _GAP.search(text) is not None


def gaps(text: str) -> set[int]:
    """Where a word must end if it is to be `joined` with the next one."""
    return {match.end() - 1 for match in _GAP.finditer(text)}


def joined(text: str, spans: Sequence[Span], i: int) -> Iterator[tuple[int, int, str]]:
    """(start, end, word) of the one word that the i-th and its next one or two may be.

    >>> text = "the XJ-900-S"
    >>> [word for _, _, word in joined(text, [(0, 3), (4, 6), (7, 10), (11, 12)], 1)]
    ['XJ900', 'XJ900S']
    """
    start, end = spans[i]
    number = _GROUPS.match(text, start)
    if number is not None:
        last = next((place for place in spans[i + 1 : i + 5] if place[1] >= number.end()), None)
        if last is not None and last[1] == number.end() and text[end] == ",":
            yield start, last[1], number[0].replace(",", "")
        return
    whole = text[start:end]
    for after in range(i + 1, min(i + 3, len(spans))):
        if not _are_one(text, spans[after - 1], spans[after], inside=after > i + 1):
            return
        whole += text[slice(*spans[after])]
        yield start, spans[after][1], whole


def _are_one(text: str, one: Span, other: Span, *, inside: bool) -> bool:
    """Whether two neighbours may be one identifier; `inside`: the first one ends one already."""
    if other[0] != one[1] + 1:
        return False
    gap, left, right = text[one[1]], text[slice(*one)], text[slice(*other)]
    if max(len(left), len(right)) > LONGEST or not (left + right).isascii():
        return False
    number, then = left[-1].isdigit(), right[0].isdigit()
    if number == then:
        return False
    if gap == "-":
        return then or len(right) <= _TAIL
    if gap != " ":
        return False
    if not then:
        return right == "x" or (left.isdigit() and (f" {right.lower()} " in _UNITS or right == "A"))
    if left == "x":
        return inside
    if _DECIMALS.match(text, other[1]):  # a quantity: CI 0.95
        return False
    return left.isalpha() and left.isupper() and len(left) <= _HEAD and left not in _ARTICLES
