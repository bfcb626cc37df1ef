"""Accents off Latin letters, and the spellings of those who have no key for an umlaut."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

_LETTERS = str.maketrans(  # those that Unicode does not take apart
    {
        "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th",
        "ı": "i", "ħ": "h", "ŧ": "t", "ŋ": "n",
    }
)  # fmt: skip
_SPELLED = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"})
_LATIN = (0xC0, 0x250), (0x1E00, 0x1F00)  # letters with accents
_MARKS = re.compile("(?<=[a-z\u0180-\u02af])[\u0300-\u036f]+")  # those with no letter of their own


def folded(text: str) -> str:
    """What is in lower case (`words.normal`) without the accents of its Latin letters.

    Marks of other scripts stay, as they are letters of their own there.

    >>> folded("smørrebrød"), folded("straße"), folded("й")
    ('smorrebrod', 'strasse', 'й')
    """
    return text if text.isascii() else _MARKS.sub("", text.translate(_bases()))


def unaccented(word: str) -> list[str]:
    """How a word in lower case is written without accents: folded; also with ae, oe, ue, aa.

    >>> unaccented("störche"), unaccented("cézanne"), unaccented("cat")
    (['storche', 'stoerche'], ['cezanne'], ['cat'])
    """
    return list(dict.fromkeys([folded(word), folded(word.translate(_SPELLED))]))


def all_forms(word: str) -> list[str]:
    """The word itself, and `unaccented`."""
    return list(dict.fromkeys([word, *unaccented(word)]))


@cache
def _bases() -> dict[int, str]:
    """What to write for Latin letters with accents, by their codes."""
    made = dict(_LETTERS)
    for code in (code for low, high in _LATIN for code in range(low, high)):
        apart = unicodedata.normalize("NFD", chr(code))
        if len(apart) > 1:
            made[code] = apart[0].translate(_LETTERS)
    return made
