"""The command that says where models come from."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import Format, OutputFormat, example
from .output import chosen, print_json, print_table

commands = typer.Typer()


@commands.command(epilog=example("searchlib models"))
def models(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME...]",
            help="Names or folders [default: the default models and those in the local cache].",
        ),
    ] = None,
    get: Annotated[bool, typer.Option("--get", help="Download those that are not here.")] = False,
    format: OutputFormat = None,
) -> None:
    """Says where each model is, or how to get it."""
    from searchlib.encoders.models import available, local, resolve

    known = {entry.name: entry for entry in available()}
    lines = []
    for name in names or known:
        folder = known[name].folder if name in known else local(name)
        if folder is None and get:
            folder = resolve(name)
        lines.append(
            {
                "name": name,
                "kind": known[name].kind if name in known else "other",
                "path": str(folder.path) if folder else None,
                "source": folder.source if folder else None,
                "get": None if folder else f"searchlib models --get {name}",
            }
        )
    if chosen(format) is Format.table:
        print_table(
            ("name", "kind", "source", "path"),
            (
                (x["name"], x["kind"], x["source"] or "not here", x["path"] or f"run: {x['get']}")
                for x in lines
            ),
        )
    else:
        print_json(*lines)
