"""Commands that make, change and describe an index."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from .filtering import warn_of_unknown_fields
from .opening import budget, check_order, open_index, open_to_write
from .options import DenseKind, Device, Format, IndexPath, OutputFormat, all_of, example
from .output import chosen, print_json, print_table
from .reading import (
    Cache,
    Encoding,
    Id,
    InputFormat,
    MaxDocument,
    Memory,
    Metadata,
    Reading,
    SkipBad,
    Source,
    Text,
    Title,
    chosen_models,
    listed_ids,
    read_options,
)

if TYPE_CHECKING:
    from searchlib import Engine, Pruning

commands = typer.Typer()


def _setting(help: str, default: object) -> Any:
    # The default is the library's and stands here for show only (a test compares): None stands
    # for "not given", so that going on with an index need not repeat its settings.
    return typer.Option(help=f"{help} [default: {default}].", show_default=False)


def _pruning(ratio: float) -> Pruning:
    from searchlib import Pruning

    return Pruning(ratio=ratio)


@commands.command(
    epilog=example(
        "searchlib index notes.index notes.jsonl",
        "searchlib index words.index notes.jsonl --no-dense --no-sparse --b 0.75",
    )
)
def index(
    path: IndexPath,
    source: Source,
    *,
    id: Id = None,
    title: Title = None,
    text: Text = None,
    metadata: Metadata = None,
    input_format: InputFormat = None,
    encoding: Encoding = "utf-8",
    max_document: MaxDocument = None,
    skip_bad: SkipBad = False,
    dense_model: Annotated[
        str | None,
        _setting(
            "Dense model: folder or name",
            "sentence-transformers/all-MiniLM-L6-v2",
        ),
    ] = None,
    sparse_model: Annotated[
        str | None,
        _setting("Sparse model: folder or name", "searchlib/gloss"),
    ] = None,
    no_dense: Annotated[bool, typer.Option("--no-dense", help="No dense vectors.")] = False,
    no_sparse: Annotated[bool, typer.Option("--no-sparse", help="No sparse vectors.")] = False,
    passage_tokens: Annotated[int | None, _setting("Longest passage, in word-pieces", 256)] = None,
    overlap: Annotated[
        int | None, _setting("Word-pieces that neighbouring passages share", 32)
    ] = None,
    max_passages: Annotated[
        int | None, _setting("Most passages of a document; 1 cuts it at the window", "no limit")
    ] = None,
    prune_documents: Annotated[
        float | None,
        _setting("Drop sparse weights below this share of a passage's largest (0 to 1)", 0.0),
    ] = None,
    prune_queries: Annotated[float | None, _setting("The same for queries", 0.0)] = None,
    language: Annotated[
        str | None, _setting("BM25: language of the stemmer and stop words", "english")
    ] = None,
    k1: Annotated[
        float | None, _setting("BM25: the larger, the more a word's repetitions count", 0.9)
    ] = None,
    b: Annotated[float | None, _setting("BM25: how much length counts, 0 to 1", 0.4)] = None,
    dense_kind: Annotated[
        DenseKind | None, _setting("How dense vectors are searched", "auto")
    ] = None,
    device: Device = None,
    memory: Memory = None,
    cache: Cache = None,
    format: OutputFormat = None,
) -> None:
    """Makes an index of SOURCE, or goes on with one that is there.

    Documents that are in the index already are updated if they changed and passed over if not.
    The settings are fixed when the index is made.
    """
    models = chosen_models(
        dense_model=dense_model, sparse_model=sparse_model, no_dense=no_dense, no_sparse=no_sparse
    )
    settings = {
        "passage_tokens": passage_tokens,
        "overlap": overlap,
        "max_passages": max_passages,
        "language": language,
        "k1": k1,
        "b": b,
        "dense_kind": dense_kind.value if dense_kind else None,
    }
    given: dict[str, Any] = {name: value for name, value in settings.items() if value is not None}
    for side, ratio in (("sparse_documents", prune_documents), ("sparse_queries", prune_queries)):
        given |= {} if ratio is None else {side: _pruning(ratio)}
    given |= models
    options = read_options(
        id=id,
        title=title,
        text=text,
        metadata=metadata,
        input_format=input_format,
        encoding=encoding,
        max_document=max_document,
        skip_bad=skip_bad,
    )
    check_order(path, source)
    documents = Reading(source, options)
    with _create_or_open(path, given, device, memory) as engine:
        documents.add_to(engine, format, cache)


@commands.command(epilog=example("searchlib add notes.index more.jsonl"))
def add(
    path: IndexPath,
    source: Source,
    *,
    id: Id = None,
    title: Title = None,
    text: Text = None,
    metadata: Metadata = None,
    input_format: InputFormat = None,
    encoding: Encoding = "utf-8",
    max_document: MaxDocument = None,
    skip_bad: SkipBad = False,
    device: Device = None,
    memory: Memory = None,
    cache: Cache = None,
    format: OutputFormat = None,
) -> None:
    """Adds documents; those whose id is known are replaced."""
    options = read_options(
        id=id,
        title=title,
        text=text,
        metadata=metadata,
        input_format=input_format,
        encoding=encoding,
        max_document=max_document,
        skip_bad=skip_bad,
    )
    documents = Reading(source, options)
    with open_to_write(path, device, memory) as engine:
        documents.add_to(engine, format, cache)


@commands.command(
    epilog=example(
        "searchlib delete notes.index note-3",
        "searchlib delete notes.index --where 'year < 2001' --dry-run",
    )
)
def delete(
    path: IndexPath,
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID...", help="Ids; - reads them from stdin, one a line."),
    ] = None,
    *,
    where: Annotated[
        list[str] | None,
        typer.Option(help="Delete the documents that a filter selects (several: all), not ids."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say how many would be deleted.")
    ] = False,
    format: OutputFormat = None,
) -> None:
    """Deletes documents."""
    condition = all_of(where)
    if bool(ids) is (condition is not None):
        raise typer.BadParameter("say which documents: give ids, or --where")
    wanted = list(dict.fromkeys(listed_ids(ids or [])))
    with open_to_write(path) as engine:
        missing = [wanted[i] for i in (engine.snapshot.lookup(wanted) < 0).nonzero()[0]]
        if condition is not None:
            count = len(engine.ids_where(condition)) if dry_run else engine.delete_where(condition)
            if not count:
                warn_of_unknown_fields(engine, condition)
        else:
            count = len(wanted) - len(missing) if dry_run else engine.delete(wanted)
    if chosen(format) is Format.table:
        typer.echo(f"{count} would be deleted" if dry_run else f"{count} deleted")
    else:
        print_json({"would_delete" if dry_run else "deleted": count})
    if missing:
        _refuse(missing, wanted, path, deleted=count > 0 and not dry_run)


def _refuse(missing: list[str], wanted: list[str], path: Path, *, deleted: bool) -> NoReturn:
    from searchlib.errors import NotFound

    some = ", ".join(map(repr, missing[:3])) + ", ..." * (len(missing) > 3)
    raise NotFound(
        f"{len(missing)} of {len(wanted)} ids not in {path}: {some}; the others are deleted"
        if deleted
        else f"nothing deleted: not in {path}: {some}"
    )


@commands.command(epilog=example("searchlib info notes.index"))
def info(path: IndexPath, format: OutputFormat = None) -> None:
    """What an index holds and what it was made with."""
    with open_index(path) as engine:
        values = engine.info()
    if chosen(format) is Format.table:
        print_table(("", ""), _flat(values))
    else:
        print_json(values)


def _create_or_open(
    path: Path, given: dict[str, Any], device: str | None, memory: str | None
) -> Engine:
    from indexes.errors import NoIndex
    from searchlib import Engine, Settings
    from searchlib.errors import ModelMismatch

    try:
        engine = Engine.open(path, device=device, **budget(memory))
    except NoIndex:
        return Engine.create(path, Settings(**given), device=device, **budget(memory))
    asked = Settings(**given).resolved()
    for name in given:
        if (now := getattr(engine.settings, name)) != (value := getattr(asked, name)):
            engine.close()
            raise ModelMismatch(
                f"{path} was made with {name} {now!r}, not {value!r}; leave that option out, "
                "index into a new folder, or for another model use `searchlib reencode`"
            )
    return engine


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested values as lines `name  value`."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for i, item in enumerate(value):
                yield from _flat(item, f"{prefix}{key}.{item.get('name', i)}.")
        else:
            yield f"{prefix}{key}", str(value)
