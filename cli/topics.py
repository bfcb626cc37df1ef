"""The queries and judgements that commands measure with: files, a BEIR folder, or stdin."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import say

if TYPE_CHECKING:
    from searchlib.evaluation import Qrels, Source

BeirFolder = Annotated[
    Path | None, typer.Argument(metavar="[BEIR_FOLDER]", help="With queries.jsonl and qrels/.")
]
Queries = Annotated[
    str | None, typer.Option(help="Without a folder: the queries (see `searchlib run`).")
]
Judgements = Annotated[
    Path | None, typer.Option(help="Without a folder: the judgements, TREC or BEIR.")
]
Split = Annotated[
    str | None, typer.Option(help="Which of a BEIR folder's qrels [default: test, else dev].")
]


@contextmanager
def source_of(
    collection: Path | None,
    split: str | None,
    queries: str | None,
    qrels: Path | None,
    record: bool,
) -> Iterator[Source]:
    """Where queries and judgements are; those of stdin are in a file until the block ends."""
    from searchlib.evaluation import Source

    if collection is not None:
        for name, given in (("--queries", queries), ("--qrels", qrels)):
            if given is not None:
                raise typer.BadParameter(f"give a BEIR folder or {name}, not both")
        yield Source(str(collection), split)
    elif split is not None:
        raise typer.BadParameter("--split is of a BEIR folder's judgements; give the folder")
    elif queries is None or qrels is None:
        raise typer.BadParameter("give a BEIR folder, or both --queries and --qrels")
    elif queries != "-":
        yield Source(queries=queries, qrels=str(qrels))
    elif record:
        raise typer.BadParameter("--record needs queries that can be read again, from a file")
    else:
        with _stdin_in_a_file() as file:
            yield Source(queries=str(file), qrels=str(qrels))


def say_left_out(judged: Qrels, without_text: int) -> None:
    """Says on stderr how many judged queries are not measured, if any."""
    if without_text:
        say(
            f"{without_text:,} of {len(judged) + without_text:,} judged queries have no text in "
            "QUERIES and are left out"
        )


def topics_of(source: str) -> dict[str, str]:
    """The queries of a file, or of stdin for "-", by id."""
    from searchlib.evaluation import read_topics

    if source != "-":
        return read_topics(Path(source))
    with _stdin_in_a_file() as file:
        return read_topics(file)


@contextmanager
def _stdin_in_a_file() -> Iterator[Path]:
    from searchlib.errors import BadInput

    with tempfile.NamedTemporaryFile(prefix="queries-") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
        file.flush()
        try:
            yield Path(file.name)
        except BadInput as error:
            raise BadInput(str(error).replace(file.name, "stdin")) from None
