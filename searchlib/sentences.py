"""Where sentences begin: by punctuation and paragraphs, for any language that uses them."""

from __future__ import annotations

import re

_SHORT = (  # not after these, English and a little German, French and Spanish
    "dr mr mrs ms prof sr jr st vs etc al fig figs eq eqs ref refs sec no nos vol pp ch ed eds "
    "approx ca cf e.g i.e viz inc ltd co corp dept univ gen col lt sgt capt rev hon gov sen rep "
    "jan feb mar apr jun jul aug sep sept oct nov dec a.m p.m u.s u.k bzw z.b d.h usw vgl "
    "nr abb bd p.ex mme mlle sra dra"
)
_ABBREVIATIONS = frozenset(_SHORT.split())
_END = re.compile(
    r"""
      (?P<stop> (?<! [.!?\u2026\u0964\u061f\u06d4] )  # not within a row of marks: for speed
                [.!?\u2026\u0964\u061f\u06d4]+ ["'\u201d\u2019\u00bb)\]]* \s+ )
    | (?P<full> [\u3002\uff01\uff1f\uff61]+ ["'\u201d\u2019\u300d\u300f\uff09)]* \s* )
    | (?P<break> \n [^\S\n]* (?: \n\s* | (?=[-*#\u2022] | \d{1,3}[.)] ) ) )
    """,
    re.VERBOSE,
)
_MARK = re.compile("[.!?\u2026\u0964\u061f\u06d4\u3002\uff01\uff1f\uff61\n]")  # begins an _END
_LAST_WORD = re.compile(r"[^\W\d_]+(?:\.[^\W\d_]+)*$")


def sentence_starts(text: str) -> list[int]:
    """Where sentences begin, in characters: 0 and every place after a sentence's end.

    A sentence ends at `.`, `!`, `?` and their kin before white space, at the full stop of Chinese
    and Japanese, and at an empty line or a list item; not after an abbreviation or an initial,
    nor where the next word starts with a small letter.

    >>> sentence_starts("Dr. Low met J. Hill. Did he? Yes.")
    [0, 21, 29]
    """
    starts = [0]
    end = 0
    # subtle: this is _END.finditer, faster: a class of characters is what `re` searches fast
    while mark := _MARK.search(text, end):
        match = _END.match(text, mark.start())
        end = match.end() if match else mark.end()
        if match and end < len(text) and (match.lastgroup != "stop" or _ends(text, match)):
            starts.append(end)
    return starts


def _ends(text: str, match: re.Match[str]) -> bool:
    """Whether a stop mark before white space ends the sentence."""
    if "\n\n" in match.group():
        return True
    if text[match.end()].islower():
        return False
    if not match.group().startswith(". ") and match.group().strip() != ".":
        return True
    word = _LAST_WORD.search(text, max(0, match.start() - 20), match.start())
    if word is None:
        return True
    initial = len(word.group()) == 1 and word.group().isupper()
    return not initial and word.group().lower() not in _ABBREVIATIONS
