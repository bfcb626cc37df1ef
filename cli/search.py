"""Commands that ask an index: search, explain, expand."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from searchlib.errors import check_k

from .errors import reported
from .filtering import warn_of_unknown_fields, warn_of_unknown_order
from .likely import Likely, MinProbability
from .opening import open_index
from .options import (
    Cursor,
    Device,
    Format,
    IndexPath,
    K,
    Offset,
    OutputFormat,
    OutputRankingFormat,
    Passages,
    RankingFormat,
    RetrieverName,
    Sort,
    Where,
    all_of,
    example,
)
from .output import chosen, chosen_for_rankings, print_hits, print_json, show, show_expansion, tree
from .pages import cursor_given, print_page
from .refining import (
    Feedback,
    FeedbackPassages,
    FeedbackTerms,
    FeedbackWeight,
    Rerank,
    RerankDepth,
    refining,
)
from .respelling import told_reading

if TYPE_CHECKING:
    from searchlib.types import Hit

FoundWith = Annotated[
    list[str] | None, typer.Option("--where", help="The filter that ID was found with.")
]
IsPassage = Annotated[
    bool,
    typer.Option("--passages", help="ID is a passage's, even where a document has that id."),
]

commands = typer.Typer()
TERMS_ON_A_TERMINAL = 30


@commands.command(
    epilog=example(
        'searchlib search notes.index "how do plants eat" -k 3',
        "searchlib search notes.index sunlight -r bm25 --where 'year > 2000'",
        "searchlib search notes.index water -r bm25 --sort=-year --offset 1",
        "searchlib search notes.index water -r bm25 --feedback --explain",
    )
)
def search(
    path: IndexPath,
    query: Annotated[
        str | None,
        typer.Argument(
            metavar="[QUERY]",
            help='Words in "quotation marks" count more where a text has them so, and are not '
            "respelled. "
            "None: a prompt. -: stdin, one query a line.",
        ),
    ] = None,
    *,
    k: K = 10,
    retriever: RetrieverName = "hybrid",
    where: Where = None,
    sort: Sort = None,
    offset: Offset = 0,
    cursor: Cursor = None,
    passages: Passages = False,
    explain: Annotated[bool, typer.Option("--explain", help="Say where scores come from.")] = False,
    feedback: Feedback = False,
    feedback_passages: FeedbackPassages = None,
    feedback_terms: FeedbackTerms = None,
    feedback_weight: FeedbackWeight = None,
    rerank: Rerank = None,
    rerank_depth: RerankDepth = None,
    min_probability: MinProbability = None,
    device: Device = None,
    format: OutputRankingFormat = None,
) -> None:
    """Finds the best documents for QUERY.

    The hybrid and instant read a word that no document has as one that is a slip away, and say so;
    in quotation marks it stays as it is.

    Without QUERY a prompt opens that keeps the models loaded; Ctrl-D leaves it.
    """
    unit: Literal["document", "passage"] = "passage" if passages else "document"
    layout, condition = chosen_for_rankings(format), all_of(where)
    with open_index(path, device) as engine:
        asked = refining(
            engine,
            retriever,
            feedback=feedback,
            passages=feedback_passages,
            terms=feedback_terms,
            weight=feedback_weight,
            rerank=rerank,
            depth=rerank_depth,
        )

        if sort is not None:
            warn_of_unknown_order(engine, sort)
        likely = Likely.of(engine, asked, min_probability, condition)

        def answer(text: str, *, several: bool = False) -> list[Hit]:
            read = told_reading(engine, text, asked)
            hits = engine.search(
                text,
                k,
                retriever=asked,
                where=condition,
                unit=unit,
                explain=explain,
                sort=sort,
                offset=offset,
                min_probability=likely.asked,
            )
            if condition is not None and not hits:
                warn_of_unknown_fields(engine, condition)
            typed = text if several else None
            return likely.shown(read, hits, first=offset == 0 and sort is None, typed=typed)

        if cursor is not None:
            if query is not None:
                told_reading(engine, query, asked)
            ruled_out = {
                "--offset": offset != 0,
                "--explain": explain,
                "--min-probability": min_probability is not None,
                "a prompt or stdin": query in (None, "-"),
            }
            page = engine.page(
                query,
                k,
                cursor=cursor_given(cursor, ruled_out),
                retriever=retriever,
                where=condition,
                unit=unit,
                sort=sort,
            )
            if condition is not None and not page.hits:
                warn_of_unknown_fields(engine, condition)
            print_page(page, layout, retriever)
        elif query is not None and query != "-":
            print_hits(answer(query), layout, None, retriever)
        elif query == "-" or not sys.stdin.isatty():
            for number, text in enumerate(_lines(), 1):
                name = str(number) if layout is RankingFormat.trec else text
                print_hits(answer(text, several=True), layout, name, retriever)
        else:
            for text in _prompt():
                with reported():
                    print_hits(answer(text), layout, None, retriever)


@commands.command(
    epilog=example('searchlib explain notes.index "how do plants eat" note-1 -r bm25')
)
def explain(
    path: IndexPath,
    query: Annotated[str, typer.Argument(metavar="QUERY")],
    id: Annotated[
        str, typer.Argument(metavar="ID", help="A document, or a passage: document#number.")
    ],
    *,
    retriever: RetrieverName = "hybrid",
    where: FoundWith = None,
    passages: IsPassage = False,
    device: Device = None,
    format: OutputFormat = None,
) -> None:
    """Shows what a document's score is made of."""
    unit: Literal["document", "passage"] = "passage" if passages else "document"
    condition = all_of(where)
    with open_index(path, device) as engine:
        read = told_reading(engine, query, retriever)
        explanation = engine.explain(query, id, retriever=retriever, where=condition, unit=unit)
        calibrated = engine.calibrated() if retriever == "hybrid" else None
        relevance = (
            calibrated.explain(read, id, condition, unit) if calibrated is not None else None
        )
    if chosen(format) is Format.table:
        show(tree(explanation, id), *([tree(relevance, id)] if relevance is not None else []))
    else:
        values = {"query": query, "id": id, "explanation": explanation.to_dict()}
        print_json(values | ({} if relevance is None else {"relevance": relevance.to_dict()}))


