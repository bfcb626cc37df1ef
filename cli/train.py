"""Commands that make models better: adapt, finetune."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from .options import Device, OutputFormat, Seed, example
from .reading import (
    Encoding,
    Id,
    InputFormat,
    MaxDocument,
    SkipBad,
    Text,
    Title,
    chosen_models,
    read_options,
)
from .training import (
    Kind,
    check,
    going_on,
    making_with,
    print_outcome,
    read_given,
    read_judged,
    reading_with,
    scorer_of,
    source_of,
    with_steps,
)

commands = typer.Typer()

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
        help="For a CORPUS, sparse model: folder or name [default: searchlib/gloss].",
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
Work = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Where finished steps are kept, to go on from [default: MODEL.work, removed "
        "when a better model is in place].",
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
    reading_steps: Annotated[
        int | None,
        typer.Option(
            help="Steps in which a sparse model first guesses hidden words of the documents, such "
            "as 150 [default: none].",
            show_default=False,
        ),
    ] = None,
    steps: Steps = None,
    minutes: Minutes = None,
    seed: Seed = 0,
    work: Work = None,
    id: Id = None,
    title: Title = None,
    text: Text = None,
    input_format: InputFormat = None,
    encoding: Encoding = "utf-8",
    max_document: MaxDocument = None,
    skip_bad: SkipBad = False,
    device: Device = None,
    format: OutputFormat = None,
) -> None:  # fmt: skip
    """Makes a model better on your documents, without judgements.

    Queries are made of the documents, candidates mined with the index, and the model learns to
    rank them as all retrievers together do (with --steps 0 and --reading-steps it only learns to
    guess hidden words). Then old and new are compared on queries that were held out; without a
    gain that is no luck, nothing is written to MODEL. What was finished stays if this is
    interrupted; the same command goes on.

    Try `blend` first: it takes seconds, and brought a sparse model more wherever it was measured.
    """
    models = chosen_models(
        dense_model=dense_model, sparse_model=sparse_model, no_dense=no_dense, no_sparse=no_sparse
    )
    options = read_options(
        id=id, title=title, text=text, metadata=None, input_format=input_format,
        encoding=encoding, max_document=max_document, skip_bad=skip_bad,
    )  # fmt: skip
    check(out, minutes, steps, least=0)
    given, judged, scorer = (
        read_given(queries),
        read_judged(test, split),
        scorer_of(teacher, device),
    )
    trained_on = source_of(source, options, models, kind)
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
        making=reading_with(making_with(defaults.making, steps, seed), reading_steps),
    )
    with going_on(out, work) as progress:
        outcome = run(
            trained_on, out, settings, work=work, minutes=minutes, given=given, judged=judged,
            cross_encoder=scorer, device=device, on_progress=progress,
        )  # fmt: skip
    print_outcome(outcome, out, work, kind, format)


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
    whole: Annotated[
        bool,
        typer.Option(
            "--whole",
            help="Train all of the model's weights (slow without a GPU) and go half of the way to "
            "what comes out, instead of a map of its vectors or factors of its terms.",
        ),
    ] = False,
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
    max_document: MaxDocument = None,
    skip_bad: SkipBad = False,
    device: Device = None,
    format: OutputFormat = None,
) -> None:
    """Makes a model better with judged queries.

    A dense model's vectors get a linear map, a sparse model's query terms a factor each, fitted
    in seconds on what the index holds; --whole teaches a model's weights to tell answers from
    what the index mistakes for them. A part of the queries is held out, and without a gain on
    them that is no luck, nothing is written to MODEL. What was finished stays if this is
    interrupted; the same command goes on.
    """
    models = chosen_models(
        dense_model=dense_model, sparse_model=sparse_model, no_dense=no_dense, no_sparse=no_sparse
    )
    options = read_options(
        id=id, title=title, text=text, metadata=None, input_format=input_format,
        encoding=encoding, max_document=max_document, skip_bad=skip_bad,
    )  # fmt: skip
    check(out, minutes, steps)
    from searchlib.evaluation import read_qrels, read_topics

    topics, judged = read_topics(queries), read_qrels(qrels)
    trained_on = source_of(source, options, models, kind)
    from searchlib.training.finetune import FinetuneSettings
    from searchlib.training.finetune import finetune as run

    defaults = FinetuneSettings(kind=kind.value, whole=whole, seed=seed)
    settings = replace(
        defaults,
        map=with_steps(defaults.map, steps),
        gains=with_steps(defaults.gains, steps),
        mining=replace(defaults.mining, seed=seed),
        making=making_with(defaults.making, steps, seed),
    )
    with going_on(out, work) as progress:
        outcome = run(
            trained_on, topics, judged, out, settings, work=work, minutes=minutes, device=device,
            on_progress=progress,
        )  # fmt: skip
    print_outcome(outcome, out, work, kind, format)
