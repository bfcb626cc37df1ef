"""The command that gives a sparse model what the index's dense model knows."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from .opening import open_index
from .options import Format, IndexPath, OutputFormat, Seed, example
from .output import chosen, print_json
from .progress import Progress

commands = typer.Typer()


@commands.command(epilog=example("searchlib blend notes.index --out blended"))
def blend(
    path: IndexPath,
    *,
    out: Annotated[Path, typer.Option(help="The new model, a folder.")],
    document_share: Annotated[
        float, typer.Option(help="Share of what the dense model says of documents, 0 to 1.")
    ] = 0.4,
    query_share: Annotated[float, typer.Option(help="The same of queries.")] = 0.3,
    extra_query_terms: Annotated[
        int, typer.Option(help="A query may get so many more terms.")
    ] = 20,
    sample: Annotated[int, typer.Option(help="Learn from so many passages at most.")] = 50_000,
    seed: Seed = 0,
    any_version: Annotated[
        bool,
        typer.Option("--any-version", help="Let other versions of the two models serve."),
    ] = False,
    format: OutputFormat = None,
) -> None:
    """Makes a sparse model that knows what an index's dense model knows.

    A linear map from dense vectors to terms is fitted to the index's own, without labels and
    without running a model. Each text then also gets the terms that are predicted of its vector.
    """
    from searchlib.training.blending import fit_blend

    with open_index(path) as engine, Progress("passages") as progress:
        made = fit_blend(
            engine, out, document_share=document_share, query_share=query_share,
            extra_query_terms=extra_query_terms, passages=sample, seed=seed,
            any_version=any_version, on_progress=progress,
        )  # fmt: skip
    if chosen(format) is not Format.table:
        print_json(asdict(made))
        return
    typer.echo(
        f"{made.model}: fitted to {made.passages:,} passages in {made.seconds:.1f} s; on "
        f"{made.held_out:,} held out, cosine {made.cosine:.3f} to the sparse model's own vectors "
        f"(their mean: {made.baseline:.3f})"
    )
    typer.echo(f"next: searchlib reencode {path} --sparse-model {made.model}")
