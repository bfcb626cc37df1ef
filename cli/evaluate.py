"""Commands that measure: run, eval, compare."""

from __future__ import annotations

import io
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import say
from .filtering import warn_of_unknown_fields
from .opening import open_index
from .options import (
    Device,
    Format,
    IndexPath,
    OutputFormat,
    Passages,
    RankingFormat,
    RetrieverName,
    Unit,
    Where,
    all_of,
    example,
)
from .output import chosen, must_be_writable, print_json, print_table, write_file
from .progress import Progress
from .respelling import tell_of_readings
from .topics import (
    BeirFolder,
    Judgements,
    Queries,
    Split,
    say_left_out,
    source_of,
    topics_of,
)

if TYPE_CHECKING:
    from searchlib.evaluation import Qrels, Results
    from searchlib.searching import Searching

commands = typer.Typer()

Measures = Annotated[
    str, typer.Option(help="Separated by commas: nDCG@10, RR@10, R@100, AP, P(rel=2)@10, ...")
]


@commands.command(
    epilog=example("searchlib run notes.index collection/queries.jsonl -r bm25 -o bm25.run")
)
def run(
    path: IndexPath,
    queries: Annotated[
        str,
        typer.Argument(
            metavar="QUERIES",
            help="BEIR .jsonl, .tsv (id, tab, text), TREC topics, or - for stdin.",
        ),
    ],
    *,
    retriever: RetrieverName = "hybrid",
    k: Annotated[int, typer.Option("-k", help="How many results a query.")] = 1000,
    where: Where = None,
    passages: Passages = False,
    tag: Annotated[str | None, typer.Option(help="Last column [default: the retriever].")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file to write.")] = None,
    device: Device = None,
    format: Annotated[RankingFormat, typer.Option(help="How to print.")] = RankingFormat.trec,
) -> None:
    """Answers many queries; writes a TREC run.

    The hybrid and instant read them as `searchlib search` does; others take them as they are.
    """
    from searchlib.evaluation import ranked, themselves, write_run
    from searchlib.evaluation.trec import must_be_one_column

    if output is not None and format is not RankingFormat.trec:
        raise typer.BadParameter("--output writes a TREC run; for others redirect stdout")
    if output is not None:
        must_be_writable(output)  # told now, not when the work is done
    condition = all_of(where)
    topics = topics_of(queries)
    if format is RankingFormat.trec:  # told now, too
        must_be_one_column(tag or retriever, "tag")
        for id in topics:
            must_be_one_column(id, "query id")
    unit = Unit.passage if passages else Unit.document
    with open_index(path, device) as engine, Progress("queries") as progress:
        if condition is not None:
            warn_of_unknown_fields(engine, condition)
        tell_of_readings(engine, topics.values(), [retriever])
        own = frozenset() if passages else themselves(engine.snapshot, topics)
        answers = ranked(
            engine, topics, k=k, retriever=retriever, where=condition, unit=unit.value,
            themselves=own, on_progress=progress,
        )  # fmt: skip
    if own:
        say(f"queries that are documents, which are left out of their answers: {len(own):,}")
    if output is not None:
        text = io.StringIO()
        write_run(answers, text, tag or retriever)
        write_file(output, text.getvalue())
    elif format is RankingFormat.trec:
        write_run(answers, sys.stdout, tag or retriever)
    else:
        rows = (
            (query, rank, id, score)
            for query, ranking in answers.items()
            for rank, (id, score) in enumerate(ranking.items(), 1)
        )
        if format is RankingFormat.json:
            names = ("query", "rank", "id", "score")
            print_json(*(dict(zip(names, row, strict=True)) for row in rows))
        else:
            print_table(("query", ">rank", "id", ">score"), rows)


@commands.command(
    "eval",
    epilog=example('searchlib eval notes.index collection --measures "nDCG@10,R@100" -r all'),
)
def evaluate(
    path: IndexPath,
    collection: BeirFolder = None,
    *,
    queries: Queries = None,
    qrels: Judgements = None,
    measures: Measures = "nDCG@10,R@100",
    split: Split = None,
    retriever: Annotated[
        list[str] | None,
        typer.Option(
            "--retriever", "-r", help="One, several with commas, or all [default: hybrid]."
        ),
    ] = None,
    per_query: Annotated[
        bool, typer.Option("--per-query", help="One line a query, not the mean.")
    ] = False,
    where: Where = None,
    record: Annotated[
        bool, typer.Option("--record", help="Keep the figures: `verify --reproduce` checks them.")
    ] = False,
    device: Device = None,
    format: OutputFormat = None,
) -> None:
    """Measures how good an index's answers are.

    1,000 answers a query are looked at, whatever is measured; equal scores are ordered as
    trec_eval orders them, by descending document id. The hybrid and instant read queries as
    `searchlib search` does; others take them as they are.
    """
    from searchlib.errors import BadQuery
    from searchlib.evaluation import depth, keep, parse_measures, ranked, record_of, themselves
    from searchlib.evaluation import evaluate as judge

    names, condition = parse_measures(measures), all_of(where)
    with source_of(collection, split, queries, qrels, record) as source:
        topics, judged, without_text = source.read()
    say_left_out(judged, without_text)
    with open_index(path, device) as engine:
        known = engine.retriever_names()
        wanted = [part.strip() for some in retriever or ["hybrid"] for part in some.split(",")]
        wanted = known if "all" in wanted else list(dict.fromkeys(wanted))
        for name in wanted:
            if name not in known:
                raise BadQuery(f"unknown retriever {name!r}; this index has {', '.join(known)}")
        if condition is not None:
            _must_select_some(engine, condition)
        _must_hold_some(engine, judged)
        own = themselves(engine.snapshot, topics, judged)
        results: dict[str, Results] = {}
        tell_of_readings(engine, topics.values(), wanted)
        for name in wanted:
            with Progress("queries") as progress:
                answers = ranked(
                    engine, topics, k=depth(names), retriever=name, where=condition,
                    themselves=own, on_progress=progress,
                )  # fmt: skip
            results[name] = judge(judged, answers, measures)
            if record:
                found = results[name].mean
                keep(path, record_of(
                    engine, source, topics, judged, retriever=name, where=condition, values=found
                ))  # fmt: skip
            if chosen(format) is Format.json:
                _print_results(name, results[name], per_query)
    if chosen(format) is Format.json:
        return
    if per_query:
        print_table(
            ("retriever", "measure", "query", ">value"),
            (
                (name, measure, query, f"{value:.4f}")
                for name, result in results.items()
                for measure, values in result.per_query.items()
                for query, value in values.items()
            ),
        )
    else:
        print_table(
            ("retriever", *(f">{name}" for name in names), ">queries"),
            (
                (name, *(f"{result.mean[m]:.4f}" for m in names), result.queries)
                for name, result in results.items()
            ),
        )


@commands.command(
    epilog=example(
        "searchlib run notes.index collection/queries.jsonl -r bm25 -o a.run",
        "searchlib run notes.index collection/queries.jsonl -r hybrid -o b.run",
        "searchlib compare a.run b.run --qrels collection/qrels/test.tsv",
    )
)
def compare(
    run_a: Annotated[Path, typer.Argument(metavar="RUN_A", help="A TREC run.")],
    run_b: Annotated[Path, typer.Argument(metavar="RUN_B", help="Another.")],
    qrels: Annotated[Path, typer.Option(help="The judgements, TREC or BEIR.")],
    measures: Measures = "nDCG@10,R@100",
    format: OutputFormat = None,
) -> None:
    """Compares two runs, query by query.

    The difference is A - B, with a bootstrap interval of 95 % from low to high; p is of a
    two-sided, paired randomisation test.
    """
    from searchlib.errors import BadInput, BadQuery
    from searchlib.evaluation import compare as compare_values
    from searchlib.evaluation import evaluate as judge
    from searchlib.evaluation import read_qrels, read_run

    judged, runs = read_qrels(qrels), (read_run(run_a), read_run(run_b))
    for path, answers in zip((run_a, run_b), runs, strict=True):
        lacking = len(judged.keys() - answers.keys())
        if lacking == len(judged):
            raise BadInput(f"no query of {path} is judged in {qrels}: do the ids agree?")
        if lacking:
            say(f"{path} lacks {lacking:,} of {len(judged):,} judged queries; they count as 0")
    a, b = (judge(judged, answers, measures).per_query for answers in runs)
    lines = []
    for measure, values in a.items():
        for path, own, other in ((run_a, values, b[measure]), (run_b, b[measure], values)):
            if undefined := len(other.keys() - own.keys()):
                raise BadQuery(f"{measure} is undefined for {undefined:,} queries of {path}")
        result = compare_values(values, b[measure])
        line = {"measure": measure, **asdict(result), "queries": result.queries}
        lines.append({key: value for key, value in line.items() if key != "weighting"})
    if chosen(format) is Format.table:
        numbers = ("a", "b", "difference", "low", "high", "p")
        print_table(
            ("measure", ">a", ">b", ">a - b", ">low", ">high", ">p", ">won/lost/tied"),
            (
                (
                    line["measure"],
                    *(f"{line[name]:.4f}" for name in numbers),
                    f"{line['wins']}/{line['losses']}/{line['ties']}",
                )
                for line in lines
            ),
        )
    else:
        print_json(*lines)


def _must_hold_some(engine: Searching, judged: Qrels) -> None:
    """Raises BadInput if no judged document is in the index: zeros would look like a result."""
    from searchlib.errors import BadInput

    ids = list(dict.fromkeys(id for judgements in judged.values() for id in judgements))
    if ids and not (engine.snapshot.lookup(ids) >= 0).any():
        raise BadInput(
            f"none of the {len(ids):,} judged documents (such as {ids[0]!r}) is in {engine.path}; "
            "is it another collection's index?"
        )


def _must_select_some(engine: Searching, condition: str) -> None:
    """Raises BadQuery if the filter lets no document through: all figures would be 0."""
    from searchlib.errors import BadQuery

    warn_of_unknown_fields(engine, condition)
    if not any(part.any() for part in engine.snapshot.select(condition).documents):
        raise BadQuery(f"no document of {engine.path} fits {condition!r}: nothing to measure")


def _print_results(retriever: str, results: Results, per_query: bool) -> None:
    for measure, mean in results.mean.items():
        start = {"retriever": retriever, "measure": measure}
        if per_query:
            for query, value in results.per_query[measure].items():
                print_json({**start, "query": query, "value": value})
        else:
            print_json({**start, "value": mean, "queries": results.queries})
