"""The command that shows which words a model does not know."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .distill import Corpus, corpus_texts
from .opening import open_index
from .options import Format, K, OutputFormat, example
from .output import chosen, print_json, print_table

if TYPE_CHECKING:
    from searchlib.encoders.tokenizing import Tokenizer

commands = typer.Typer()


@commands.command(epilog=example("searchlib gaps notes.index -k 10"))
def gaps(
    source: Corpus,
    *,
    model: Annotated[
        str | None,
        typer.Option(
            help="Sparse or dense model [default: the index's sparse one, else searchlib/gloss].",
            show_default=False,
        ),
    ] = None,
    pieces: Annotated[int, typer.Option(help="Show words cut into so many pieces or more.")] = 3,
    k: K = 50,
    format: OutputFormat = None,
) -> None:
    """Shows the words that the model's vocabulary lacks and the corpus uses.

    `share`: how much of the corpus's idf mass (documents times idf) lies on the word: the more,
    the more a search by words can tell by it, and the encoders perhaps not.
    """
    from searchlib.training.gaps import find_gaps

    found = find_gaps(corpus_texts(source), _tokenizer(source, model), pieces=pieces, k=k)
    if chosen(format) is not Format.table:
        print_json(*(asdict(gap) for gap in found.words))
        return
    print_table(
        ("word", ">documents", "pieces", ">share"),
        (
            (gap.word, gap.documents, " ".join(gap.pieces), f"{gap.share:.3%}")
            for gap in found.words
        ),
    )
    typer.echo(
        f"{found.different:,} words are cut into {pieces} pieces or more; {found.share:.1%} of "
        f"the idf mass of {found.documents:,} documents lies on them"
    )


def _tokenizer(source: str, model: str | None) -> Tokenizer:
    from searchlib.encoders.models import SPARSE_DEFAULT
    from searchlib.training.corpus import is_index
    from searchlib.training.gaps import tokenizer_of

    if model is None and is_index(Path(source)):
        with open_index(Path(source)) as engine:
            model = engine.settings.sparse_model or engine.settings.dense_model
    return tokenizer_of(model or SPARSE_DEFAULT)
