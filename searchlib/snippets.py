"""The best sentences of a passage for a query, with the words that match marked."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from math import fsum

from .encoders.analyzer import Analyzer
from .encoders.lexicon import Token
from .sentences import sentence_starts

READ = 50_000  # characters of a passage that are looked at
MAX_CHARS = 240
_BEFORE = 40  # characters at most before a match in a sentence that is too long
_SPACE = re.compile(r"\s+")
_STARS = re.compile(r"\*\*+")
STAR = "\u2217"  # ∗, shown for a star of the text that could be read as a mark or part of one


def snippet(
    text: str,
    start: int,
    end: int,
    words: Mapping[str, float],
    analyzer: Analyzer,
    *,
    max_chars: int = MAX_CHARS,
    spans: Sequence[tuple[int, int]] = (),
) -> str:
    """The sentences of `text[start:end]` that hold the most weight of distinct words, marked.

    words: terms, as `analyzer` gives them, and what each is worth.
    max_chars: of the text shown, marks not counted; a sentence that is longer is cut, with "…"
        where something is missing.
    spans: more places of the text to mark (characters), such as those of expansion terms.

    Whitespace becomes single spaces, and stars of the text in a run or beside a mark become ∗
    (U+2217), one for one. If nothing matches it is the passage's beginning.

    >>> snippet("He slept. The blues band played.", 0, 32, {"band": 1.0}, Analyzer(), max_chars=25)
    'The blues **band** played.'
    """
    passage = text[start : min(end, start + READ)]
    [matches] = analyzer.matches([passage], words)
    marked = [(begin - start, stop - start) for begin, stop in spans]
    goes_on = start + len(passage) < end
    return _shown(passage, goes_on, matches, words, max_chars=max_chars, spans=marked)


def snippets(
    passages: Sequence[str], lengths: Sequence[int], words: Mapping[str, float], analyzer: Analyzer
) -> list[str]:
    """The `snippet` of each passage; faster than one by one.

    passages: their first READ characters, or all; lengths: how many characters each has in all.
    """
    found = zip(passages, lengths, analyzer.matches(passages, words), strict=True)
    return [
        _shown(passage, len(passage) < length, matches, words) for passage, length, matches in found
    ]


def marked_titles(
    titles: Sequence[str], words: Mapping[str, float], analyzer: Analyzer
) -> list[str]:
    """Each title as a whole, marked as a snippet is.

    >>> marked_titles(["The Blues", ""], {"blue": 1.0}, Analyzer())
    ['The **Blues**', '']
    """
    found = zip(titles, analyzer.matches(titles, words), strict=True)
    return [_shown(title, False, matches, words, max_chars=len(title)) for title, matches in found]


def _shown(
    passage: str,
    goes_on: bool,
    matches: list[Token],
    words: Mapping[str, float],
    *,
    max_chars: int = MAX_CHARS,
    spans: Sequence[tuple[int, int]] = (),
) -> str:
    low, high, before, after = 0, len(passage), "", " …" if goes_on else ""
    if high > max_chars:
        sentences = [*sentence_starts(passage), len(passage)]
        low, high = _best_window(passage, sentences, matches, words, max_chars)
        before = "" if low in sentences else "… "
        after = after if high == len(passage) else "" if high in sentences else " …"
    marked = [(begin, stop) for begin, stop, _ in matches if begin < high and stop > low]
    shown = _mark(passage[low:high], [(b - low, e - low) for b, e in [*marked, *spans]])
    return before + shown + after if shown else ""


def _best_window(
    passage: str,
    sentences: list[int],
    matches: list[Token],
    words: Mapping[str, float],
    max_chars: int,
) -> tuple[int, int]:
    """Of the most weight; of equals, of the most in its first sentence; of these the earliest."""
    begins = [begin for begin, _, _ in matches]

    def worth(window: tuple[int, int]) -> float:
        low, high = window
        inside = matches[bisect_left(begins, low) : bisect_left(begins, high)]
        terms = {term for _, end, term in inside if end <= high}
        return fsum(map(words.__getitem__, terms))  # subtle: whatever the order of a set

    def first(window: tuple[int, int]) -> tuple[int, int]:
        low, high = window
        return low, min(high, sentences[bisect_right(sentences, low)] if low < end else high)

    end = len(passage)
    lows = _candidates(passage, sentences, matches, max_chars) if matches else [0]
    windows = [(low, _window_end(passage, sentences, max_chars, low)) for low in lows]
    worths = [worth(window) for window in windows]
    most = max(worths)
    best = [window for window, value in zip(windows, worths, strict=True) if value == most]
    return best[0] if len(best) == 1 else max(best, key=lambda window: worth(first(window)))


def _candidates(
    passage: str, sentences: list[int], matches: list[Token], max_chars: int
) -> list[int]:
    """Where a snippet may begin: at sentences, and before a match in a sentence too long."""
    places = {*sentences[:-1], 0}
    before = min(_BEFORE, max_chars // 4)
    for start, _, _ in matches:
        at = bisect_right(sentences, start)
        if at < len(sentences) and sentences[at] - sentences[at - 1] > max_chars:
            places.add(_word_start(passage, max(sentences[at - 1], start - before)))
    return sorted(places)


def _word_start(passage: str, place: int) -> int:
    if place == 0 or passage[place - 1].isspace():
        return place
    space = _SPACE.search(passage, place, place + _BEFORE)
    return space.end() if space else place


def _window_end(passage: str, sentences: list[int], max_chars: int, low: int) -> int:
    """The last sentence end within reach of `low`, else the last white space, else the reach."""
    reach = low + max_chars
    if reach >= len(passage):
        return len(passage)
    at = bisect_right(sentences, reach + 1) - 1  # the space after a sentence may stand beyond
    if sentences[at] > low:
        return sentences[at]
    space = max(passage.rfind(" ", low + 1, reach), passage.rfind("\n", low + 1, reach))
    return space if space > low else reach


def _mark(shown: str, spans: list[tuple[int, int]]) -> str:
    """`shown` with ** around the spans, those that touch made one; cut to it if they go beyond."""
    joined: list[list[int]] = []
    for begin, stop in sorted((max(begin, 0), min(stop, len(shown))) for begin, stop in spans):
        if begin >= stop:
            continue
        if joined and begin <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], stop)
        else:
            joined.append([begin, stop])
    parts, at = [], 0
    for begin, stop in joined:
        parts += [shown[at:begin], "**", shown[begin:stop], "**"]
        at = stop
    parts.append(shown[at:])
    if not shown.isprintable() or "  " in shown or "**" in shown:  # else it is plain already
        parts[0::2] = map(unmarked, parts[0::2])
    if joined and "*" in shown:
        parts[0:-1:2] = [_ending(part) for part in parts[0:-1:2]]
        parts[2::2] = [_ending(part[::-1])[::-1] for part in parts[2::2]]
    return "".join(parts).strip()


def unmarked(text: str) -> str:
    """`text` with single spaces, and without what could be read as marks."""
    return _SPACE.sub(" ", _STARS.sub(lambda run: STAR * len(run[0]), text))


def _ending(part: str) -> str:
    return part[:-1] + STAR if part.endswith("*") else part
