"""What is said where a query is not searched for as it was typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from searchlib.errors import shown

from .errors import say

if TYPE_CHECKING:
    from searchlib.scorer import Scorer
    from searchlib.searching import Searching


def told_reading(engine: Searching, query: str, retriever: str | Scorer) -> str:
    """How a retriever reads a query; said on stderr are the words that it reads as others."""
    respelled = engine.respelled(query, retriever)
    for typed, read in respelled.changes:
        say(f"no document has {shown(typed)}: read as {shown(read)} (quote it to keep it)")
    return respelled.query
