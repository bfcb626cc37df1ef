"""What `index` and `add` read: the options, and the documents on their way into an index."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Format, size
from .output import chosen, print_json
from .progress import Progress, duration

if TYPE_CHECKING:
    from searchlib import Engine
    from searchlib.errors import Interrupted
    from searchlib.formats import ReadOptions

Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="A file (.jsonl .csv .tsv .parquet .txt .md .html .pdf .ipynb, TREC; .gz .zst .bz2 "
        ".xz), a folder of such files, a BEIR folder, or - for stdin.",
    ),
]
Id = Annotated[str | None, typer.Option("--id", help="The field that is the id.")]
Title = Annotated[str | None, typer.Option(help="The field that is the title.")]
Text = Annotated[
    list[str] | None, typer.Option(help="The fields that make the text, separated by commas.")
]
Metadata = Annotated[
    list[str] | None, typer.Option(help="The fields to keep as metadata, separated by commas.")
]
InputFormat = Annotated[
    str | None,
    typer.Option(
        help="What SOURCE is, if its name does not say: jsonl, csv, tsv, trec, ... "
        "text: every file of a folder is one, programs too."
    ),
]
Encoding = Annotated[str, typer.Option(help="Of text that is not UTF-8: latin-1, cp1252, ...")]
MaxDocument = Annotated[
    str | None,
    typer.Option(
        # the default is the library's and stands here for show only (a test compares)
        help="A longer line, or file that is one document, is taken for a mistake [default: 64MB].",
        show_default=False,
    ),
]
Cache = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Keep vectors here and use those that are: for indexes to come, of the same texts.",
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(help="How much to hold beside the models, such as 1GB [default: 512MiB]."),
]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Skip and count what cannot be read, do not stop.")
]


def interrupted(engine: Engine) -> Interrupted:
    """What to say where Ctrl-C ended a long work."""
    from searchlib.errors import Interrupted

    engine.refresh()
    return Interrupted(
        f"interrupted; what was committed stays ({engine.snapshot.n_documents:,} documents), "
        "run the same command again to go on"
    )


def print_report(path: Path, values: dict[str, Any], format: Format | None) -> None:
    """Prints what became of the documents; on stderr, how much of the encoding was known."""
    encoded, known = values["encoded"], values["known"]
    if encoded + known:
        line = f"encoded {encoded:,} of {encoded + known:,} passages; {known:,} were known"
        typer.echo(line, err=True)
    if chosen(format) is Format.json:
        print_json(values)
        return
    shown = {name: value for name, value in values.items() if name not in ("encoded", "known")}
    seconds = duration(shown.pop("seconds"))
    counts = ", ".join(f"{value} {name}" for name, value in shown.items())
    typer.echo(f"{path}: {counts} in {seconds}")


class Reading:
    """Documents on their way into an index.

    The first one is read at once, so that a wrong path or field is told before an index is made
    or a model is loaded.
    """

    def __init__(self, source: str, options: ReadOptions) -> None:
        from searchlib.formats import count_hint, read_documents

        self.progress = Progress("documents")
        self.bad = 0
        self.options = replace(options, on_bad=self._bad_line, on_skip=self._note)
        documents = read_documents(source, self.options)
        self.first = next(documents)
        self.documents = itertools.chain([self.first], documents)
        self.total = count_hint(source, self.options)
        self._ask_about_fields()

    def add_to(self, engine: Engine, format: Format | None, cache: Path | None = None) -> None:
        """Adds the documents and prints a report."""
        try:
            with self.progress:
                report = engine.add(
                    self.documents,
                    skip_bad=self.options.skip_bad,
                    on_bad=self._note,
                    on_progress=self.progress,
                    total=self.total,
                    cache=cache,
                )
        except KeyboardInterrupt:
            raise interrupted(engine) from None
        values = asdict(replace(report, skipped=report.skipped + self.bad))
        print_report(engine.path, values, format)

    def _ask_about_fields(self) -> None:
        # a record may lack a field that others have: no error, but perhaps a slip
        first, origin = self.first
        asked = [(name, name in first.metadata) for name in self.options.metadata or ()]
        if self.options.title is not None:
            asked.append((self.options.title, bool(first.title)))
        for name, there in asked:
            if not there and name != "metadata":
                self.progress.say(f"{origin} has nothing in field {name!r}; is it spelled right?")

    def _bad_line(self, problem: object) -> None:
        self.bad += 1
        self._note(problem)

    def _note(self, problem: object) -> None:
        self.progress.say(f"skipped {problem}")


def listed_ids(given: list[str]) -> Iterator[str]:
    """The ids given; in place of `-` those on stdin, one a line."""
    for id in given:
        if id == "-":
            yield from (line.rstrip("\r\n") for line in sys.stdin if line.strip())
        else:
            yield id


def chosen_models(
    *, dense_model: str | None, sparse_model: str | None, no_dense: bool, no_sparse: bool
) -> dict[str, str | None]:
    """The settings that name models, as far as they are given; None: without such vectors."""
    if (no_dense and dense_model) or (no_sparse and sparse_model):
        raise typer.BadParameter("a model is named that is also left out")
    given = (("dense_model", dense_model, no_dense), ("sparse_model", sparse_model, no_sparse))
    return {name: model for name, model, left_out in given if model is not None or left_out}


def read_options(
    *,
    id: str | None,
    title: str | None,
    text: list[str] | None,
    metadata: list[str] | None,
    input_format: str | None,
    encoding: str,
    max_document: str | None,
    skip_bad: bool,
) -> ReadOptions:
    """How documents are to be read."""
    from searchlib.formats import ReadOptions

    def names(given: list[str] | None) -> tuple[str, ...] | None:
        if not given:
            return None
        return tuple(name.strip() for some in given for name in some.split(",") if name.strip())

    options = ReadOptions(
        id=id,
        title=title,
        text=names(text),
        metadata=names(metadata),
        format=input_format,
        encoding=encoding,
        skip_bad=skip_bad,
    )
    if max_document is None:
        return options
    return replace(options, max_document_bytes=size(max_document))
