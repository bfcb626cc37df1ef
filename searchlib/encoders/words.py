"""What a word is: Unicode letters and digits, with the peculiarities of scripts; see `Analyzer`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import chain, pairwise

LONGEST = 255  # characters of a word, as in Lucene; what is longer is cut into several

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
_UNSEEN = dict.fromkeys(map(ord, _JOINERS))
_MARKED = ((0x300, 0x3100), (0xA600, 0xAC00), (0xFE20, 0xFE30), (0x10A00, 0x1F000))
_SPECIAL = (  # all of the above, first and last; few ranges, as a long character class is slow
    (0xAD, 0xAD), (0x300, 0x36F), (0x483, 0x487), (0x591, 0x10FF), (0x1200, 0x1DFF),
    (0x200C, 0x200D), (0x2060, 0x2060), (0x20D0, 0x20FF), (0x2600, 0x27BF), (0x2CEF, 0xABFF),
    (0xF900, 0xFAFF), (0xFE20, 0xFE2F), (0xFF66, 0xFF9F), (0x10A00, 0x323AF),
)  # fmt: skip
_ASCII = re.compile(f"[A-Za-z0-9]{{1,{LONGEST}}}")
# a capital behind a small letter; behind a digit or a capital, if small ones follow it
_PART = re.compile("(?<=[a-z])(?=[A-Z])|(?<=[0-9])(?=[A-Z][a-z])|(?<=[A-Z])(?=[A-Z][a-z]{2})")
_NUMBERED = re.compile("(0[Xx]|[A-Za-z]+)[0-9]{3,}")  # INC48371; not a hash
_MAYBE_PART = re.compile("[a-z0-9][A-Z]|[A-Z]{2}[a-z]|[A-Za-z][0-9]{3}")
_PLAIN = re.compile(f"[^\\W_]{{1,{LONGEST}}}")  # where nothing is special

SEPARATOR, LETTER, EXOTIC = 0, 1, 2  # kinds of characters
_KINDS_BELOW = 0x2600  # alphabets with capitals, punctuation and signs


def words(text: str) -> Iterator[str]:
    """The words of a text as they are written; n-grams where the script has no spaces."""
    found = pattern(text)
    if found.groups:
        return (text[start:end] for start, end in spans(text))
    return iter(found.findall(text))


def spans(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of what `words` gives."""
    for match in pattern(text).finditer(text):
        start, end = match.span()
        if match.lastgroup != "unspaced":
            yield start, end
            continue
        for i in range(start, end):
            yield i, i + 1
            if i + 2 <= end:
                yield i, i + 2


def parts(word: str) -> list[tuple[int, int]]:
    """(start, end) of what a compound that is written like `getElementById` is made of.

    Of two letters at least each; none where nothing in the word says that it is one.

    >>> [["parseHTTPReply"[a:b] for a, b in parts("parseHTTPReply")], parts("NASA"), parts("IDs")]
    [['parse', 'HTTP', 'Reply'], [], []]
    """
    borders = [match.start() for match in _PART.finditer(word)]
    if (numbered := _NUMBERED.fullmatch(word)) is not None:
        borders.append(numbered.end(1))
    if not borders:
        return []
    return [(a, b) for a, b in pairwise([0, *borders, len(word)]) if b - a > 1]


def has_parts(text: str) -> bool:
    """Whether some word of a text may have `parts`."""
    return _MAYBE_PART.search(text) is not None


def normal(word: str) -> str:
    """The word in lower case, compatible characters made one, joiners left out.

    >>> normal("\u0130stanbul")
    'istanbul'
    """
    word = unicodedata.normalize("NFKC", word).lower()
    word = word.replace("i\u0307", "i")  # what lower() makes of a capital I with a dot
    return word.translate(_UNSEEN)


def pattern(text: str) -> re.Pattern[str]:
    """What a word is: the fastest pattern that is right for the text."""
    if text.isascii():
        return _ASCII
    return exotic() if _special().search(text) else _PLAIN


@cache
def kinds() -> bytes:
    """The kind of each character that `_words.c` may know; what is EXOTIC needs `exotic()`."""
    made = bytearray([EXOTIC]) * _KINDS_BELOW
    start = 0
    for first, last in _SPECIAL:
        plain = map(chr, range(start, min(first, _KINDS_BELOW)))
        made[start:first] = [LETTER if c.isalnum() else SEPARATOR for c in plain]
        start = last + 1
    return bytes(made)


@cache
def _special() -> re.Pattern[str]:
    return re.compile(f"[{''.join(f'{chr(first)}-{chr(last)}' for first, last in _SPECIAL)}]")


@cache
def exotic() -> re.Pattern[str]:
    """The pattern that is right for any text; slower, and slow to compile."""
    marks = _JOINERS + "".join(
        chr(c)
        for c in chain.from_iterable(range(low, high) for low, high in _MARKED)
        if unicodedata.category(chr(c)) in ("Mn", "Mc")
    )
    # subtle: a mark (a vowel sign, an accent of its own) goes on with a word, but \w has none.
    letters = f"[^\\W_{_UNSPACED}]"
    spaced = f"{letters}{{1,{LONGEST}}}(?:[{marks}]{{1,9}}{letters}{{0,{LONGEST}}}){{0,32}}"
    unspaced = f"(?P<unspaced>[{_UNSPACED}]{{1,{LONGEST}}})"
    return re.compile(f"{spaced}|{unspaced}|[{_FLAGS}]{{2}}|[{_EMOJI}]")
