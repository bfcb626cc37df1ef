"""Commands that make models better: adapt, finetune."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Device, Format, OutputFormat, example
from .output import chosen, print_json, print_table
from .progress import Progress, duration
from .reading import (
    Encoding,
    Id,
    InputFormat,
    MaxDocument,
    Reading,
    SkipBad,
    Text,
    Title,
    chosen_models,
    read_options,
)

if TYPE_CHECKING:
    from searchlib.formats import ReadOptions
    from searchlib.training.publishing import Outcome
    from searchlib.training.source import Source

commands = typer.Typer()

UNITS = {"queries": "queries", "mining": "queries", "training": "steps"}  # else documents


class Kind(StrEnum):
    """Which of an index's models is trained."""

    sparse = "sparse"
    dense = "dense"


TrainedOn = Annotated[
    str,
    typer.Argument(
        metavar="INDEX|CORPUS",
        help="An index, whose own models teach and learn; or documents, as `searchlib index` "
        "reads them, of which one is made.",
    ),
]
Out = Annotated[
    Path, typer.Option("--out", metavar="MODEL", help="The new model's folder; must not exist.")
]
KindOption = Annotated[Kind, typer.Option(help="Which model is trained.")]
SparseModel = Annotated[
    str | None,
    typer.Option(
        help="For a CORPUS, sparse model: folder or name [default: rasyosef/splade-tiny].",
        show_default=False,
    ),
]
DenseModel = Annotated[
    str | None,
    typer.Option(
        help="For a CORPUS, dense model: folder or name "
        "[default: sentence-transformers/all-MiniLM-L6-v2].",
        show_default=False,
    ),
]
NoSparse = Annotated[
    bool, typer.Option("--no-sparse", help="For a CORPUS: no sparse model teaches.")
]
NoDense = Annotated[bool, typer.Option("--no-dense", help="For a CORPUS: no dense model teaches.")]
Steps = Annotated[
    int | None, typer.Option(help="Steps of training [default: the recipe's].", show_default=False)
]
Minutes = Annotated[
    float | None,
    typer.Option(help="About how long all may take; training stops in time.", show_default=False),
]
Seed = Annotated[int, typer.Option(help="Of everything that is drawn at random.")]
Work = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Where finished steps are kept, to go on from [default: MODEL.work, removed at the "
        "end].",
        show_default=False,
    ),
]


@commands.command(
    epilog=example(
        "searchlib adapt notes.index --out notes.model",
        "searchlib adapt collection --out my.model --minutes 20 --test collection",
    )
)
def adapt(
    source: TrainedOn,
    *,
    out: Out,
    kind: KindOption = Kind.sparse,
    queries: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Queries of your own to learn from, without judgements: .txt (one a line), "
            ".tsv, .jsonl.",
        ),
    ] = None,
    most: Annotated[int | None, typer.Option(help="Most pseudo-queries [default: 8000].",
                                             show_default=False)] = None,
    kinds: Annotated[
        str | None,
        typer.Option(
            help="Of title, heading, question, sentence, cloze, crop, keywords: which "
            "pseudo-queries are made, separated by commas [default: all].",
            show_default=False,
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Learn from a cross-encoder, a folder or a name, not from the retrievers together "
            "(slow without a GPU).",
        ),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(
            metavar="BEIR_FOLDER", help="Judgements to measure with; nothing is learned from them."
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Which of its qrels [default: test, else dev].")
    ] = None,
    sparse_model: SparseModel = None,
    dense_model: DenseModel = None,
    no_sparse: NoSparse = False,
    no_dense: NoDense = False,
    steps: Steps = None,
    minutes: Minutes = None,
    seed: Seed = 0,
    work: Work = None,
    id: Id = None,
    title: Title = None,
    text: Text = None,
    input_format: InputFormat = None,
    encoding: Encoding = "utf-8",
    max_document: MaxDocument = "64MB",
    skip_bad: SkipBad = False,
    device: Device = None,
    format: OutputFormat = None,
) -> None:  # fmt: skip
    """Makes a model better on your documents, without judgements.

    Queries are made of the documents, candidates mined with the index, and the model learns to
    rank them as all retrievers together do. Then old and new are compared on queries that were
    held out; without a gain that is no luck, nothing is written to MODEL. What was finished
    stays if this is interrupted; the same command goes on.
    """
    models = chosen_models(
        dense_model=dense_model, sparse_model=sparse_model, no_dense=no_dense, no_sparse=no_sparse
    )
    options = read_options(
        id=id, title=title, text=text, metadata=None, input_format=input_format,
        encoding=encoding, max_document=max_document, skip_bad=skip_bad,
    )  # fmt: skip
    _check(out, minutes, steps)
    given, judged, scorer = _given(queries), _judged(test, split), _scorer(teacher, device)
    trained_on = _source(source, options, models, kind)
    pairs: dict[str, Any] = {} if most is None else {"most": most}
    from searchlib.training.pairs import PairSettings, kinds_of

    if kinds is not None:
        pairs["kinds"] = kinds_of(kinds)
    pair_settings = PairSettings(seed=seed, **pairs)
    from searchlib.training.adapt import AdaptSettings
    from searchlib.training.adapt import adapt as run

    defaults = AdaptSettings(kind=kind.value)
    settings = replace(
        defaults,
        pairs=pair_settings,
        mining=replace(defaults.mining, seed=seed),
        making=_making(defaults.making, steps, seed),
    )
    with _going_on(out, work) as progress:
        outcome = run(
            trained_on, out, settings, work=work, minutes=minutes, given=given, judged=judged,
            cross_encoder=scorer, device=device, on_progress=progress,
        )  # fmt: skip
    _print(outcome, out, work, format)


