"""The command that fits queries without a network to an index."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from .opening import open_index
from .options import Device, Format, IndexPath, OutputFormat, Seed, example
from .output import chosen, print_json
from .progress import Progress

commands = typer.Typer()


@commands.command(epilog=example("searchlib glance notes.index --out glance"))
def glance(
    path: IndexPath,
    *,
    out: Annotated[Path, typer.Option(help="The new table, a folder.")],
    sample: Annotated[int, typer.Option(help="Learn from so many passages at most.")] = 20_000,
    runs: Annotated[
        int, typer.Option(help="And from so many runs of their words, which the model reads.")
    ] = 20_000,
    epochs: Annotated[int, typer.Option(help="How often each of these is learned from.")] = 10,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Not from the table that comes with searchlib.")
    ] = False,
    seed: Seed = 0,
    any_version: Annotated[
        bool, typer.Option("--any-version", help="Let other versions of the dense model serve.")
    ] = False,
    device: Device = None,
    format: OutputFormat = None,
) -> None:
    """Fits the query vectors of `-r instant` and `-r static` to an index.

    Each word-piece gets a vector, learned from what the index's dense model makes of its passages
    and of short runs of their words; no labels. Queries then need no model.
    """
    from searchlib.training.static_queries import Plan, fit_index

    plan = Plan(sample, runs, epochs, seed)
    with open_index(path) as engine, Progress("texts") as progress:
        made = fit_index(
            engine, out, plan, from_scratch=from_scratch, any_version=any_version, device=device,
            on_progress=progress,
        )  # fmt: skip
    if chosen(format) is not Format.table:
        print_json(asdict(made))
        return
    typer.echo(
        f"{made.model}: fitted to {made.passages:,} passages and {made.runs:,} runs of their "
        f"words; on some held out, cosine {made.cosine:.3f} to the model's vectors (before: "
        f"{made.before:.3f})"
    )
    typer.echo(f"next: searchlib reencode {path} --static-queries {made.model}")
