"""Snippets the slow and obvious way: what `searchlib.snippets` and `sentences` have to equal."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from functools import partial
from math import fsum
from typing import NamedTuple

from searchlib.encoders.analyzer import Analyzer
from searchlib.sentences import _ABBREVIATIONS

_READ = 50_000  # characters of a passage that are looked at
_BEFORE = 40  # characters at most before a match in a sentence that is too long
_SPACE = re.compile(r"\s+")


class _Match(NamedTuple):
    start: int
    end: int
    term: str


def snippet(
    text: str,
    start: int,
    end: int,
    words: Mapping[str, float],
    analyzer: Analyzer,
    *,
    max_chars: int = 240,
    spans: Sequence[tuple[int, int]] = (),
) -> str:
    """As `searchlib.snippets.snippet`."""
    passage = text[start : min(end, start + _READ)]
    matches = [_Match(*token) for token in analyzer.tokens(passage) if token[2] in words]
    sentences = [*sentence_starts(passage), len(passage)]
    begins = [match.start for match in matches]

    def worth(low: int, high: int) -> float:
        inside = matches[bisect_left(begins, low) : bisect_left(begins, high)]
        return fsum(words[term] for term in {match.term for match in inside if match.end <= high})

    def rank(window: tuple[int, int]) -> tuple[float, float, int]:
        low, high = window
        sentence = sentences[bisect_right(sentences, low)] if low < len(passage) else high
        return worth(low, high), worth(low, min(high, sentence)), -low  # else the earliest

    reach = partial(_window_end, passage, sentences, max_chars)
    some = matches and len(passage) > max_chars
    starts = _candidates(passage, sentences, matches, max_chars) if some else [0]
    low, high = max(((low, reach(low)) for low in starts), key=rank)
    marked = [(match.start, match.end) for match in matches]
    marked += [(begin - start, stop - start) for begin, stop in spans]
    shown = _mark(passage, low, high, marked)
    before = "" if low in sentences else "… "
    after = "" if high in sentences and (high < len(passage) or start + high >= end) else " …"
    return before + shown + after if shown else ""


def _candidates(
    passage: str, sentences: list[int], matches: list[_Match], max_chars: int
) -> list[int]:
    """Where a snippet may begin: at sentences, and before a match in a sentence too long."""
    places = {*sentences[:-1], 0}
    before = min(_BEFORE, max_chars // 4)
    for match in matches:
        at = bisect_right(sentences, match.start)
        if at < len(sentences) and sentences[at] - sentences[at - 1] > max_chars:
            places.add(_word_start(passage, max(sentences[at - 1], match.start - before)))
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


def _mark(passage: str, low: int, high: int, spans: list[tuple[int, int]]) -> str:
    """passage[low:high] with ** around the spans, those that touch made one."""
    joined: list[list[int]] = []
    for begin, stop in sorted((max(begin, low), min(stop, high)) for begin, stop in spans):
        if begin >= stop:
            continue
        if joined and begin <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], stop)
        else:
            joined.append([begin, stop])
    ends = {place for span in joined for place in span}
    stars = "".join(
        "\u2217" if char == "*" and _beside_a_star_or_mark(passage, n, low, high, ends) else char
        for n, char in enumerate(passage)
    )
    parts, at, passage = [], low, stars
    for begin, stop in joined:
        parts += [_plain(passage[at:begin]), "**", _plain(passage[begin:stop]), "**"]
        at = stop
    parts.append(_plain(passage[at:high]))
    return "".join(parts).strip()


def _beside_a_star_or_mark(passage: str, n: int, low: int, high: int, ends: set[int]) -> bool:
    beside = [passage[m] for m in (n - 1, n + 1) if low <= m < high]
    return "*" in beside or n in ends or n + 1 in ends


def _plain(text: str) -> str:
    return _SPACE.sub(" ", text)


_END = re.compile(
    r"""
      (?P<stop> (?<! [.!?\u2026\u0964\u061f\u06d4] )  # not within a row of marks: for speed
                [.!?\u2026\u0964\u061f\u06d4]+ ["'\u201d\u2019\u00bb)\]]* \s+ )
    | (?P<full> [\u3002\uff01\uff1f\uff61]+ ["'\u201d\u2019\u300d\u300f\uff09)]* \s* )
    | (?P<break> \n [^\S\n]* (?: \n\s* | (?=[-*#\u2022] | \d{1,3}[.)] ) ) )
    """,
    re.VERBOSE,
)
_LAST_WORD = re.compile(r"[^\W\d_]+(?:\.[^\W\d_]+)*$")


def sentence_starts(text: str) -> list[int]:
    """As `searchlib.sentences.sentence_starts`."""
    starts = [0]
    for match in _END.finditer(text):
        if match.end() < len(text) and (match.lastgroup != "stop" or _ends(text, match)):
            starts.append(match.end())
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
