"""Documents become passages: pieces that fit an encoder's window, cut at sentence ends."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import BadInput
from .sentences import sentence_starts
from .types import Document, Passage

Spans = NDArray[np.int64]  # (n, 2): where each piece starts and ends, in characters
Offsets = Callable[[str], Sequence[tuple[int, int]] | Spans]
"""(start, end) characters of a text's word-pieces, in order, without special tokens."""

_CHUNK = 100_000  # characters that are tokenised at once
_TITLE = 10_000  # characters of a title that are looked at
_DENSE = 2  # characters a piece may have on average where a word is too long to be true
_LONG = 100  # characters from which on a piece is such a word (BERT makes it one [UNK])


def split(document: Document, offsets: Offsets, size: int, overlap: int) -> list[Passage]:
    """The document's passages in order; at least one, together covering the whole text.

    Each passage's `text` is the title, a space, and `document.text[start:end]`, of at most `size`
    pieces (special tokens not counted); so a place p of the text stands in it at
    `p - start + len(text) - (end - start)`. A title gets at most a third of the window when the
    text is split. A passage ends at a sentence end if one is there, else at a line end, else
    between words, else anywhere; the next begins up to `overlap` pieces earlier, at a sentence's
    start if one is there.

    offsets: the encoder's word-pieces; called with at most 100,000 characters at a time.
    size: pieces a passage. Larger: fewer passages, each less precise.
    overlap: pieces that neighbours share, at most half of the window is used. Larger: answers
        that lie across a border are found better; more passages.

    Raises BadInput if size < 1, or overlap is not between 0 and size - 1.

    >>> words = lambda text: [m.span() for m in re.finditer(r"\\w+", text)]
    >>> song = Document("a", "One two. Three four. Five.", title="Numbers")
    >>> [passage.text for passage in split(song, words, size=4, overlap=0)]
    ['Numbers One two. ', 'Numbers Three four. Five.']
    """
    if size < 1:
        raise BadInput(f"illegal passage size: {size}, must be at least 1")
    if not 0 <= overlap < size:
        raise BadInput(f"illegal passage overlap: {overlap}, must be between 0 and {size - 1}")
    title, text = document.title, document.text
    title_pieces = offsets(title[:_TITLE]) if title else []
    parts = list(_offsets(text, offsets))
    if len(title_pieces) + sum(map(len, parts)) <= size and len(title) <= _TITLE:
        spans = [(0, len(text))]
    else:
        kept = title_pieces[: size // 3]
        title = title[: kept[-1][1]] if len(kept) else ""
        window = size - len(kept)
        spans = _spans(text, _pieces(parts), window, min(overlap, window // 2))
    return [
        Passage(document.id, number, start, end, passage_text(title, text[start:end]))
        for number, (start, end) in enumerate(spans)
    ]


def passage_text(title: str, text: str) -> str:
    """What is encoded of a piece of text under its title."""
    return f"{title} {text}" if title else text


class _Pieces(NamedTuple):
    """A text's pieces; those of one and the same character (an emoji's bytes) are one here."""

    starts: NDArray[np.int64]  # (n,) characters, strictly ascending
    ends: NDArray[np.int64]  # (n,) ascending
    before: NDArray[np.int64]  # (n + 1,) how many of the tokenizer's pieces stand before


def _offsets(text: str, offsets: Offsets) -> Iterator[Spans]:
    """The text's word-pieces, chunk by chunk; an endless word counts as many."""
    low = 0
    while low < len(text):
        high = _cut(text, low)
        spans = np.asarray(offsets(text[low:high]), np.int64).reshape(-1, 2) + low
        if (spans[:, 1] - spans[:, 0] > _LONG).any():
            spans = np.array(
                [
                    (start, min(start + _DENSE, last))
                    for first, last in spans.tolist()
                    for start in range(first, last, _DENSE if last - first > _LONG else last)
                ]
            )
        yield spans
        low = high


def _pieces(parts: Sequence[Spans]) -> _Pieces:
    starts, ends = np.maximum.accumulate(np.concatenate([np.empty((0, 2), np.int64), *parts])).T
    starts, first = np.unique(starts, return_index=True)
    return _Pieces(starts, ends[first], np.append(first, len(ends)))


def _cut(text: str, low: int) -> int:
    """The end of the chunk that begins at `low`: after white space if there is some."""
    high = low + _CHUNK
    if high >= len(text):
        return len(text)
    space = max(text.rfind(" ", low + _CHUNK // 2, high), text.rfind("\n", low + _CHUNK // 2, high))
    return high if space < 0 else space


def _spans(text: str, pieces: _Pieces, window: int, overlap: int) -> list[tuple[int, int]]:
    """(start, end) of passages of at most `window` pieces."""
    starts, before = pieces.starts, pieces.before
    n = len(starts)
    sentences = _first_pieces(pieces, sentence_starts(text))
    lines = _first_pieces(pieces, [match.end() for match in re.finditer("\n", text)])
    spans: list[tuple[int, int]] = []
    first = cut = 0  # pieces with which this passage begins, and the text that no passage has yet
    while before[n] - before[first] > window:
        last = int(before.searchsorted(before[first] + window, side="right")) - 1
        last = max(last, first + 1)
        if last == n:  # the text ends in a character of more pieces than the window has
            break
        # subtle: beyond the overlap, so that every passage goes on by something.
        low = min(last, max(cut, int(before.searchsorted(before[first] + overlap))) + 1)
        cut = (
            _latest(sentences, low, last)
            or _latest(lines, low, last)
            or next((p for p in range(last, low - 1, -1) if _starts_word(text, pieces, p)), last)
        )
        spans.append((int(starts[first]) if spans else 0, int(starts[cut])))
        low = max(first + 1, int(before.searchsorted(before[cut] - overlap)))
        first = _following(sentences, low, cut) or next(
            (p for p in range(low, cut) if _starts_word(text, pieces, p)), cut
        )
        if before[cut + 1] - before[first] > window:
            first = cut
    return [*spans, (int(starts[first]) if spans else 0, len(text))]


def _first_pieces(pieces: _Pieces, places: list[int]) -> NDArray[np.int64]:
    """The pieces with which the text goes on after each place, ascending, without the first."""
    # subtle: by the pieces' ends, as some tokenizers count the space before a word to the word.
    found = np.unique(np.searchsorted(pieces.ends, places, side="right"))
    return found[(found > 0) & (found < len(pieces.starts))]


def _latest(places: NDArray[np.int64], low: int, high: int) -> int:
    """The largest of the ascending places within low..high; 0 if none is there."""
    at = int(places.searchsorted(high, side="right")) - 1
    return int(places[at]) if at >= 0 and places[at] >= low else 0


def _following(places: NDArray[np.int64], low: int, high: int) -> int:
    """The smallest of the ascending places within low..high - 1; 0 if none is there."""
    at = int(places.searchsorted(low))
    return int(places[at]) if at < len(places) and places[at] < high else 0


def _starts_word(text: str, pieces: _Pieces, piece: int) -> bool:
    start = int(pieces.starts[piece])
    return start == 0 or text[start - 1].isspace() or text[start].isspace()
