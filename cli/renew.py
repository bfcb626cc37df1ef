"""Commands that keep an index in step: with a folder, and with new models."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from .opening import open_to_write
from .options import Device, IndexPath, OutputFormat, example
from .progress import Progress
from .reading import (
    Cache,
    Encoding,
    Id,
    InputFormat,
    MaxDocument,
    Memory,
    Metadata,
    SkipBad,
    Text,
    Title,
    chosen_models,
    interrupted,
    print_report,
    read_options,
)

commands = typer.Typer()


@commands.command(epilog=example("searchlib sync notes.index collection"))
def sync(
    path: IndexPath,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder of documents.")],
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only count what would be done.")
    ] = False,
    allow_empty: Annotated[
        bool,
        typer.Option(
            "--allow-empty", help="Remove all documents of a folder that is empty, or gone."
        ),
    ] = False,
    id: Id = None,
    title: Title = None,
    text: Text = None,
    metadata: Metadata = None,
    input_format: InputFormat = None,
    encoding: Encoding = "utf-8",
    max_document: MaxDocument = None,
    skip_bad: SkipBad = False,
    device: Device = None,
    memory: Memory = None,
    cache: Cache = None,
    format: OutputFormat = None,
) -> None:
    """Makes an index say what a folder says now.

    Indexes what is new or changed, by content, and removes documents that an earlier sync of this
    folder brought and that are gone from it; no others.
    """
    progress = Progress("documents")

    def skipped(problem: object) -> None:
        progress.say(f"skipped {problem}")

    options = read_options(
        id=id,
        title=title,
        text=text,
        metadata=metadata,
        input_format=input_format,
        encoding=encoding,
        max_document=max_document,
        skip_bad=skip_bad,
    )
    with open_to_write(path, device, memory) as engine:
        try:
            with progress:
                report = engine.sync(
                    folder,
                    replace(options, on_skip=skipped),
                    dry_run=dry_run,
                    allow_empty=allow_empty,
                    on_bad=skipped,
                    on_progress=progress,
                    cache=cache,
                )
        except KeyboardInterrupt:
            raise interrupted(engine) from None
    print_report(path, asdict(report), format)


@commands.command(
    epilog=example("searchlib reencode notes.index --dense-model BAAI/bge-small-en-v1.5")
)
def reencode(
    path: IndexPath,
    *,
    dense_model: Annotated[
        str | None, typer.Option(help="New dense model: folder or name.", show_default=False)
    ] = None,
    sparse_model: Annotated[
        str | None, typer.Option(help="New sparse model: folder or name.", show_default=False)
    ] = None,
    no_dense: Annotated[bool, typer.Option("--no-dense", help="No dense vectors.")] = False,
    no_sparse: Annotated[bool, typer.Option("--no-sparse", help="No sparse vectors.")] = False,
    static_queries: Annotated[
        str | None,
        typer.Option(
            help="Vectors of queries for -r static, lookup and instant: a folder that `glance` "
            "made, or searchlib/glance, which comes along.",
            show_default=False,
        ),
    ] = None,
    abandon: Annotated[
        bool, typer.Option("--abandon", help="Give up one that was begun and not finished.")
    ] = False,
    device: Device = None,
    memory: Memory = None,
    cache: Cache = None,
    format: OutputFormat = None,
) -> None:
    """Encodes all documents with another model while the old one serves.

    The index changes over in one moment, at the end. What was encoded stays if this is
    interrupted; the same command goes on.
    """
    given: dict[str, Any] = {
        **chosen_models(
            dense_model=dense_model,
            sparse_model=sparse_model,
            no_dense=no_dense,
            no_sparse=no_sparse,
        )
    }
    if static_queries is not None:
        given["static_queries"] = static_queries
    if abandon and given:
        raise typer.BadParameter("--abandon takes no model")
    progress = Progress("documents")
    with open_to_write(path, device, memory) as engine:
        if abandon:
            engine.abandon_reencoding()
            return
        try:
            with progress:
                settings = replace(engine.settings, **given)
                report = engine.reencode(settings, on_progress=progress, cache=cache)
        except KeyboardInterrupt:
            raise interrupted(engine) from None
    print_report(path, asdict(report), format)
