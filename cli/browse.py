"""Commands that ask metadata, without a query: browse, facets."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from .filtering import warn_of_unknown_fields, warn_of_unknown_order
from .opening import open_index
from .options import (
    Cursor,
    Format,
    IndexPath,
    K,
    Offset,
    OutputFormat,
    OutputRankingFormat,
    Where,
    all_of,
    example,
)
from .output import chosen, chosen_for_rankings, print_hits, print_json, print_table
from .pages import cursor_given, print_page

commands = typer.Typer()


@commands.command(
    epilog=example(
        "searchlib browse notes.index --where 'year > 2000' --sort=-year -k 3",
        "searchlib browse notes.index -k 2 --cursor start",
    )
)
def browse(
    path: IndexPath,
    *,
    k: K = 10,
    where: Where = None,
    sort: Annotated[
        str, typer.Option(metavar="FIELD", help="Sort by this field; -FIELD: largest first.")
    ] = "id",
    offset: Offset = 0,
    cursor: Cursor = None,
    format: OutputRankingFormat = None,
) -> None:
    """Lists documents in the order of a field."""
    condition = all_of(where)
    with open_index(path) as engine:
        if cursor is None:
            hits = engine.browse(k, where=condition, sort=sort, offset=offset)
        else:
            asked = cursor_given(cursor, {"--offset": offset != 0})
            page = engine.page(None, k, cursor=asked, where=condition, sort=sort)
            hits = list(page.hits)
        warn_of_unknown_order(engine, sort)
        if condition is not None and not hits:
            warn_of_unknown_fields(engine, condition)
    if cursor is None:
        print_hits(hits, chosen_for_rankings(format), None, "browse")
    else:
        print_page(page, chosen_for_rankings(format), "browse")


@commands.command(
    epilog=example("searchlib facets notes.index lang tags --where 'year > 2000' --top 3")
)
def facets(
    path: IndexPath,
    fields: Annotated[
        list[str], typer.Argument(metavar="FIELD...", help="Fields, such as year or author.name.")
    ],
    *,
    where: Where = None,
    top: Annotated[int, typer.Option(help="How many values of each field.")] = 10,
    format: OutputFormat = None,
) -> None:
    """Counts documents by the values of fields, most frequent first."""
    condition = all_of(where)
    with open_index(path) as engine:
        counted = [(field, engine.facets(field, where=condition, top=top)) for field in fields]
        if condition is not None and not any(counts for _, counts in counted):
            warn_of_unknown_fields(engine, condition)
        for field, counts in counted:
            if not counts:
                warn_of_unknown_fields(engine, f"exists {field}")
    if chosen(format) is Format.table:
        rows = [
            (field, value if isinstance(value, str) else json.dumps(value), count)
            for field, counts in counted
            for value, count in counts
        ]
        print_table(("field", "value", ">documents"), rows)
    else:
        print_json(
            *(
                {"field": field, "value": value, "documents": count}
                for field, counts in counted
                for value, count in counts
            )
        )
