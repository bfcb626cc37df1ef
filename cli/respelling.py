"""What is said where a query is not searched for as it was typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from searchlib.errors import shown

from .errors import say

if TYPE_CHECKING:
    from searchlib.scorer import Scorer
    from searchlib.searching import Searching


def tell_of_respelling(engine: Searching, query: str, retriever: str | Scorer) -> None:
    """Says on stderr which words of a query are read as others, and how to keep them."""
    for typed, read in engine.respelled(query, retriever).changes:
        say(f"no document has {shown(typed)}: read as {shown(read)} (quote it to keep it)")
