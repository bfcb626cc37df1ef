"""Commands that check an index and tidy it up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .opening import open_index, open_to_write, problems_of
from .options import Device, Format, IndexPath, OutputFormat, example, size
from .output import chosen, print_json
from .progress import Progress, duration

if TYPE_CHECKING:
    from searchlib.maintenance import Maintenance
    from searchlib.searching import Searching

commands = typer.Typer()

Memory = Annotated[
    str | None,
    typer.Option(help="How much to hold, such as 2GB: the more, the fewer segments."),
]


@commands.command(
    epilog=example(
        "searchlib verify notes.index",
        "searchlib eval notes.index collection --record",
        "searchlib verify notes.index --reproduce",
    )
)
def verify(
    path: IndexPath,
    *,
    reproduce: Annotated[
        bool, typer.Option("--reproduce", help="Derive the figures again that eval recorded.")
    ] = False,
    device: Device = None,
    format: OutputFormat = None,
) -> None:
    """Checks every file of an index for damage."""
    from indexes.errors import Damaged, SearchlibError

    with Progress("steps") as progress:
        found, beside = problems_of(path, progress)
    problems = [*found, *beside]
    lines: list[dict[str, Any]] = [{"problem": problem} for problem in problems]
    if reproduce and not problems:
        with open_index(path, device) as engine:
            lines = _reproduced(engine)
    if chosen(format) is Format.json:
        print_json(*lines)
    else:
        typer.echo("\n".join(map(_verified, lines)) or "no problems")
    said = f"{path}: {len(problems)} problem{'s' * (len(problems) > 1)}"
    if found:
        raise Damaged(said)
    if beside:
        raise SearchlibError(f"{said} beside the index, which is sound itself")
    if failed := sum("problem" in line for line in lines):
        from searchlib.errors import NotReproduced

        raise NotReproduced(f"{path}: {failed} of {len(lines)} figures not reproduced")


def _reproduced(engine: Searching) -> list[dict[str, Any]]:
    """What became of each recorded figure."""
    from searchlib.evaluation import reproduce

    lines = []
    with Progress("queries") as progress:
        for outcome in reproduce(engine, progress):
            record = outcome.record
            line = {
                "retriever": record.retriever,
                "measure": record.measure,
                "recorded": record.value,
                "now": outcome.value,
                "changes": list(outcome.changes),
            }
            lines.append(line | ({"problem": outcome.problem} if outcome.problem else {}))
    return lines


def _verified(line: dict[str, Any]) -> str:
    if "problem" in line:
        return str(line["problem"])
    changes = "".join(f"; {change}" for change in line["changes"])
    return f"{line['retriever']} {line['measure']}: {line['now']:.4f}, as recorded{changes}"


@commands.command(epilog=example("searchlib merge notes.index"))
def merge(path: IndexPath, *, memory: Memory = None, format: OutputFormat = None) -> None:
    """Merges an index into as few segments as memory allows.

    Queries are fastest so. Nobody must: adding merges too, as far as it pays.
    """
    budget = None if memory is None else size(memory)
    with open_to_write(path) as engine, _untouched(path), Progress("steps") as progress:
        report = engine.merge(memory=budget, on_progress=progress)
    _show(path, report, format)


@commands.command(epilog=example("searchlib vacuum notes.index"))
def vacuum(path: IndexPath, *, format: OutputFormat = None) -> None:
    """Frees what deleted documents and leftover files take up on the disk."""
    with open_to_write(path) as engine, _untouched(path), Progress("steps") as progress:
        report = engine.vacuum(on_progress=progress)
    _show(path, report, format)


@contextmanager
def _untouched(path: Path) -> Iterator[None]:
    """What Ctrl-C means here."""
    from searchlib.errors import Interrupted

    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; {path} is as it was") from None


def _show(path: Path, report: Maintenance, format: Format | None) -> None:
    if chosen(format) is Format.json:
        print_json({**asdict(report), "freed": report.freed})
        return
    lines = [
        f"{path}: {report.segments_before} -> {report.segments_after} segments, "
        f"{_bytes(report.bytes_before)} -> {_bytes(report.bytes_after)} "
        f"in {duration(report.seconds)}"
    ]
    if gone := report.deleted_before - report.deleted_after:
        lines.append(f"{gone:,} deleted documents are gone from the disk")
    if report.leftover_files:
        lines.append(f"{report.leftover_files:,} leftover files removed")
    typer.echo("\n".join(lines))


def _bytes(number: int) -> str:
    return f"{number / 1e6:,.1f} MB" if number >= 100_000 else f"{number:,} bytes"