@commands.command(
    epilog=example(
        "searchlib finetune notes.index --queries q.jsonl --qrels q.tsv --out new",
    )
)
def finetune(
    source: TrainedOn,
    *,
    queries: Annotated[
        Path, typer.Option(metavar="FILE", help="BEIR .jsonl, .tsv (id, tab, text), TREC topics.")
    ],
    qrels: Annotated[
        Path, typer.Option(metavar="FILE", help="Which documents answer them, TREC or BEIR.")
    ],
    out: Out,
    kind: KindOption = Kind.sparse,
    sparse_model: SparseModel = None,
    dense_model: DenseModel = None,
    no_sparse: NoSparse = False,
    no_dense: NoDense = False,
    steps: Steps = None,
    minutes: Minutes = None,
    seed: Seed = 0,
    work: Work = None,
    id: Id = None,
    title: Title = None,
    text: Text = None,
    input_format: InputFormat = None,
    encoding: Encoding = "utf-8",
    max_document: MaxDocument = "64MB",
    skip_bad: SkipBad = False,
    device: Device = None,
    format: OutputFormat = None,
) -> None:
    """Makes a model better with judged queries.

    The model learns to tell answers from what the index mistakes for them. A part of the queries
    is held out: training stops where it gets worse on them, and without a gain on them that is
    no luck, nothing is written to MODEL. What was finished stays if this is interrupted; the
    same command goes on.
    """
    models = chosen_models(
        dense_model=dense_model, sparse_model=sparse_model, no_dense=no_dense, no_sparse=no_sparse
    )
    options = read_options(
        id=id, title=title, text=text, metadata=None, input_format=input_format,
        encoding=encoding, max_document=max_document, skip_bad=skip_bad,
    )  # fmt: skip
    _check(out, minutes, steps)
    from searchlib.evaluation import read_qrels, read_topics

    topics, judged = read_topics(queries), read_qrels(qrels)
    trained_on = _source(source, options, models, kind)
    from searchlib.training.finetune import FinetuneSettings
    from searchlib.training.finetune import finetune as run

    defaults = FinetuneSettings(kind=kind.value, seed=seed)
    settings = replace(
        defaults,
        mining=replace(defaults.mining, seed=seed),
        making=_making(defaults.making, steps, seed),
    )
    with _going_on(out, work) as progress:
        outcome = run(
            trained_on, topics, judged, out, settings, work=work, minutes=minutes, device=device,
            on_progress=progress,
        )  # fmt: skip
    _print(outcome, out, work, format)


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
def _going_on(out: Path, work: Path | None) -> Iterator[_Progress]:
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


def _check(out: Path, minutes: float | None, steps: int | None) -> None:
    """What is wrong with these is told before anything is read."""
    from searchlib.errors import BadQuery
    from searchlib.training.export import must_be_free

    must_be_free(out)
    if minutes is not None and not minutes > 0:
        raise BadQuery(f"illegal minutes: {minutes}, must be more than 0")
    if steps is not None and steps < 1:
        raise BadQuery(f"illegal steps: {steps}, must be 1 or more")


def _source(source: str, options: ReadOptions, models: dict[str, str | None], kind: Kind) -> Source:
    """An index, or documents, of which the first is read now."""
    from searchlib import Settings
    from searchlib.errors import BadInput
    from searchlib.training.source import Corpus, is_index

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


def _given(path: Path | None) -> list[Any]:
    from searchlib.training.pairs import read_queries

    return [] if path is None else read_queries(path)


def _judged(folder: Path | None, split: str | None) -> Any:
    from searchlib.evaluation import Collection
    from searchlib.training.judging import Judged

    if folder is None:
        if split is not None:
            raise typer.BadParameter("--split goes with --test")
        return None
    beir = Collection(folder)
    return Judged(f"{beir.name}, {beir.split(split)}", dict(beir.topics(split)), beir.qrels(split))


def _scorer(model: str | None, device: str | None) -> Any:
    """What a cross-encoder says of pairs; that its files are there is found out now."""
    from searchlib.encoders.cross import CrossEncoder

    if model is None:
        return None
    cross_encoder = CrossEncoder(model, device)
    cross_encoder.score("a", ["a"])
    return cross_encoder.score


def _making(defaults: Any, steps: int | None, seed: int) -> Any:
    """How the model is made, with what was asked for."""
    given = {} if steps is None else {"steps": steps}
    return replace(defaults, training=replace(defaults.training, seed=seed, **given))


def _print(outcome: Outcome, out: Path, work: Path | None, format: Format | None) -> None:
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
            ("queries", ">number", ">before", ">after", ">difference", ">p"),
            (
                (
                    f"{x['queries']}, {x['measure']}", x["number"], f"{x['before']:.4f}",
                    f"{x['after']:.4f}", f"{x['difference']:+.4f} ({x['low']:+.4f} to "
                    f"{x['high']:+.4f})", f"{x['p']:.4f}",
                )
                for x in lines
            ),
        )  # fmt: skip
        took = f"{outcome.steps} steps in {duration(outcome.seconds)}"
        if better:
            typer.echo(f"{out}: better; {took}")
        else:
            typer.echo(f"no gain that is no luck: keep the old model; {took}")
    if not better:
        place = work or work_beside(out)
        typer.echo(
            f"not better, so {out} was not written; what was trained is in {place}", err=True
        )
