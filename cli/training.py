"""What the commands that train share: what they read, how far they are, what they say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from .options import Format
from .output import chosen, print_json, print_table
from .progress import Progress, duration
from .reading import Reading

if TYPE_CHECKING:
    from searchlib.formats import ReadOptions
    from searchlib.training.publishing import Outcome
    from searchlib.training.source import Source

UNITS = {
    "queries": "queries",
    "mining": "queries",
    "reading": "steps",
    "training": "steps",
}  # else documents


class Kind(StrEnum):
    """Which of an index's models is trained."""

    sparse = "sparse"
    dense = "dense"


class _Progress:
    """One bar after the other: documents are indexed, queries mined, steps trained."""

    def __init__(self) -> None:
        self._unit = ""
        self._bar: Progress | None = None

    def __call__(self, done: int, total: int | None, note: str = "") -> None:
        unit = UNITS.get(note, "documents")
        if self._bar is None or unit != self._unit:
            self.close()
            self._unit, self._bar = unit, Progress(unit)
        self._bar(done, total, note)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None


@contextmanager
def going_on(out: Path, work: Path | None) -> Iterator[_Progress]:
    """A progress; Ctrl-C is answered with where the work lies and how to go on."""
    from searchlib.errors import Interrupted
    from searchlib.training.work import work_beside

    progress = _Progress()
    try:
        yield progress
    except KeyboardInterrupt:
        place = work or work_beside(out)
        raise Interrupted(
            f"interrupted; what was finished stays in {place}, run the same command again to go on"
        ) from None
    finally:
        progress.close()


def check(out: Path, minutes: float | None, steps: int | None, least: int = 1) -> None:
    """What is wrong with these is told before anything is read."""
    from searchlib.errors import BadQuery
    from searchlib.training.new_folder import must_be_free

    must_be_free(out)
    if minutes is not None and not minutes > 0:
        raise BadQuery(f"illegal minutes: {minutes}, must be more than 0")
    if steps is not None and steps < least:
        raise BadQuery(f"illegal steps: {steps}, must be {least} or more")


def source_of(
    source: str, options: ReadOptions, models: dict[str, str | None], kind: Kind
) -> Source:
    """An index, or documents, of which the first is read now."""
    from searchlib import Settings
    from searchlib.errors import BadInput
    from searchlib.training.corpus import is_index
    from searchlib.training.source import Corpus

    path = Path(source)
    if is_index(path):
        if models:
            raise BadInput(
                f"{path} is an index and has its models; leave --sparse-model, --dense-model, "
                "--no-sparse and --no-dense out, or give the documents"
            )
        return path
    settings = Settings(**models)  # type: ignore[arg-type]
    if (settings.sparse_model if kind is Kind.sparse else settings.dense_model) is None:
        raise typer.BadParameter(f"--no-{kind.value} leaves nothing to train")
    reading = Reading(source, options)
    return Corpus(path.name or source, reading.documents, settings, reading.total)


def read_given(path: Path | None) -> list[Any]:
    from searchlib.training.pairs import read_queries

    return [] if path is None else read_queries(path)


def read_judged(folder: Path | None, split: str | None) -> Any:
    from searchlib.evaluation import Collection
    from searchlib.training.judging import Judged

    if folder is None:
        if split is not None:
            raise typer.BadParameter("--split goes with --test")
        return None
    beir = Collection(folder)
    return Judged(f"{beir.name}, {beir.split(split)}", dict(beir.topics(split)), beir.qrels(split))


def scorer_of(model: str | None, device: str | None) -> Any:
    """What a cross-encoder says of pairs; that its files are there is found out now."""
    from searchlib.encoders.cross import CrossEncoder

    if model is None:
        return None
    cross_encoder = CrossEncoder(model, device)
    cross_encoder.score("a", ["a"])
    return cross_encoder.score


def making_with(defaults: Any, steps: int | None, seed: int) -> Any:
    """How the model is made, with what was asked for."""
    given = {} if steps is None else {"steps": steps}
    return replace(defaults, training=replace(defaults.training, seed=seed, **given))


def reading_with(making: Any, steps: int | None) -> Any:
    """How the model is made, with as many steps of reading as were asked for."""
    return (
        making if steps is None else replace(making, reading=replace(making.reading, steps=steps))
    )


def with_steps(fit: Any, steps: int | None) -> Any:
    """How numbers are fitted, with the steps asked for."""
    return fit if steps is None else replace(fit, steps=steps)


def print_outcome(
    outcome: Outcome, out: Path, work: Path | None, kind: Kind, format: Format | None
) -> None:
    """What came out, and what is next."""
    from searchlib.training.work import work_beside

    lines = [
        {
            "queries": judged.queries,
            "number": judged.comparison.queries,
            "measure": judged.measure,
            "before": judged.comparison.b,
            "after": judged.comparison.a,
            "difference": judged.comparison.difference,
            "low": judged.comparison.low,
            "high": judged.comparison.high,
            "p": judged.comparison.p,
        }
        for judged in outcome.judgements
    ]
    better = outcome.model is not None
    if chosen(format) is Format.json:
        print_json(
            {
                "model": str(out) if better else None,
                "better": better,
                "steps": outcome.steps,
                "seconds": round(outcome.seconds, 1),
                "judgements": lines,
            }
        )
    else:
        print_table(
            ("queries", ">n", ">before", ">after", ">difference", ">p"),
            (
                (
                    f"{x['queries']}, {x['measure']}", x["number"], f"{x['before']:.3f}",
                    f"{x['after']:.3f}", f"{x['difference']:+.3f} ({x['low']:+.3f} to "
                    f"{x['high']:+.3f})", f"{x['p']:.3f}",
                )
                for x in lines
            ),
        )  # fmt: skip
        took = f"{outcome.steps} steps in {duration(outcome.seconds)}"
        if better:
            typer.echo(f"{out}: better; {took}")
            typer.echo(f"next: searchlib reencode INDEX --{kind.value}-model {out}")
        else:
            typer.echo(f"no gain with p < 0.05: keep the old model; {took}")
    if not better:
        place = work or work_beside(out)
        typer.echo(
            f"not better, so {out} was not written; what was trained is in {place}", err=True
        )
