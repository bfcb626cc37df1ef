"""What is said where a query is not searched for as it was typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from searchlib.errors import shown

from .errors import say

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from searchlib.scorer import Scorer
    from searchlib.searching import Searching

EXAMPLES = 3


def told_reading(engine: Searching, query: str, retriever: str | Scorer) -> str:
    """How a retriever reads a query; said on stderr are the words that it reads as others."""
    respelled = engine.respelled(query, retriever)
    for typed, read in dict.fromkeys(respelled.changes):
        say(f"no document has {shown(typed)}: read as {shown(read)} (in double quotes it stays)")
    return respelled.query


def tell_of_readings(engine: Searching, queries: Iterable[str], retrievers: Sequence[str]) -> None:
    """Says on stderr how many of the queries are read otherwise, and of some how; once, with the
    names of all those that read them so."""
    from searchlib.retrieving import HEEDING

    reading = [name for name in retrievers if name in HEEDING]
    if not reading:
        return
    texts = [query for query in queries if query.strip()]
    read = [changes for text in texts if (changes := engine.respelled(text, reading[0]).changes)]
    if read:
        pairs = [f"{shown(typed)} as {shown(to)}" for changes in read for typed, to in changes]
        some = ", ".join(list(dict.fromkeys(pairs))[:EXAMPLES])
        say(
            f"queries with words that no document has, read otherwise by {' and '.join(reading)}: "
            f"{len(read):,} ({some})"
        )
