"""The arguments and options that several commands share."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


def example(*lines: str) -> str:
    """The end of a command's help: lines to copy and paste (a test runs each of them)."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


class Format(StrEnum):
    """How results are printed."""

    table = "table"
    json = "json"


class RankingFormat(StrEnum):
    """How rankings are printed."""

    table = "table"
    json = "json"
    trec = "trec"


class Unit(StrEnum):
    """What a ranking ranks."""

    document = "document"
    passage = "passage"


class DenseKind(StrEnum):
    """How dense vectors are searched."""

    auto = "auto"
    exact = "exact"
    pq = "pq"


def size(text: str) -> int:
    """Bytes: `512MB`, `2GB`, `1.5 GiB` or a plain number (M and MB are 1,000,000, MiB 2**20)."""
    match = re.fullmatch(r"\s*([0-9.]+)\s*([kmgt]?)(i?)b?\s*", text.lower())
    try:
        number = float(match[1]) if match else 0.0
    except ValueError:
        number = 0.0
    if match is None or number <= 0:
        raise typer.BadParameter(f"{text!r} is no size; write for example 512MB or 2GB")
    base = 1024 if match[3] else 1000
    return int(number * base ** " kmgt".index(match[2] or " "))


def all_of(filters: list[str] | None) -> str | None:
    """One filter that several options make together; None for none. Raises BadFilter."""
    if not filters or len(filters) == 1:
        return filters[0] if filters else None
    from indexes.filters import parse_filter

    for text in filters:  # subtle: what is none by itself might be a part of another one
        parse_filter(text)
    return " and ".join(f"({text})" for text in filters)


IndexPath = Annotated[
    Path,
    # subtle: typer would check itself whether it may be read, and say so in four lines
    typer.Argument(metavar="INDEX", help="The index, a folder.", readable=False),
]
_FORMAT = typer.Option(
    "--format", help="How to print [default: table on a terminal, else json].", show_default=False
)
OutputFormat = Annotated[Format | None, _FORMAT]
OutputRankingFormat = Annotated[RankingFormat | None, _FORMAT]
RetrieverName = Annotated[
    str,
    typer.Option(
        "--retriever",
        "-r",
        help="hybrid, instant, bm25, bm25_passage, sparse, lookup, dense or static.",
    ),
]
K = Annotated[int, typer.Option("-k", help="How many results.")]
Where = Annotated[
    list[str] | None,
    typer.Option(
        help='Only documents whose metadata match: year >= 2001 and lang in ("en", "fr"); '
        'a text is quoted as in JSON ("caf\\u00e9") or singly; a name with spaces stands '
        "in `back quotes`. More than once: all must."
    ),
]
Offset = Annotated[int, typer.Option(help="Pass over so many results.")]
Cursor = Annotated[
    str | None,
    typer.Option(
        metavar="start|CURSOR",
        help="Page by page through one commit: start, then what the page before ended with.",
    ),
]
Sort = Annotated[
    str | None,
    typer.Option(
        metavar="FIELD",
        help="What shares a word with the query, sorted by a field, not by score; -FIELD: largest "
        "first.",
    ),
]
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda, cuda:1, mps [default: the best there is].")
]
Seed = Annotated[int, typer.Option(min=0, help="Of everything that is drawn at random.")]
Passages = Annotated[bool, typer.Option("--passages", help="Rank passages, not documents.")]
