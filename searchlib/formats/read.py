"""The way in: finds out what a source is, and reads its documents one after the other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from pathlib import Path

from ..errors import BadDocument, BadInput
from ..types import Document
from .files import read_html, read_markdown, read_pdf, read_text
from .folders import Link, Unlisted, beir_corpus, entries, is_our_index
from .jsonl import read_json, read_jsonl
from .kinds import begins_with_record, json_by_bracket, kind, kind_by_name
from .notebook import read_notebook
from .options import BadLine, Item, ReadOptions
from .streams import COMPRESSED, Source, open_source
from .tables import read_csv, read_msmarco, read_parquet, read_tsv
from .trec import read_trec

READERS: dict[str, Callable[[Source, ReadOptions], Iterator[Item]]] = {
    "jsonl": read_jsonl,
    "json": read_json,
    "csv": read_csv,
    "tsv": read_tsv,
    "msmarco": read_msmarco,
    "parquet": read_parquet,
    "trec": read_trec,
    "text": read_text,
    "markdown": read_markdown,
    "html": read_html,
    "pdf": read_pdf,
    "notebook": read_notebook,
}

_SAMPLED = 4 << 20  # bytes
_DEFAULTS = ReadOptions()


def read_documents(
    source: str | Path, options: ReadOptions = _DEFAULTS
) -> Iterator[tuple[Document, str]]:
    """Each document of the source and where it stands ("file:line"), read as it is asked for.

    source: a file, a folder, or "-" for stdin (JSON Lines unless its first bytes or
        `options.format` say otherwise); compressed or not. A folder with `corpus.jsonl` in it is
        read as a BEIR collection: only that file, as is one with `corpus` and `queries` in it,
        folders of files: only the former; of any other all files of known kinds are read, in the
        order of their names, except hidden ones. Links to folders are not followed, and a file
        whose name tells no kind is read only if it begins as nothing else does (a PDF, a page, a
        record of JSON Lines); `options.on_skip` is told.
    A file that is one document (text, Markdown, HTML, PDF, notebook) has its name as id, with the
    folders from the source on ("songs/blues.txt"); a record without an id has its file's name and
    line ("notes.jsonl:7").

    Raises BadInput, as one line: nothing there, nothing in it, not readable; BadDocument for the
    first document, or file of a folder, that cannot be read, unless `options.skip_bad`.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "songs.csv")
    >>> _ = path.write_text("id,title,text,year\\na,Blues,Woke up this morning,1936\\n")
    >>> [document for document, origin in read_documents(path)]
    [Document(id='a', text='Woke up this morning', title='Blues', metadata={'year': 1936})]
    """
    if options.format is not None and options.format not in READERS:
        raise BadInput(f"unknown format {options.format!r}; allowed: {', '.join(READERS)}")
    good = bad = 0
    for item in _items(source, options):
        if isinstance(item, BadLine | BadDocument):
            bad += 1
            _pass_over(item, options)
        else:
            good += 1
            yield item
    if not good:
        could = f" that can be read ({bad} cannot)" if bad else ""
        raise BadInput(f"{_called(source)} holds no documents{could}")


def count_hint(source: str | Path, options: ReadOptions = _DEFAULTS) -> int | None:
    """About how many documents the source holds, found cheaply; None: that takes reading it."""
    path = Path(source)
    if str(source) == "-" or not path.exists():
        return None
    if path.is_dir():
        corpus = beir_corpus(path)
        return (
            count_hint(corpus, options)
            if corpus
            else sum(isinstance(entry, Path) for entry in entries(path))
        )
    format = options.format or kind_by_name(path)
    try:
        if format == "parquet":
            import pyarrow.parquet

            return int(pyarrow.parquet.read_metadata(path).num_rows)
        if format in ("jsonl", "csv", "tsv", "msmarco") and path.suffix not in COMPRESSED:
            with path.open("rb") as file:
                sample = file.read(_SAMPLED)
            return round(max(1, sample.count(b"\n")) * path.stat().st_size / max(1, len(sample)))
    except Exception:  # whatever is wrong with it is said when it is read
        return None
    return 1 if format in ("text", "markdown", "html", "pdf", "notebook") else None


def folder_files(folder: Path, options: ReadOptions = _DEFAULTS) -> list[Path | Unlisted]:
    """The files that `read_documents` reads of a folder, in its order, and folders in it that
    cannot be listed.

    Raises BadInput where there is no such folder, or it cannot be listed itself.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "there is none"
        raise BadInput(f"no such folder: {folder} ({what})")
    corpus = beir_corpus(folder)
    if corpus is not None and corpus.is_file():
        return [corpus]
    top = corpus or folder
    found = list(_followed(top, options))
    if found and isinstance(found[0], Unlisted) and found[0].path == top:
        raise BadInput(str(found[0]))
    return found