@commands.command(epilog=example('searchlib expand "remove whitespace around text" -k 20'))
def expand(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="A text, or - for stdin.")],
    k: Annotated[
        int | None,
        typer.Option("-k", help="How many terms, heaviest first [default: 30 on a terminal]."),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="The sparse model, a folder or a name.")
    ] = None,
    index: Annotated[
        Path | None, typer.Option("--index", help="Take this index's sparse model.")
    ] = None,
    format: OutputFormat = None,
) -> None:
    """Shows what a learned-sparse model makes of TEXT."""
    import searchlib

    if index is not None and model is not None:
        raise typer.BadParameter("give --model or --index, not both")
    if k is not None:
        check_k(k)
    if text == "-":
        text = sys.stdin.read()
    if index is not None:
        with open_index(index) as engine:
            terms = engine.expand(text)
    else:
        terms = searchlib.expand(text, model=model)
    if chosen(format) is Format.table:
        show_expansion(terms, k or TERMS_ON_A_TERMINAL)
    else:
        print_json(*(asdict(term) for term in terms[:k]))


def _lines() -> Iterator[str]:
    if hasattr(sys.stdin, "reconfigure"):  # subtle: half characters would make JSON that is none
        sys.stdin.reconfigure(errors="replace")
    return (line.strip() for line in sys.stdin if line.strip())


def _prompt() -> Iterator[str]:
    """What the user types, until Ctrl-D; with history where the terminal can."""
    with suppress(ImportError):
        import readline  # noqa: F401  # input() then has history and editing
    while True:
        try:
            text = input("search> ").strip()
        except EOFError:
            typer.echo()
            return
        except KeyboardInterrupt:
            typer.echo()  # what is said of it begins a line
            raise
        if text:
            yield text
