"""Where sentences begin: by punctuation and paragraphs, for any language that uses them."""

from __future__ import annotations

import re
from functools import cache

_SHORT = (  # not after these, English and a little German, French and Spanish
    "dr mr mrs ms prof sr jr st vs etc al fig figs eq eqs ref refs sec no nos vol pp ch ed eds "
    "approx ca cf e.g i.e viz inc ltd co corp dept univ gen col lt sgt capt rev hon gov sen rep "
    "jan feb mar apr jun jul aug sep sept oct nov dec a.m p.m u.s u.k bzw z.b d.h usw vgl "
    "nr abb bd p.ex mme mlle sra dra"
)
_ABBREVIATIONS = frozenset(_SHORT.split())
_STOPS = ".!?\u2026\u0964\u061f\u06d4"
_FULL = "\u3002\uff01\uff1f\uff61"  # of Chinese and Japanese
_MARK = rf"""
    [{_STOPS}{_FULL}\n]
    (?: (?<= [{_STOPS}] ) (?<! [{_STOPS}][{_STOPS}] )  # not within a row of marks: for speed
        (?P<stop> [{_STOPS}]* ["'\u201d\u2019\u00bb)\]]* \s+ )
    |   (?<= [{_FULL}] ) (?P<full> [{_FULL}]* ["'\u201d\u2019\u300d\u300f\uff09)]* \s* )
    |   (?<= \n ) (?P<break> [^\S\n]* (?: \n\s* | (?=[-*#\u2022] | \d{{1,3}}[.)] ) ) )
    )?
"""  # subtle: beginning with a class of characters, which `re` searches fast
_LAST_WORD = r"[^\W\d_]+(?:\.[^\W\d_]+)*$"
_BACK = 20  # characters before a full stop that are looked at


def sentence_starts(text: str) -> list[int]:
    """Where sentences begin, in characters: 0 and every place after a sentence's end.

    A sentence ends at `.`, `!`, `?` and their kin before white space, at the full stop of Chinese
    and Japanese, and at an empty line or a list item; not after an abbreviation or an initial,
    nor where the next word starts with a small letter.

    >>> sentence_starts("Dr. Low met J. Hill. Did he? Yes.")
    [0, 21, 29]
    """
    starts = [0]
    for match in _compiled(_MARK).finditer(text):
        kind, end = match.lastgroup, match.end()
        if kind and end < len(text) and (kind != "stop" or _ends(text, match.start(), end)):
            starts.append(end)
    return starts


def _ends(text: str, mark: int, end: int) -> bool:
    """Whether the stop mark at `mark`, with white space up to `end`, ends the sentence."""
    if text[end].islower():
        return "\n\n" in text[mark:end]
    if text[mark] != "." or not text[mark + 1].isspace() or "\n\n" in text[mark:end]:
        return True
    word = text[max(0, mark - _BACK) : mark].rpartition(" ")[2]
    if not word.isalpha():
        match = _compiled(_LAST_WORD).search(word)
        if match is None:
            return True
        word = match.group()
    initial = len(word) == 1 and word.isupper()
    return not initial and word.lower() not in _ABBREVIATIONS


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Compiled when first needed: that takes as long as many a search."""
    return re.compile(pattern, re.VERBOSE)
