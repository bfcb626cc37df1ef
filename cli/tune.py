"""The command that fits the hybrid to an index's own queries."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .opening import open_to_write
from .options import Device, Format, IndexPath, OutputFormat, example
from .output import chosen, print_json
from .progress import Progress
from .topics import BeirFolder, Judgements, Queries, Split, say_left_out, source_of

if TYPE_CHECKING:
    from searchlib.tuning import TuneReport

commands = typer.Typer()


@commands.command(
    epilog=example(
        "searchlib tune notes.index collection",
        "searchlib tune notes.index --reset",
    )
)
def tune(
    path: IndexPath,
    collection: BeirFolder = None,
    *,
    queries: Queries = None,
    qrels: Judgements = None,
    split: Split = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be gained.")
    ] = False,
    reset: Annotated[bool, typer.Option("--reset", help="Back to the defaults.")] = False,
    device: Device = None,
    format: OutputFormat = None,
) -> None:
    """Fits the hybrid's weights, and the probabilities of its hits, to judged queries.

    Each is kept in the index only if cross-validation shows that it is better than what it has.
    Without judgements there is no need: weights adapt to each query by themselves.
    """
    from searchlib import tuning

    if reset and (collection or queries or qrels or split or dry_run):
        raise typer.BadParameter("--reset takes no queries")
    if reset:
        with open_to_write(path, device) as engine:
            _show(path, tuning.reset(engine), format)
        return
    if not (collection or queries or qrels):
        raise typer.BadParameter("give a BEIR folder, or both --queries and --qrels, or --reset")
    with source_of(collection, split, queries, qrels, record=False) as source:
        topics, judged, without_text = source.read()
    say_left_out(judged, without_text)
    with open_to_write(path, device) as engine, Progress("queries") as progress:
        report = tuning.tune(engine, topics, judged, dry_run=dry_run, on_progress=progress)
    _show(path, report, format)


def _show(path: Path, report: TuneReport, format: Format | None) -> None:
    if chosen(format) is Format.json:
        print_json(asdict(report))
        return
    now = ", ".join(f"{name} {weight:g}" for name, weight in report.weights.items())
    if report.outcome == "reset":
        typer.echo(f"{path}: the default weights again: {now}")
        return
    typer.echo(
        f"nDCG@10 {report.mean_before:.4f} -> {report.mean_tuned:.4f}, cross-validated over "
        f"{report.queries:,} queries: {report.gain:+.4f} ({report.low:+.4f} to {report.high:+.4f}, "
        f"p {report.p:.4f})"
    )
    typer.echo(f"the best single retriever is {report.best_single}, with {report.alone:.4f}")
    kept = "better" if report.outcome == "better" else "no better, the weights stay as they are"
    typer.echo(f"{kept}: {now}")
    if (fit := report.calibration) is not None:
        typer.echo(
            f"probabilities of hits: Brier score {fit.before:.4f} -> {fit.fitted:.4f}, "
            f"cross-validated: {fit.gain:+.4f} less ({fit.low:+.4f} to {fit.high:+.4f}, "
            f"p {fit.p:.4f})"
        )
        typer.echo(
            f"better: nothing good found below {fit.floor:.2f}"
            if fit.better
            else "no better, they stay as they are"
        )
