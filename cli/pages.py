"""Paging with --cursor: one page after the other of one commit, and where the next one begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from searchlib.errors import BadQuery

from .errors import say
from .options import RankingFormat
from .output import print_hits, print_json

if TYPE_CHECKING:
    from searchlib.cursors import Page

START = "start"


def cursor_given(cursor: str, others: dict[str, bool]) -> str | None:
    """The cursor to ask with, None for the first page; `others`: options that it rules out.

    Raises BadQuery.
    """
    for name, given in others.items():
        if given:
            raise BadQuery(f"--cursor goes without {name}")
    return None if cursor == START else cursor


def print_page(page: Page, format: RankingFormat, tag: str) -> None:
    """The hits, then the cursor of the next page: a JSON line (null: no more), else on stderr."""
    print_hits(page.hits, format, None, tag)
    if format is RankingFormat.json:
        print_json({"cursor": page.cursor})
    else:
        say("no more results" if page.cursor is None else f"next page: --cursor {page.cursor}")
