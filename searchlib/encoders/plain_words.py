"""Words of ASCII texts as numbers, and how often each row names a term, in Python.

What `_words.c` does where there was no compiler: `Words` has the same methods, to the same effect,
but fewer texts are plain to it: none with parts of compounds, or with words that are joined.
"""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import count, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .identifiers import has_joined
from .words import LONGEST, has_parts

_BORDER = "\xd7"  # between two texts: one byte, neither ASCII nor in a word
_LOWER = bytes(  # ASCII letters in lower case, digits, and the border; spaces for the rest
    ord(chr(c).lower()) if chr(c).isalnum() and c < 128 else c if c == ord(_BORDER) else ord(" ")
    for c in range(256)
)
_OVERLONG = re.compile(b"[a-z0-9]{%d}(?=[a-z0-9])" % LONGEST)

Counts = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32], NDArray[np.int32]]


class Words:
    """Lower-case words, numbered from 0 as they are met."""

    def __init__(self) -> None:
        # subtle: a word that is not there is given the next number, all in C
        self._numbers: dict[str, int] = defaultdict(count(-1).__next__)
        self._border = self._numbers[_BORDER]  # -1

    def __len__(self) -> int:
        return len(self._numbers) - 1

    def numbers(self, texts: list[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The numbers of all words, and how many words each text has; -1 if it is not plain."""
        plain = [text.isascii() and not (has_parts(text) or has_joined(text)) for text in texts]
        ascii = [text if of_ours else "" for text, of_ours in zip(texts, plain, strict=True)]
        words = _ascii_words(_BORDER.join(ascii)) if texts else []
        numbers = np.fromiter(map(self._numbers.__getitem__, words), np.int32, len(words))
        is_word = numbers != self._border
        borders = np.flatnonzero(~is_word)
        ends = np.append(borders, len(words))[: len(texts)]
        lengths = np.diff(ends - np.arange(len(ends)), prepend=0)
        lengths[[not of_ours for of_ours in plain]] = -1
        return numbers[is_word], lengths

    def places(
        self, texts: list[str]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
        """As `numbers`, and where each word starts and ends; to this, no text is plain."""
        none = np.empty(0, np.int32)
        return none, np.full(len(texts), -1), none, none

    def since(self, first: int) -> list[str]:
        """The words from that number on."""
        return list(islice(reversed(self._numbers), len(self) - first))[::-1]

    def count(self, numbers: NDArray[np.int32], lengths: NDArray[np.int64], n_terms: int) -> Counts:
        """Entries a row, their columns, their counts, and the number that each column has.

        Of `lengths` (n,) numbers a row, all below `n_terms`; those below 0 are passed over.
        Entries and columns are in the order of their first appearance.
        """
        owner = np.repeat(np.arange(len(lengths)), lengths)[numbers >= 0]
        numbers = numbers[numbers >= 0]
        n = len(numbers)
        # in linear time but for one sort: of numbers and places, packed into one integer each
        bits = n.bit_length()
        packed = np.sort(numbers.astype(np.int64) << bits | np.arange(n))
        places, ordered = packed & ((1 << bits) - 1), packed >> bits
        new_term = _differs(ordered)
        firsts = places[new_term]
        seen = np.zeros(n, np.int32)
        seen[firsts] = 1
        columns = (np.cumsum(seen, dtype=np.int32) - 1)[firsts]
        entries = np.flatnonzero(new_term | _differs(owner[places]))  # first places in a row
        counts, column_of = np.zeros(n, np.float32), np.zeros(n, np.int32)
        counts[places[entries]] = np.diff(entries, append=n)
        column_of[places[entries]] = columns[np.cumsum(new_term)[entries] - 1]
        kept = np.flatnonzero(counts)
        sizes = np.bincount(owner[kept], minlength=len(lengths)).astype(np.int32)
        return sizes, column_of[kept], counts[kept], numbers[np.flatnonzero(seen)]


def _ascii_words(text: str) -> list[str]:
    """The words of an ASCII text, and its borders."""
    lower = text.encode("latin-1").translate(_LOWER)
    spaces = np.flatnonzero(np.frombuffer(lower, np.uint8) == ord(" "))
    if np.diff(spaces, prepend=-1, append=len(lower)).max() > LONGEST + 1:
        lower = _OVERLONG.sub(rb"\g<0> ", lower)
    border = _BORDER.encode("latin-1")
    return lower.replace(border, b" " + border + b" ").decode("latin-1").split()


def _differs(numbers: NDArray[Any]) -> NDArray[np.bool_]:
    """Which numbers are another than the one before; the first one is."""
    differs = np.ones(len(numbers), np.bool_)
    np.not_equal(numbers[1:], numbers[:-1], out=differs[1:])
    return differs
