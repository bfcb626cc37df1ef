"""The command that makes a fast dense encoder for one corpus: static vectors."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .opening import open_index
from .options import Device, Format, OutputFormat, Seed, example
from .output import chosen, print_json
from .progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from searchlib.training.distill import Sample

commands = typer.Typer()

Corpus = Annotated[
    str,
    typer.Argument(metavar="CORPUS", help="An index, or documents as `index` reads them."),
]


@commands.command(epilog=example("searchlib distill notes.jsonl --out fast"))
def distill(
    source: Corpus,
    *,
    out: Annotated[Path, typer.Option(help="The new model, a folder.")],
    dense_model: Annotated[
        str | None,
        typer.Option(
            help="Dense model to learn from [default: the index's, else all-MiniLM-L6-v2].",
            show_default=False,
        ),
    ] = None,
    vectors: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Take word vectors from here, not from a model: word2vec's .vec, .txt or .bin, "
            "perhaps .gz.",
        ),
    ] = None,
    dimension: Annotated[
        int | None, typer.Option(help="Numbers in a vector [default: as many as the model has].")
    ] = None,
    words: Annotated[
        int,
        typer.Option(help="Of the words that the model cuts up, so many get vectors of their own."),
    ] = 0,
    sample: Annotated[int, typer.Option(help="Learn from so many passages at most.")] = 10_000,
    seed: Seed = 0,
    device: Device = None,
    format: OutputFormat = None,
) -> None:
    """Makes static vectors: a dense model for this corpus that runs no network.

    Each token gets one vector, fitted to what a dense model makes of the corpus's passages; a
    text's vector is their mean. Much faster, and less good; on other texts, far less good. Use it
    with `index --dense-model FOLDER`. Of an index, vectors that are there are used again. With
    --vectors each word of a file has its vector from there, weighted by how rare the word is.
    """
    from searchlib.errors import BadInput
    from searchlib.training.corpus import is_index
    from searchlib.training.new_folder import must_be_free
    from searchlib.training.static_model import distill_model, distill_vectors, seen

    if vectors is not None and (dense_model is not None or dimension is not None or words):
        raise typer.BadParameter("--vectors takes no --dense-model, --dimension or --words")
    if sample < 10:
        raise BadInput(f"illegal sample value: {sample}, must be 10 or more")
    must_be_free(out)
    with Progress("texts") as progress:
        if vectors is not None:
            from searchlib.encoders.word2vec import read_word2vec

            known, table = read_word2vec(vectors)
            made = distill_vectors(_texts(source, sample, seed), known, table, out, vectors.name)
        else:
            learned, model = _sample(source, sample, seed, dense_model)
            made = distill_model(
                learned, model, out, dimension=dimension, words=words, seed=seed, device=device,
                on_progress=progress,
            )  # fmt: skip
    if chosen(format) is not Format.table:
        print_json(asdict(made))
        return
    line = f"{made.model}: {made.tokens:,} vectors of {made.dimension} numbers; "
    if made.known is None:
        line += f"on passages held out, {seen(made)}"
    else:
        line += f"{made.known:.1%} of the words in {made.passages:,} passages have one"
    typer.echo(line)
    begun = "reencode" if is_index(Path(source)) else "index NEW.index"
    typer.echo(f"next: searchlib {begun} {source} --dense-model {made.model}")


def _sample(source: str, size: int, seed: int, model: str | None) -> tuple[Sample, str]:
    """Passages to learn from, and the model; an index's vectors where they are of that model."""
    from searchlib.encoders.models import DENSE_DEFAULT
    from searchlib.training.corpus import index_sample, is_index

    if not is_index(Path(source)):
        return _texts(source, size, seed), model or DENSE_DEFAULT
    with open_index(Path(source)) as engine:
        own = engine.settings.dense_model
        if own is not None and model in (None, own):
            return index_sample(engine, size, seed), own
    return _texts(source, size, seed), model or DENSE_DEFAULT


def _texts(source: str, size: int, seed: int) -> Sample:
    from searchlib.training.distill import Sample, chosen

    return Sample(chosen(corpus_texts(source), size, seed))


def corpus_texts(source: str) -> Iterator[str]:
    """Title and text of each document of an index, or of what can be indexed."""
    from searchlib.formats import ReadOptions, read_documents
    from searchlib.passages import passage_text
    from searchlib.training.corpus import index_texts, is_index

    if is_index(Path(source)):
        with open_index(Path(source)) as engine:
            yield from index_texts(engine)
    else:
        for document, _ in read_documents(source, ReadOptions()):
            yield passage_text(document.title, document.text)
