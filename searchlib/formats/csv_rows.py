"""Rows of CSV, whose quoted fields may go on over lines, and quotes that have no end."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

from .options import BadLine, ReadOptions
from .streams import Source, text_lines

SEPARATORS = ",;\t|"
SIGNS = 8  # separators: with fewer, lines within quotes may look like rows by chance
SHARE = 0.9  # of such lines have as many separators as the header
READ_AGAIN = 10  # lines for each line of the file, at most: no file makes the work endless

Row = tuple[int, list[str]]  # number of its first line, fields
Line = tuple[int, str] | BadLine


def csv_rows(source: Source, options: ReadOptions) -> tuple[str, Iterator[Row | BadLine]]:
    """What separates fields (whichever the first line that is not blank has most of), and the rows.

    A row with a bad line in it is a BadLine. So is one that goes on over lines which look like
    rows, or that breaks off behind such: a quote stands there that is none, and its other lines
    are read again as rows of their own. Lines end with LF, CR LF or CR.
    """
    lines = _numbered(source, options)
    first = next((line for line in lines if isinstance(line, BadLine) or line[1].strip()), None)
    if first is None:
        return SEPARATORS[0], iter(())
    beginning = "" if isinstance(first, BadLine) else first[1]
    separator = max(SEPARATORS, key=beginning.count)
    csv.field_size_limit(max(csv.field_size_limit(), options.max_document_bytes))
    return separator, _rows(_Feed(first, lines), separator, source.name)


class _Feed:
    """Lines for `csv.reader`; `row` are those of the row that it is at."""

    def __init__(self, first: Line, rest: Iterator[Line]) -> None:
        self.row: list[Line] = []
        self._next = deque([first])
        self._rest = rest
        self._taken = 0
        self._again = 0

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        if self._next:
            line = self._next.popleft()
        else:
            line = next(self._rest)
            self._taken += 1
        self.row.append(line)
        return "\n" if isinstance(line, BadLine) else line[1] + "\n"

    def go_back(self) -> bool:
        """Give all lines of the row but its first once more, unless that was done too often."""
        again = self.row[1:]
        if self._again + len(again) > READ_AGAIN * self._taken:
            return False
        self._again += len(again)
        self._next.extendleft(reversed(again))
        return True


def _rows(feed: _Feed, separator: str, name: str) -> Iterator[Row | BadLine]:
    reader = csv.reader(feed, delimiter=separator, strict=True)
    width = 0
    while True:
        feed.row.clear()
        problem = ""
        row: list[str] = []
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problem = f"not CSV: {error}"
        if len(feed.row) == 1 and isinstance(feed.row[0], tuple) and not problem:
            width = width or len(row)
            if row:
                yield feed.row[0][0], row
            continue
        # subtle: what follows is of rows of several lines and of bad ones, so that others are fast
        numbers = [line.line or 0 if isinstance(line, BadLine) else line[0] for line in feed.row]
        texts = ["" if isinstance(line, BadLine) else line[1] for line in feed.row]
        bad = [line for line in feed.row if isinstance(line, BadLine)]
        width = width or len(row)
        whole = not problem and texts[0].count(separator) != width - 1
        swallowed = not whole and _like_rows(texts[1:], separator, width)
        if swallowed and not problem:
            problem = f"a quoted field of {len(texts)} lines that look like rows"
        if problem:
            if len(texts) > 1:
                lost = not (swallowed and feed.go_back())
                problem += f", lines {numbers[0]}-{numbers[-1]}" * lost
                problem += "; is there a quote too many?"
            yield BadLine(name, numbers[0], problem)
        elif bad:
            yield from bad
        elif row:
            yield numbers[0], row


def _like_rows(lines: Sequence[str], separator: str, width: int) -> bool:
    """Whether lines have the separators of rows; those with a space behind are a sentence's."""
    wanted = width - 1
    if len(lines) * wanted < SIGNS:
        return False
    pattern = re.compile(re.escape(separator) + "(?! )")
    return sum(len(pattern.findall(line)) == wanted for line in lines) >= SHARE * len(lines)


def _numbered(source: Source, options: ReadOptions) -> Iterator[Line]:
    number = 0
    for line in text_lines(source, options):
        for part in [line] if isinstance(line, BadLine) else line[1].split("\r"):
            number += 1
            yield replace(part, line=number) if isinstance(part, BadLine) else (number, part)