def read_member(
    folder: Path, path: Path, options: ReadOptions = _DEFAULTS
) -> Iterator[tuple[Document, str]]:
    """The documents of one of a folder's files, as `read_documents` of the folder gives them.

    Raises BadInput where it cannot be read; BadDocument as `read_documents`.
    """
    for item in _read_member(path, path.relative_to(folder).as_posix(), options):
        if isinstance(item, BadLine):
            _pass_over(item, options)
        else:
            yield item


def _pass_over(bad: BadLine | BadDocument, options: ReadOptions) -> None:
    if not options.skip_bad:
        raise BadDocument(str(bad))
    if options.on_bad is not None:
        options.on_bad(bad)


def _items(source: str | Path, options: ReadOptions) -> Iterator[Item | BadDocument]:
    path = Path(source)
    if not str(source).strip():
        raise BadInput("the source has no name; give a file, a folder, or - for stdin")
    if str(source) == "-":
        yield from _read_file(None, "stdin", options)
    elif path.is_dir() and is_our_index(path):
        raise BadInput(f"{source} is an index, not documents; the index comes first, then these")
    elif path.is_dir():
        corpus = beir_corpus(path)
        if corpus is not None and corpus.is_file() and options.format in (None, "jsonl"):
            yield from _read_file(corpus, corpus.name, options)
        else:
            yield from _read_folder(path, options)
    elif path.exists():
        yield from _read_file(path, path.name, options)
    elif path.is_symlink():
        raise BadInput(f"{source} is a link to what is not there: {os.readlink(path)}")
    else:
        raise BadInput(f"no such file or folder: {source}{_hint(path)}")


def _read_file(path: Path | None, id: str, options: ReadOptions) -> Iterator[Item]:
    with open_source(path, id) as source:
        format = options.format or kind(path, source) or json_by_bracket(source)
        if format is None and path is None:
            format = "jsonl"
        if format is None:
            raise BadInput(
                f"{path}: what kind of file is it? give the format: {', '.join(READERS)}"
            )
        yield from READERS[format](source, options)


def _read_folder(folder: Path, options: ReadOptions) -> Iterator[Item | BadDocument]:
    corpus = beir_corpus(folder)
    for entry in _followed(corpus if corpus is not None and corpus.is_dir() else folder, options):
        if isinstance(entry, Unlisted):
            yield BadDocument(str(entry))
            continue
        try:
            yield from _read_member(entry, entry.relative_to(folder).as_posix(), options)
        except BadInput as error:  # the other files may be read
            yield BadDocument(str(error))


def _followed(folder: Path, options: ReadOptions) -> Iterator[Path | Unlisted]:
    for entry in entries(folder):
        if not isinstance(entry, Link):
            yield entry
        elif options.on_skip is not None:
            options.on_skip(str(entry))


def _read_member(path: Path, id: str, options: ReadOptions) -> Iterator[Item]:
    with open_source(path, id) as source:
        format = options.format or kind(path, source)
        if format is None and begins_with_record(source, options):
            format = "jsonl"
        if format is not None:
            yield from READERS[format](source, options)
    if format is None and options.on_skip is not None:
        options.on_skip(f"{path}: of no known kind")


def _hint(path: Path) -> str:
    """Names what is there and looks alike."""
    parent = path.parent
    try:
        names = [entry.name for entry in parent.iterdir()]
    except OSError:
        return f" (nor is there a folder {parent})" if not parent.exists() else ""
    close = get_close_matches(path.name, names, 1)
    return f"; did you mean {parent / close[0]}?" if close else ""


def _called(source: str | Path) -> str:
    return "stdin" if str(source) == "-" else str(source)
